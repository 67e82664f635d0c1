import Glibc
import LinuxKernel
import OCI
import Testing

@testable import ImageStore

/// Other programs read what this store reads and writes, and write what it reads.
@Suite(.enabled(if: isRoot)) struct OracleTests {
    let fixture = StoreFixture()

    private func makeImage() throws -> LayoutBuilder {
        var layout = try LayoutBuilder(registry: fixture.registry, repository: "app")
        try layout.tag("latest", layout.manifest([baseLayer, upperLayer], config: .init(cmd: ["sh"])))
        return layout
    }

    @Test(.enabled(if: isInstalled("skopeo")), arguments: ["docker-archive", "oci-archive"])
    func readsArchivesOfSkopeo(kind: String) async throws {
        let layout = try makeImage()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let archive = fixture.scratch.file("archive.tar")
        let policy = "--insecure-policy"
        #expect(
            try run(fence, "skopeo", policy, "copy", "oci:\(layout.directory):latest", "\(kind):\(archive):other:1")
                == 0)
        let second = StoreFixture()
        let (other, _) = try await second.open()
        let file = try FileDescriptor(archive, O_RDONLY)
        let loaded = try await other.load(from: file.raw, progress: { _ in })
        #expect(loaded == ["other:1"])
        let found = try other.resolve("other:1")
        #expect(found.id == image.id && found.layers.map(\.chainID) == image.layers.map(\.chainID))
        #expect(try readFile(other.lowerDirectories(of: found)[0] + "/etc/more") == Array("upper".utf8))
    }

    @Test(.enabled(if: isInstalled("skopeo"))) func skopeoReadsWhatWeSave() async throws {
        _ = try makeImage()
        let (store, _) = try await fixture.open()
        _ = try await fixture.pull("app", store)
        let archive = fixture.scratch.file("saved.tar")
        do {
            let file = try FileDescriptor(archive, O_WRONLY | O_CREAT, mode: 0o600)
            try await store.save(["app"], to: file.raw)
        }
        for source in ["docker-archive:\(archive):app:latest", "oci-archive:\(archive):latest"] {
            let target = fixture.scratch.directory("copy-\(source.prefix(3))")
            #expect(try run(fence, "skopeo", "--insecure-policy", "copy", source, "dir:\(target)") == 0)
        }
    }

    @Test(.enabled(if: isInstalled("skopeo"))) func pullsLayoutsOfSkopeo() async throws {
        let layout = try makeImage()
        let target = fixture.registry + "/nested"
        mkdir(target, 0o755)
        #expect(
            try run(
                fence, "skopeo", "--insecure-policy", "copy", "oci:\(layout.directory):latest", "oci:\(target)/repo:v1")
                == 0)
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("nested/repo:v1", store)
        #expect(image.layers.count == 2 && image.config.config?.cmd?.values == ["sh"])
    }

    @Test(.enabled(if: isInstalled("umoci"))) func pullsLayoutsOfUmoci() async throws {
        let scratch = fixture.scratch
        mkdir(fixture.registry, 0o755)
        let image = "\(fixture.registry)/made:first"
        let tree = scratch.directory("tree")
        try writeFile(tree + "/file", [1, 2, 3])
        let script = """
            set -e; umoci init --layout "\(fixture.registry)/made"; umoci new --image "\(image)"
            umoci insert --image "\(image)" "\(tree)" /from-umoci
            umoci insert --image "\(image)" --opaque "\(tree)" /opaque; umoci insert --image "\(image)" --whiteout /gone
            umoci config --image "\(image)" --config.user 12:34 --config.cmd run
            """
        #expect(try run("sh", "-c", script) == 0)
        let (store, _) = try await fixture.open()
        let pulled = try await fixture.pull("made:first", store)
        #expect(pulled.config.config?.user == "12:34")
        let layers = store.lowerDirectories(of: pulled)
        #expect(layers.contains { (try? readFile($0 + "/from-umoci/file")) == [1, 2, 3] })
        #expect(layers.contains { attribute($0 + "/opaque", "trusted.overlay.opaque") == [UInt8(ascii: "y")] })
        #expect(layers.contains { status($0 + "/gone")?.st_mode == S_IFCHR })
    }

    @Test(.enabled(if: isInstalled("skopeo"))) func theContentDirectoryIsAnImageLayout() async throws {
        _ = try makeImage()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let name = try #require(image.tags.first).description
        #expect(try run(fence, "skopeo", "inspect", "oci:\(fixture.dataRoot)/content:\(name)") == 0)
    }
}
