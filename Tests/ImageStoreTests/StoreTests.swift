import CLinux
import Database
import Glibc
import LinuxKernel
import OCI
import Synchronization
import Testing

@testable import ImageStore

@Suite(.enabled(if: isRoot)) struct StoreTests {
    let fixture = StoreFixture()

    private func makeTwoImages() throws {
        var layout = try LayoutBuilder(registry: fixture.registry, repository: "app")
        let config = ImageConfig.Execution(user: "nobody", env: ["A=b"], cmd: ["run"])
        try layout.tag("latest", layout.manifest([baseLayer, upperLayer], config: config))
        try layout.tag("base", layout.manifest([baseLayer]))
    }

    @Test func pullsUnpacksAndSaysSo() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let recorder = Recorder()
        let image = try await fixture.pull("app", store, recorder)
        #expect(image.tags.map(\.familiar) == ["app:latest"])
        #expect(image.digests.count == 1)
        #expect(image.config.config?.cmd?.values == ["run"])
        #expect(image.layers.count == 2 && image.size == 4 + 1 + 5)
        let lowers = store.lowerDirectories(of: image)
        #expect(lowers.count == 2)
        #expect(try readFile(lowers[0] + "/etc/more") == Array("upper".utf8))
        #expect(try readFile(lowers[1] + "/etc/name") == Array("base".utf8))
        #expect(status(lowers[0] + "/etc/gone")?.st_mode == S_IFCHR)
        #expect(status(fixture.dataRoot + "/layers")?.st_mode == S_IFDIR | 0o700)
        let statuses = recorder.statuses(image.layers[0].blob.digest.short)
        #expect(statuses.first == "Pulling fs layer" && statuses.last == "Pull complete")
        #expect(recorder.statuses().last == "Status: Downloaded newer image for app:latest")

        let again = Recorder()
        #expect(try await fixture.pull("app", store, again).id == image.id)
        #expect(again.statuses().last == "Status: Image is up to date for app:latest")
        #expect(!again.statuses().contains("Pulling fs layer"))

        let shared = Recorder()
        _ = try await fixture.pull("app:base", store, shared)
        #expect(shared.statuses(image.layers[0].blob.digest.short) == ["Already exists"])
    }

    @Test func layersAreSpreadOverTheDisk() async throws {
        // Where the file system doesn't know the mark, neither has it.
        let marked = fixture.scratch.directory("marked")
        DirectoryPlacement.spread(at: marked)
        _ = try await fixture.open()
        #expect(try flags(fixture.dataRoot + "/layers/staging") == flags(marked))
    }

    /// As lsattr(1) shows them, 0 where there are none.
    private func flags(_ path: String) throws -> UInt32 {
        let directory = try FileDescriptor(path, O_RDONLY | O_DIRECTORY)
        var flags: UInt32 = 0
        return clinux_get_file_flags(directory.raw, &flags) == 0 ? flags : 0
    }

    @Test func twoPullsAtOnceDoTheWorkOnce() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let recorder = Recorder()
        let fixture = fixture
        try await withThrowingTaskGroup(of: Digest.self) { group in
            for name in ["app", "app", "app:base", "app"] {
                group.addTask { try await fixture.pull(name, store, recorder).id }
            }
            try await group.waitForAll()
        }
        #expect(recorder.statuses().count { $0 == "Pull complete" } == 2)
        #expect(store.images().count == 2)
        #expect(try fixture.names("layers").count == 2 + 2)
        #expect(try fixture.names("layers/staging").isEmpty)
    }

    /// Whatever a removal takes meanwhile, an image that was pulled is whole.
    @Test func pullsAndRemovalsAtOnce() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    for _ in 0..<200 { _ = try await fixture.pull("app", store) }
                }
            }
            group.addTask {
                for _ in 0..<400 { _ = try? await store.remove("app", force: true, users: { _ in [] }) }
            }
            try await group.waitForAll()
        }
        let image = try await fixture.pull("app", store)
        let needed = [image.id, image.manifest.digest] + image.layers.map(\.blob.digest)
        #expect(needed.allSatisfy(store.content.has))
        #expect(try fixture.names("content/ingest").isEmpty)
    }

    @Test func resolvesAsDockerDoes() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let digest = try #require(image.digests.first)
        for text in [
            "app", "app:latest", "docker.io/library/app", image.id.description, image.id.hex, image.id.short,
            "sha256:" + image.id.short, digest.description, "app:other@" + digest.digest!.description,
        ] { #expect(try store.resolve(text).id == image.id) }
        for text in ["app:none", "other", "sha256:" + String(repeating: "0", count: 64), "zzz"] {
            let error = #expect(throws: ImageError.self) { try store.resolve(text) }
            #expect(error?.kind == .notFound && error?.message.hasPrefix("No such image: ") == true)
        }
        #expect(throws: ImageError.self) { try store.resolve("Bad Name") }
    }

    @Test func removesNamesThenImagesThenLayers() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let base = try await fixture.pull("app:base", store)
        try await store.tag(image, as: ImageReference(parsing: "example.test/copy:1"))
        let none: @Sendable (Digest) -> [ImageUser] = { _ in [] }
        await #expect(throws: ImageError.self) { try await store.remove(image.id.short, force: false, users: none) }
        #expect(
            try await store.remove("example.test/copy:1", force: false, users: none) == [
                .untagged("example.test/copy:1")
            ])
        let removed = try await store.remove("app", force: false, users: none)
        #expect(removed.contains(.deleted(image.id.description)))
        #expect(removed.contains(.deleted(image.layers[1].chainID.description)))
        #expect(!removed.contains(.deleted(image.layers[0].chainID.description)))
        #expect(status(store.lowerDirectories(of: base)[0] + "/etc/name") != nil)
        _ = try await store.remove(base.id.short, force: false, users: none)
        let (again, _) = try await fixture.open()
        try fixture.expectEmpty(again)
    }

    @Test func keepsWhatContainersUse() async throws {
        try makeTwoImages()
        let (store, database) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let stopped: @Sendable (Digest) -> [ImageUser] = { _ in
            [.init(containerID: String(repeating: "c", count: 64), running: false)]
        }
        let running: @Sendable (Digest) -> [ImageUser] = { _ in
            [.init(containerID: String(repeating: "d", count: 64), running: true)]
        }
        let error = await #expect(throws: ImageError.self) {
            try await store.remove("app", force: false, users: stopped)
        }
        #expect(error?.kind == .conflict && error?.message.contains("cccccccccccc") == true)
        await #expect(throws: ImageError.self) { try await store.remove(image.id.hex, force: true, users: running) }
        #expect(try store.resolve("app").id == image.id)

        try database.write { try store.retain(chainID: image.chainID, owner: "container", in: $0) }
        _ = try await store.remove("app", force: true, users: stopped)
        #expect(store.images().isEmpty)
        #expect(store.lowerDirectories(chainID: image.chainID).allSatisfy { status($0) != nil })
        #expect(store.lowerDirectories(chainID: image.chainID).count == 2)

        try database.write { try store.release(owner: "container", in: $0) }
        _ = try await store.prune(all: false, matching: { _ in true }, users: { _ in [] })
        let error2 = #expect(throws: DatabaseError.self) {
            try database.write { try store.retain(chainID: image.chainID, owner: "late", in: $0) }
        }
        #expect(error2?.isConstraint == true)
        let (again, _) = try await fixture.open()
        try fixture.expectEmpty(again)
    }

    @Test func savesAndLoads() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let base = try await fixture.pull("app:base", store)
        let archive = fixture.scratch.file("saved.tar")
        do {
            let file = try FileDescriptor(archive, O_WRONLY | O_CREAT, mode: 0o600)
            try await store.save(["app", base.id.short], to: file.raw)
        }
        #expect(try run("gzip", "-k", archive) == 0)
        for name in [archive, archive + ".gz"] {
            let other = StoreFixture()
            let (second, _) = try await other.open()
            let file = try FileDescriptor(name, O_RDONLY)
            let loaded = try await second.load(from: file.raw, progress: { _ in })
            #expect(loaded == ["app:latest", base.id.description])
            #expect(try second.resolve("app").id == image.id && second.image(base.id)?.tags.isEmpty == true)
            #expect(try readFile(second.lowerDirectories(of: image)[0] + "/etc/more") == Array("upper".utf8))
        }
        // The same archive stands in for a registry.
        let third = StoreFixture()
        mkdir(third.registry, 0o755)
        #expect(try run("cp", archive, third.registry + "/anything.tar") == 0)
        let (store3, _) = try await third.open()
        #expect(try await third.pull("app", store3).id == image.id)
        await #expect(throws: ImageError.self) { try await third.pull("app:base", store3) }
    }

    @Test func importsATarFile() async throws {
        let (store, _) = try await fixture.open()
        try writeFile(fixture.scratch.file("root.tar"), baseLayer)
        let file = try FileDescriptor(fixture.scratch.file("root.tar"), O_RDONLY)
        let image = try await store.importLayer(
            from: file.raw, reference: ImageReference(parsing: "mine"), config: .init(cmd: ["sh"]), message: "made",
            progress: { _ in })
        #expect(try store.resolve("mine:latest").id == image.id)
        #expect(image.config.config?.cmd?.values == ["sh"] && store.history(of: image).map(\.comment) == ["made"])
        #expect(try readFile(store.lowerDirectories(of: image)[0] + "/etc/name") == Array("base".utf8))
    }

    @Test func tellsHistory() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        let history = store.history(of: image)
        #expect(history.map(\.createdBy) == ["CMD", "layer 1", "layer 0"])
        #expect(history.map(\.size) == [0, 5, 5])
        #expect(history[0].id == image.id && history[1].id == nil && history[0].tags == ["app:latest"])
    }

    // MARK: Recovery

    @Test func discardsWhatWasUnderWay() async throws {
        try makeTwoImages()
        let image: Image
        do {
            let (store, _) = try await fixture.open()
            image = try await fixture.pull("app", store)
        }
        try writeFile(fixture.dataRoot + "/content/ingest/half", [1])
        mkdir(fixture.dataRoot + "/layers/staging/half", 0o700)
        mkdir(fixture.dataRoot + "/layers/staging/half/fs", 0o755)
        try writeFile(fixture.dataRoot + "/layers/staging/half/fs/file", [1])
        // Renamed into place, but the database never heard of it.
        let stray = SHA256.digest(of: [9])
        try writeFile(fixture.dataRoot + "/content/blobs/sha256/" + stray.hex, [9])
        let orphan = fixture.dataRoot + "/layers/" + stray.hex
        mkdir(orphan, 0o700)
        mkdir(orphan + "/fs", 0o755)
        try writeFile(orphan + "/diff-id", Array("\(stray)\n".utf8))
        try writeFile(orphan + "/size", Array("1\n".utf8))
        try writeFile(orphan + "/parent", Array("\n".utf8))
        let (store, _) = try await fixture.open()
        #expect(try fixture.names("content/ingest").isEmpty)
        #expect(try fixture.names("content/blobs/sha256").count == 4)
        #expect(try store.resolve("app").id == image.id)
        _ = try await store.remove("app", force: false, users: { _ in [] })
        let (again, _) = try await fixture.open()
        try fixture.expectEmpty(again)
    }

    /// A layer that has its place but no record: the database could not be written.
    @Test func aLayerWithoutARecordIsInNobodysWay() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        _ = try await store.prune(all: true, matching: { _ in true }, users: { _ in [] })
        let left = store.paths.layer(image.layers[0].chainID)
        mkdir(left, 0o700)
        try writeFile(left + "/left", [1])
        let again = try await fixture.pull("app", store)
        #expect(try readFile(store.lowerDirectories(of: again)[1] + "/etc/name") == Array("base".utf8))
        #expect(status(left + "/left") == nil)
    }

    @Test func whatIsNoBlobIsLeftAlone() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        _ = try await fixture.pull("app", store)
        mkdir(store.paths.blobs + "/lost+found", 0o700)
        _ = try await store.prune(all: true, matching: { _ in true }, users: { _ in [] })
        #expect(try fixture.names("content/blobs/sha256") == ["lost+found"])
        rmdir(store.paths.blobs + "/lost+found")
    }

    @Test func aFailureToRecordLeavesNothingBehind() async throws {
        try makeTwoImages()
        let (store, _) = try await fixture.open()
        // In the place of a file nothing can be written.
        let index = store.paths.content + "/index.json"
        unlink(index)
        mkdir(index, 0o700)
        await #expect(throws: ImageError.self) { try await fixture.pull("app", store) }
        #expect(try fixture.names("content/ingest").isEmpty)
        #expect(try fixture.names("layers/staging").isEmpty)
        rmdir(index)
        _ = try await fixture.pull("app", store)
    }

    @Test func makesAgainWhatTheDiskLost() async throws {
        try makeTwoImages()
        let image: Image
        do {
            let (store, _) = try await fixture.open()
            image = try await fixture.pull("app", store)
        }
        #expect(try run("rm", "-r", fixture.dataRoot + "/layers/" + image.layers[0].chainID.hex) == 0)
        let (store, _) = try await fixture.open()
        let lowers = store.lowerDirectories(of: try store.resolve("app"))
        #expect(lowers.count == 2)
        #expect(try readFile(lowers[1] + "/etc/name") == Array("base".utf8))
    }

    @Test func importsAgainWhatTheDatabaseLost() async throws {
        try makeTwoImages()
        let image: Image
        do {
            let (store, _) = try await fixture.open()
            image = try await fixture.pull("app", store)
            try await store.tag(image, as: ImageReference(parsing: "other:1"))
        }
        for suffix in ["", "-wal", "-shm"] { unlink(fixture.dataRoot + "/state.db" + suffix) }
        let log = Mutex<[String]>([])
        let (store, _) = try await fixture.open { line in log.withLock { $0.append(line) } }
        let found = try store.resolve("other:1")
        #expect(found.id == image.id && found.tags.map(\.familiar) == ["app:latest", "other:1"])
        #expect(found.digests == image.digests)
        #expect(store.lowerDirectories(of: found).allSatisfy { status($0) != nil })
        #expect(log.withLock { $0.contains { $0.contains("imported again") } })
    }

    /// What fails may be the host, as when the disk is full: then nothing is given up.
    @Test(arguments: [false, true]) func anImageThatCannotBeMadeNowIsKept(lostDatabase: Bool) async throws {
        try makeTwoImages()
        let image: Image
        do {
            let (store, _) = try await fixture.open()
            image = try await fixture.pull("app", store)
        }
        let blob = fixture.dataRoot + "/content/blobs/sha256/" + image.layers[1].blob.digest.hex
        #expect(try run("rm", "-r", fixture.dataRoot + "/layers/" + image.layers[1].chainID.hex) == 0)
        if lostDatabase { for suffix in ["", "-wal", "-shm"] { unlink(fixture.dataRoot + "/state.db" + suffix) } }
        // Not a damaged blob: one that can't be read.
        #expect(rename(blob, fixture.dataRoot + "/aside") == 0 && mkdir(blob, 0o700) == 0)
        do {
            let (store, _) = try await fixture.open()
            #expect(throws: ImageError.self) { try store.resolve("app") }
            _ = try await fixture.pull("app:base", store)
            _ = try await store.remove("app:base", force: false, users: { _ in [] })
            _ = try await store.prune(all: true, matching: { _ in true }, users: { _ in [] })
        }
        #expect(rmdir(blob) == 0 && rename(fixture.dataRoot + "/aside", blob) == 0)
        let (store, _) = try await fixture.open()
        let found = try store.resolve("app")
        #expect(found.id == image.id)
        #expect(store.lowerDirectories(of: found).allSatisfy { status($0) != nil })
    }

    @Test func anImageWhoseBlobsAreGoneIsNotUsed() async throws {
        try makeTwoImages()
        do {
            let (store, _) = try await fixture.open()
            let image = try await fixture.pull("app", store)
            #expect(try run("rm", "-r", fixture.dataRoot + "/layers/" + image.layers[0].chainID.hex) == 0)
            unlink(fixture.dataRoot + "/content/blobs/sha256/" + image.layers[0].blob.digest.hex)
        }
        let (store, _) = try await fixture.open()
        #expect(throws: ImageError.self) { try store.resolve("app") }
        // Pulling heals it.
        let image = try await fixture.pull("app", store)
        #expect(store.lowerDirectories(of: image).allSatisfy { status($0) != nil })
    }
}
