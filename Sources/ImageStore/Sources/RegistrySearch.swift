import Glibc
import LinuxKernel
import OCI

extension ImageStore {
    /// The repositories of registry directories whose name contains `term`, as users write them, sorted.
    public func search(_ term: String, in registries: [String]) async throws -> [String] {
        let directories = RegistryDirectories(directories: registries, platform: platform, limits: limits)
        let wanted = term.lowercased()
        return try await BlockingWork.run { directories.repositories().filter { $0.contains(wanted) } }
    }

    /// What a registry directory has under a name, without anything being copied: the manifest or index that the name
    /// points at, and the platforms of its images.
    public func inspect(
        _ reference: ImageReference, in registries: [String]
    ) async throws -> (root: Descriptor, platforms: [Platform]) {
        let directories = RegistryDirectories(directories: registries, platform: platform, limits: limits)
        let limits = limits
        return try await BlockingWork.run {
            do {
                let (source, root) = try directories.locate(reference.withDefaultTag)
                let documents = Documents(limits: limits)
                let bytes = try source.document(root, limits: limits)
                if MediaType.isIndex(root.mediaType) {
                    let entries = try documents.index(bytes, root).manifests
                    return (root.bare, entries.compactMap(\.platform))
                }
                let manifest = try documents.manifest(bytes, root)
                let config = try documents.config(
                    source.document(manifest.config, limits: limits), manifest.config.digest,
                    layerCount: manifest.layers.count)
                return (root.bare, [config.platform])
            } catch {
                throw ImageError.wrap(error, doing: "\(reference.familiar) can't be inspected")
            }
        }
    }
}

extension RegistryDirectories {
    /// Directories below a registry's are looked into this far: `host/organisation/team/name`.
    private static let maximumDepth = 4

    /// The repositories of all directories, as users write them, sorted. What can't be read is passed over.
    func repositories() -> [String] {
        var found: Set<String> = []
        for directory in directories { collect(directory, prefix: "", depth: 1, &found) }
        return found.sorted()
    }

    private func collect(_ directory: String, prefix: String, depth: Int, _ found: inout Set<String>) {
        for bytes in (try? FileNames.list(at: directory)) ?? [] {
            let name = String(decoding: bytes, as: UTF8.self)
            if name.hasPrefix(".") { continue }
            let path = directory + "/" + name
            if LayoutSource.exists(at: path) {
                if let reference = try? ImageReference(parsing: prefix + name) { found.insert(reference.familiarName) }
            } else if depth == 1, name.hasSuffix(".tar") {
                guard let range = try? openRange(path), case let size = range.size,
                    let archive = try? ArchiveSource(
                        file: range.file.release(), size: size, description: path, limits: limits)
                else { continue }
                for image in archive.images { found.formUnion(image.names.map(\.familiarName)) }
            } else if depth < Self.maximumDepth {
                collect(path, prefix: prefix + name + "/", depth: depth + 1, &found)
            }
        }
    }
}
