import Glibc
import LinuxKernel
import OCI

/// An OCI image layout in a directory (image-spec image-layout.md).
struct LayoutSource: ImageSource {
    let directory: String
    let limits: UnpackLimits

    var description: String { "image layout \(directory)" }

    /// Whether there is an image layout at a path.
    static func exists(at directory: String) -> Bool { access(directory + "/oci-layout", F_OK) == 0 }

    func open(_ descriptor: Descriptor) throws -> BlobRange {
        do {
            return try openRange(directory + "/blobs/sha256/" + descriptor.digest.hex)
        } catch {
            if error.errno == ENOENT {
                throw ImageError(.corrupt, "blob \(descriptor.digest) is missing in \(description)")
            }
            throw error
        }
    }

    /// The layout's entries.
    func index() throws -> Index {
        let documents = Documents(limits: limits)
        let layout: ImageLayout = try documents.decode(read("oci-layout"), "oci-layout of \(description)")
        guard layout.imageLayoutVersion.hasPrefix("1.") else {
            throw ImageError(.invalid, "\(description) has version \(layout.imageLayoutVersion); 1.0.0 is supported")
        }
        let index: Index = try documents.decode(read("index.json"), "index.json of \(description)")
        return index
    }

    private func read(_ name: String) throws -> [UInt8] {
        do {
            let range = try openRange(directory + "/" + name)
            return try readAll(range, what: "\(name) of \(description)", limit: limits.documentBytes)
        } catch let error as SystemError where error.errno == ENOENT {
            throw ImageError(.invalid, "\(description) has no \(name)")
        }
    }

    /// What a tag or digest of the repository that this layout is points at; nil when it has no such.
    func root(for reference: ImageReference) throws -> Descriptor? {
        let entries = try index().manifests
        if let digest = reference.digest {
            if let entry = entries.first(where: { $0.digest == digest }) { return entry }
            return try nested(digest, in: entries)
        }
        let tag = reference.tag ?? ImageReference.defaultTag
        let named = entries.first { entry in
            guard let name = entry.annotations?[Annotation.referenceName] else { return false }
            // skopeo and umoci write the tag, containerd the whole name.
            return name == tag || (try? ImageReference(parsing: name)) == reference
        }
        if let named { return named }
        let only = entries.count == 1 && entries[0].annotations?[Annotation.referenceName] == nil
        return only && tag == ImageReference.defaultTag ? entries[0] : nil
    }

    /// A manifest that only an index of the layout lists.
    private func nested(_ digest: Digest, in entries: [Descriptor]) throws -> Descriptor? {
        let documents = Documents(limits: limits)
        for entry in entries where MediaType.isIndex(entry.mediaType) {
            let index = try documents.index(document(entry, limits: limits), entry)
            if let found = index.manifests.first(where: { $0.digest == digest }) { return found }
        }
        return nil
    }
}
