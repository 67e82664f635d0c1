import Glibc
import OCI

extension ImageStore {
    /// Removes a name or an image by Docker's rules.
    ///
    /// - Parameters:
    ///   - text: what the user wrote: a name only loses that name while others are left, an ID means the image.
    ///   - users: the containers made from an image. A running one keeps it in any case, a stopped one unless `force`.
    public func remove(
        _ text: String, force: Bool, users: @escaping @Sendable (Digest) -> [ImageUser]
    ) async throws -> [ImageRemoval] {
        try await BlockingWork.run { [self] in
            try mutate("remove \(text)") {
                let (image, byID) = try catalog.find(text)
                return try byID
                    ? removeByID(image, force: force, users: users(image.id))
                    : removeByName(image, text, force: force, users: users(image.id))
            }
        }
    }

    /// Removes the images without a tag (`all`: every image) that no container uses and `matching` accepts.
    /// - Returns: what was removed, and how many bytes of blobs and layers that freed.
    public func prune(
        all: Bool, matching: @escaping @Sendable (Image) -> Bool, users: @escaping @Sendable (Digest) -> [ImageUser]
    ) async throws -> (removed: [ImageRemoval], bytes: Int64) {
        try await BlockingWork.run { [self] in
            try mutate("prune images") {
                var removed: [ImageRemoval] = []
                var bytes: Int64 = 0
                for image in catalog.images() where all || image.tags.isEmpty {
                    guard matching(image), users(image.id).isEmpty else { continue }
                    let (records, freed) = try delete(image)
                    removed += records
                    bytes = bytes.addingClamped(freed)
                }
                // Also what crashes and removed containers left.
                bytes = bytes.addingClamped(try collectGarbage().map(\.size).clampedSum())
                return (removed, bytes)
            }
        }
    }

    private func removeByName(
        _ image: Image, _ text: String, force: Bool, users: [ImageUser]
    ) throws -> [ImageRemoval] {
        let reference = try ImageReference(parsing: text)
        let name = reference.digest.map { reference.repository.withDigest($0) } ?? reference.withDefaultTag
        let all = image.tags + image.digests
        // Digest names of a repository go with its last tag.
        var gone: Set<ImageReference> = [name]
        if name.digest == nil, !image.tags.contains(where: { $0 != name && $0.name == name.name }) {
            gone.formUnion(image.digests.filter { $0.name == name.name })
        }
        let isLast = all.allSatisfy(gone.contains)
        if !force, isLast, let user = users.first {
            throw ImageError(
                .conflict,
                "conflict: unable to remove repository reference \"\(text)\" (must force) - container "
                    + "\(user.containerID.prefix(12)) is using its referenced image \(image.id.short)")
        }
        // With force, the name goes and the image stays for the containers that run on it.
        if isLast, !users.contains(where: \.running) { return try delete(image).records }
        let ordered = all.filter(gone.contains)
        try writeIndex(leavingOut: gone)
        try catalog.remove(names: ordered)
        return ordered.map { .untagged($0.familiar) }
    }

    private func removeByID(_ image: Image, force: Bool, users: [ImageUser]) throws -> [ImageRemoval] {
        if let user = users.first(where: \.running) {
            throw conflict(
                image, "cannot be forced", "image is being used by running container \(user.containerID.prefix(12))")
        }
        if !force {
            if Set((image.tags + image.digests).map(\.name)).count > 1 || image.tags.count > 1 {
                throw conflict(image, "must be forced", "image is referenced in multiple repositories")
            }
            if let user = users.first {
                throw conflict(
                    image, "must be forced", "image is being used by stopped container \(user.containerID.prefix(12))")
            }
        }
        return try delete(image).records
    }

    private func conflict(_ image: Image, _ force: String, _ reason: String) -> ImageError {
        ImageError(.conflict, "conflict: unable to delete \(image.id.short) (\(force)) - \(reason)")
    }

    private func delete(_ image: Image) throws -> (records: [ImageRemoval], bytes: Int64) {
        var records: [ImageRemoval] = (image.tags + image.digests).map { .untagged($0.familiar) }
        let blobs = image.layers.map(\.blob.digest)
        try writeIndex(images: [image.id])
        try catalog.remove(image: image.id)
        records.append(.deleted(image.id.description))
        let sizes = Dictionary(image.layers.map { ($0.blob.digest, $0.blob.size) }) { first, _ in first }
        let layers = try collectGarbage()
        records += layers.map { .deleted($0.chainID.description) }
        let freedBlobs = Set(blobs).filter { !content.has($0) }.map { sizes[$0] ?? 0 }.clampedSum()
        return (records, freedBlobs.addingClamped(layers.map(\.size).clampedSum()))
    }
}
