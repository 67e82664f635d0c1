import Glibc
import LinuxKernel
import OCI

/// Directories that stand in for registries: `<directory>/<repository>/` is an image layout, and a `.tar` file may be
/// an archive as `docker save` writes them.
struct RegistryDirectories: Sendable {
    let directories: [String]
    let platform: Platform
    let limits: UnpackLimits

    /// Finds the image for this platform in the first directory that has its repository.
    func find(_ reference: ImageReference) throws -> FoundImage {
        let (source, root) = try locate(reference)
        let manifest = try source.manifest(
            of: root, platform: platform, documents: Documents(limits: limits), name: reference.familiar)
        return FoundImage(source: source, root: root, manifest: manifest)
    }

    /// What the name points at in the first directory that has its repository.
    func locate(_ reference: ImageReference) throws -> (source: any ImageSource, root: Descriptor) {
        guard !directories.isEmpty else {
            throw ImageError(
                .notFound,
                "\(reference.familiar) can't be pulled: no registry directory is configured; start mycontainerd with "
                    + "--registry DIRECTORY")
        }
        var missing: [String] = []
        for directory in directories {
            guard access(directory, F_OK) == 0 else {
                missing.append(directory)
                continue
            }
            for name in names(of: reference) {
                let path = directory + "/" + name
                if LayoutSource.exists(at: path) {
                    let layout = LayoutSource(directory: path, limits: limits)
                    guard let root = try layout.root(for: reference) else { throw unknownManifest(reference) }
                    return (layout, root)
                }
            }
            if let found = try findInArchives(reference, directory) { return found }
        }
        let places = directories.joined(separator: ", ")
        if missing.count == directories.count {
            throw ImageError(
                .notFound,
                "\(reference.familiar) can't be pulled: there is no registry directory \(places); make it, or start "
                    + "mycontainerd with another --registry")
        }
        throw ImageError(
            .notFound, "repository \(reference.familiarName) not found in registry directory \(places)")
    }

    /// The names that a repository's directory may have, in the order in which they are tried.
    private func names(of reference: ImageReference) -> [String] {
        var names = [reference.name, reference.familiarName, reference.path]
        names = names.enumerated().filter { names.firstIndex(of: $1) == $0 }.map(\.element)
        return names
    }

    private func unknownManifest(_ reference: ImageReference) -> ImageError {
        ImageError(.notFound, "manifest for \(reference.familiar) not found: manifest unknown")
    }

    private func findInArchives(
        _ reference: ImageReference, _ directory: String
    ) throws -> (source: any ImageSource, root: Descriptor)? {
        let own = names(of: reference).map { directory + "/" + $0 + ".tar" }.filter { access($0, F_OK) == 0 }
        let wanted = reference.withDefaultTag
        for path in own + (try archives(in: directory)).filter({ !own.contains($0) }) {
            let range = try openRange(path)
            let size = range.size
            let archive: ArchiveSource
            do {
                archive = try ArchiveSource(
                    file: range.file.release(), size: size, description: "archive \(path)", limits: limits)
            } catch {
                // Any tar file may lie here; only one that is named for the repository has to be an image archive.
                if own.contains(path) { throw error }
                continue
            }
            for image in archive.images where image.names.contains(wanted) || image.root.digest == wanted.digest {
                return (archive, image.root)
            }
            if own.contains(path) { throw unknownManifest(reference) }
        }
        return nil
    }

    private func archives(in directory: String) throws(SystemError) -> [String] {
        try FileNames.list(at: directory).map { String(decoding: $0, as: UTF8.self) }
            .filter { $0.hasSuffix(".tar") }.map { directory + "/" + $0 }.sorted()
    }
}
