import Database
import EngineAPI
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import Testing

@testable import Engine

/// What an engine makes of what it finds: rows, bundles, locks and exit records left by one that was killed.
@Suite(.serialized) struct RecoveryTests {
    private struct Host {
        let directory = TemporaryDirectory()

        var configuration: EngineConfiguration {
            EngineConfiguration(
                dataRoot: directory.path + "/data", executionRoot: directory.path + "/exec", registries: [],
                runtimePath: "/bin/true")
        }

        func open() async throws -> Engine { try await Engine.open(configuration) }

        /// Opens once, lets `prepare` change what is stored, and closes as a killed daemon would: without a word.
        func prepare(_ prepare: (Engine) throws -> Void) async throws {
            let engine = try await open()
            try prepare(engine)
            await engine.shutdown(stopContainers: false)
        }
    }

    private func insert(_ engine: Engine, _ record: ContainerRecord) throws {
        try engine.store.insert(record, images: engine.imageStore, volumes: [], identities: nil, durability: .normal)
        for part in ["upper", "work", "logs"] {
            try Files.makeDirectories("\(engine.paths.container(record.id))/\(part)", mode: 0o700)
        }
    }

    private func running(_ record: ContainerRecord) -> ContainerRecord {
        var record = record
        record.status.lifecycle = .running(.init(pid: 999_999, startedAt: 10))
        record.status.hasBeenStarted = true
        return record
    }

    private func writeExit(_ engine: Engine, _ id: String, code: Int32, padded: Bool = true) throws {
        let exit = ExitRecord(exitCode: code, signal: 0, oomKilled: true, startedAt: 10, finishedAt: 20)
        var bytes = [UInt8](try JSONEncoder().encode(exit))
        if padded { bytes += [UInt8](repeating: 0x20, count: 100) }
        try Files.makeDirectories(engine.paths.bundle(id), mode: 0o700)
        try Files.write(engine.paths.bundle(id) + "/exit.json", bytes)
    }

    @Test func aSecondDaemonIsRefused() async throws {
        let host = Host()
        let engine = try await host.open()
        do {
            _ = try await host.open()
            Issue.record("the data root was shared")
        } catch let error as EngineError {
            #expect(error.kind == .conflict)
            #expect(error.message.contains("another mycontainerd"))
        }
        await engine.shutdown(stopContainers: false)
    }

    @Test func whatEndedMeanwhileHasItsExitCode() async throws {
        let host = Host()
        let record = running(makeRecord())
        try await host.prepare { engine in
            try insert(engine, record)
            try writeExit(engine, record.id, code: 7)
        }
        let engine = try await host.open()
        let inspected = try await engine.inspectContainer(record.id, size: false)
        #expect(inspected.state?.status == "exited")
        #expect(inspected.state?.exitCode == 7)
        #expect(inspected.state?.oomKilled == true)
        #expect(!Files.exists(engine.paths.bundle(record.id)))
        await engine.shutdown(stopContainers: false)
    }

    @Test(arguments: [(Int64(5), Int32(7)), (10, 3)]) func aRunThatWasNotWrittenDownHasItsExitCode(
        previousStart: Int64, code: Int32
    ) async throws {
        let host = Host()
        var record = makeRecord()
        record.status.lifecycle = .exited(.init(exitCode: 3, startedAt: previousStart, finishedAt: 11))
        record.status.hasBeenStarted = true
        let stored = record
        try await host.prepare { engine in
            try insert(engine, stored)
            try writeExit(engine, stored.id, code: 7)
        }
        let engine = try await host.open()
        #expect(try await engine.inspectContainer(stored.id, size: false).state?.exitCode == Int(code))
        await engine.shutdown(stopContainers: false)
    }

