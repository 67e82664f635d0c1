import OCI

/// Where images come from: an image layout, an archive; a registry.
protocol ImageSource: Sendable {
    /// For messages: `registry directory images/registry`.
    var description: String { get }

    /// The bytes that a descriptor points at, not verified yet.
    func open(_ descriptor: Descriptor) throws -> BlobRange

    /// Nothing more will be read for this image.
    func finishReading() throws
}

extension ImageSource {
    func finishReading() {}
}

/// An image of a source, before anything of it was copied.
struct FoundImage: Sendable {
    let source: any ImageSource
    /// What the tag points at: a manifest, or an index of them.
    let root: Descriptor
    /// The manifest for this platform.
    let manifest: Descriptor
}

extension ImageSource {
    /// A small document as a whole, verified.
    func document(_ descriptor: Descriptor, limits: UnpackLimits) throws -> [UInt8] {
        try readDocument(try open(descriptor), descriptor, limit: limits.documentBytes)
    }

    /// Follows indexes down to the manifest for a platform.
    func manifest(
        of root: Descriptor, platform: Platform, documents: Documents, name: String
    ) throws -> Descriptor {
        var seen: Set<Digest> = []
        guard let found = try search(root, platform: platform, documents: documents, seen: &seen) else {
            throw ImageError(
                .notFound, "no matching manifest for \(platform) in the manifest list entries of \(name)")
        }
        return found
    }

    private func search(
        _ descriptor: Descriptor, platform: Platform, documents: Documents, seen: inout Set<Digest>
    ) throws -> Descriptor? {
        if MediaType.isManifest(descriptor.mediaType) {
            if descriptor.annotations?[Annotation.dockerReferenceType] != nil { return nil }
            return descriptor.platform?.runs(on: platform) ?? true ? descriptor : nil
        }
        guard MediaType.isIndex(descriptor.mediaType) else {
            throw ImageError(
                .invalid, "\(descriptor.digest) has the media type \(descriptor.mediaType), which is not an image's")
        }
        // A digest can't contain itself, but an index that is met again brings nothing new, and a ring of files whose
        // digests are wrong must end.
        guard seen.insert(descriptor.digest).inserted, seen.count <= 64 else {
            throw ImageError(.invalid, "index \(descriptor.digest) contains itself, or too many indexes")
        }
        let index = try documents.index(document(descriptor, limits: documents.limits), descriptor)
        for entry in index.manifests {
            // What is neither image nor index, for example an artifact, is passed over.
            guard MediaType.isManifest(entry.mediaType) || MediaType.isIndex(entry.mediaType) else { continue }
            if let found = try search(entry, platform: platform, documents: documents, seen: &seen) { return found }
        }
        return nil
    }
}
