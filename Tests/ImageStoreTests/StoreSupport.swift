import Database
import Glibc
import LinuxKernel
import OCI
import Synchronization
import Testing

@testable import ImageStore

/// An image layout in a registry directory, made document by document.
struct LayoutBuilder {
    let directory: String
    private(set) var entries: [Descriptor] = []

    init(registry: String, repository: String) throws {
        directory = registry + "/" + repository
        for path in [registry, directory, directory + "/blobs", directory + "/blobs/sha256"] { mkdir(path, 0o755) }
        try writeFile(directory + "/oci-layout", Documents.encode(ImageLayout()))
    }

    func blobPath(_ digest: Digest) -> String { directory + "/blobs/sha256/" + digest.hex }

    func blob(_ bytes: [UInt8], _ mediaType: String) throws -> Descriptor {
        let digest = SHA256.digest(of: bytes)
        try writeFile(blobPath(digest), bytes)
        return Descriptor(mediaType: mediaType, digest: digest, size: Int64(bytes.count))
    }

    /// An image of uncompressed layers.
    func manifest(
        _ layers: [[UInt8]], platform: Platform = .host, config execution: ImageConfig.Execution? = nil,
        diffIDs: [Digest]? = nil
    ) throws -> Descriptor {
        let blobs = try layers.map { try blob($0, MediaType.ociLayer) }
        let config = ImageConfig(
            created: "2024-01-02T03:04:05Z", architecture: platform.architecture, os: platform.os, config: execution,
            rootfs: .init(diffIDs: diffIDs ?? blobs.map(\.digest)),
            history: layers.indices.map { .init(createdBy: "layer \($0)") } + [
                .init(createdBy: "CMD", emptyLayer: true)
            ])
        let described = try blob(Documents.encode(config), MediaType.ociConfig)
        return try blob(Documents.encode(Manifest(config: described, layers: blobs)), MediaType.ociManifest)
    }

    mutating func tag(_ tag: String, _ descriptor: Descriptor) throws {
        var entry = descriptor
        entry.annotations = [Annotation.referenceName: tag]
        entries.append(entry)
        try writeFile(directory + "/index.json", Documents.encode(Index(manifests: entries)))
    }
}

/// Progress as it came.
final class Recorder: Sendable {
    private let lines = Mutex<[ImageProgress]>([])

    var handler: ImageProgressHandler { { line in self.lines.withLock { $0.append(line) } } }

    func statuses(_ id: String? = nil) -> [String] {
        lines.withLock { $0.filter { id == nil || $0.id == id }.map(\.status) }
    }
}

/// A data root and registry of a test's own.
struct StoreFixture {
    let scratch = Scratch()
    var dataRoot: String { scratch.file("data") }
    var registry: String { scratch.file("registry") }

    func open(limits: UnpackLimits = .standard, log: @escaping @Sendable (String) -> Void = { _ in }) async throws
        -> (store: ImageStore, database: Database)
    {
        mkdir(dataRoot, 0o700)
        let database = try Database(path: dataRoot + "/state.db", migrations: [ImageStore.schema])
        let store = try await ImageStore.open(dataRoot: dataRoot, database: database, limits: limits, log: log)
        return (store, database)
    }

    func pull(_ name: String, _ store: ImageStore, _ recorder: Recorder = Recorder()) async throws -> Image {
        try await store.pull(ImageReference(parsing: name), from: [registry], progress: recorder.handler)
    }

    /// The names in a directory of the data root.
    func names(_ directory: String) throws -> [String] {
        guard let stream = opendir(dataRoot + "/" + directory) else {
            throw SystemError.current("opendir \(directory)")
        }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { result.append(name) }
        }
        return result.sorted()
    }

    /// Nothing of any image is left, whole or half.
    func expectEmpty(_ store: ImageStore) throws {
        #expect(store.images().isEmpty)
        #expect(try names("content/blobs/sha256").isEmpty)
        #expect(try names("content/ingest").isEmpty)
        #expect(try names("layers/staging").isEmpty)
        #expect(try names("layers") == ["empty", "staging"])
    }
}

func layer(_ build: (inout TarBuilder) -> Void) -> [UInt8] {
    var builder = TarBuilder()
    build(&builder)
    return builder.archive
}

let baseLayer = layer {
    $0.directory("etc")
    $0.add("etc/name", content: Array("base".utf8))
    $0.add("etc/gone", content: [1])
}
let upperLayer = layer {
    $0.add("etc/.wh.gone")
    $0.add("etc/more", content: Array("upper".utf8))
}