    /// A monitor that says at once after its greeting that its container has ended.
    @Test(arguments: [Lifecycle.created(failure: nil), .exited(.init(exitCode: 3, startedAt: 5, finishedAt: 6))])
    func anEndRightBehindTheGreetingIsHeard(stored: Lifecycle) async throws {
        let host = Host()
        var record = makeRecord()
        record.status.lifecycle = stored
        let container = record
        let exit = ExitRecord(exitCode: 7, signal: 0, oomKilled: false, startedAt: 10, finishedAt: 20)
        try await host.prepare { engine in
            try insert(engine, container)
            let bundle = engine.paths.bundle(container.id)
            try Files.makeDirectories(bundle, mode: 0o700)
            let lock = open(bundle + "/" + MonitorProtocol.lockName, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            try #require(flock(lock, LOCK_EX) == 0)
            let listener = try MonitorListener(bundle: bundle)
            try DetachedThread.start(stackSize: 1 << 20) {
                defer { close(lock) }
                var entry = pollfd(fd: listener.rawDescriptor, events: Int16(POLLIN), revents: 0)
                while poll(&entry, 1, -1) < 0 {}
                guard let channel = try? listener.accept(),
                    let hello = try? channel.receive(MonitorRequest.self).message
                else { return }
                let status = MonitorMessage.Status(
                    version: MonitorProtocol.version, id: container.id, state: .running, pid: getpid(),
                    userPid: getpid(),
                    startedAt: 10, execs: [:])
                try? channel.send(MonitorMessage(sequence: hello.sequence, body: .hello(status)))
                try? channel.send(MonitorMessage(sequence: 0, body: .exited(exit)))
            }
        }
        let engine = try await host.open()
        let end = try await engine.waitContainer(container.id, condition: .notRunning).value()
        #expect(end.statusCode == 7)
        #expect(try await engine.inspectContainer(container.id, size: false).state?.exitCode == 7)
        await engine.shutdown(stopContainers: false)
    }

    @Test func anUnfinishedExitRecordIsNone() async throws {
        let host = Host()
        let record = running(makeRecord())
        try await host.prepare { engine in
            try insert(engine, record)
            try Files.makeDirectories(engine.paths.bundle(record.id), mode: 0o700)
            try Files.write(engine.paths.bundle(record.id) + "/exit.json", [UInt8](repeating: 0, count: 512))
        }
        let engine = try await host.open()
        let inspected = try await engine.inspectContainer(record.id, size: false)
        #expect(inspected.state?.exitCode == 255)
        await engine.shutdown(stopContainers: false)
    }

    @Test func anEndedAutoRemoveContainerIsGone() async throws {
        let host = Host()
        let record = running(makeRecord { $0.hostConfig.autoRemove = true })
        try await host.prepare { engine in
            try insert(engine, record)
            try writeExit(engine, record.id, code: 0)
        }
        let engine = try await host.open()
        await #expect(throws: EngineError.self) { _ = try await engine.inspectContainer(record.id, size: false) }
        #expect(!Files.exists(engine.paths.container(record.id)))
        #expect(try engine.store.containers().records.isEmpty)
        await engine.shutdown(stopContainers: false)
    }

    @Test func afterARebootNothingRuns() async throws {
        let host = Host()
        let record = running(makeRecord())
        try await host.prepare { engine in
            try insert(engine, record)
            // A record of the boot before says nothing about what ended with the machine.
            try writeExit(engine, record.id, code: 7)
            try engine.store.set("boot-id", "another boot")
        }
        let engine = try await host.open()
        #expect(try await engine.inspectContainer(record.id, size: false).state?.exitCode == 255)
        await engine.shutdown(stopContainers: false)
    }

    @Test func unknownDataIsPutAside() async throws {
        let host = Host()
        let name = String(repeating: "cd", count: 32)
        try await host.prepare { engine in
            try Files.makeDirectories("\(engine.paths.container(name))/upper", mode: 0o755)
            try Files.write("\(engine.paths.container(name))/upper/precious", "data")
        }
        let engine = try await host.open()
        #expect(!Files.exists(engine.paths.container(name)))
        let kept = try Files.list(engine.paths.quarantine)
        #expect(kept.count == 1)
        #expect(Files.exists("\(engine.paths.quarantine)/\(kept[0])/upper/precious"))
        await engine.shutdown(stopContainers: false)
    }

    @Test func aRemovalThatWasCutShortIsFinished() async throws {
        let host = Host()
        let record = makeRecord()
        try await host.prepare { engine in
            try insert(engine, record)
            rename(engine.paths.container(record.id), "\(engine.paths.graveyard)/\(record.id)")
        }
        let engine = try await host.open()
        #expect(try engine.store.containers().records.isEmpty)
        await #expect(throws: EngineError.self) { _ = try await engine.inspectContainer(record.id, size: false) }
        await engine.shutdown(stopContainers: false)
    }

    @Test func aVolumeThatTheDatabaseLostIsTakenUpAgain() async throws {
        let host = Host()
        try await host.prepare { engine in
            _ = try engine.volumeManager.create(name: "data", driver: "", labels: ["a": "b"], options: [:])
            try Files.write(engine.volumeManager.dataPath("data") + "/file", "x")
            try engine.store.deleteVolume("data")
        }
        let engine = try await host.open()
        let volume = try await engine.inspectVolume("data")
        #expect(volume.labels == ["a": "b"])
        #expect(Files.exists(volume.mountpoint + "/file"))
        await engine.shutdown(stopContainers: false)
    }

    @Test func namesSurviveAndAreUnique() async throws {
        let host = Host()
        let record = makeRecord(name: "web")
        try await host.prepare { engine in try insert(engine, record) }
        let engine = try await host.open()
        #expect(
            refusal { try engine.registry.reserve("web", for: "other") }?.contains("already in use by container")
                == true)
        try await engine.renameContainer("web", to: "api")
        #expect(try await engine.inspectContainer("api", size: false).id == record.id)
        #expect(try await engine.inspectContainer(String(record.id.prefix(6)), size: false).name == "/api")
        #expect(try engine.store.containers().records.first?.name == "api")
        await engine.shutdown(stopContainers: false)
    }
}
