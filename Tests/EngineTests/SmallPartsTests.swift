import EngineAPI
import Glibc
import LinuxKernel
import MonitorProtocol
import Testing

@testable import Engine

@Suite struct NamesTests {
    @Test(arguments: ["ab", "a.b-c_d", "0x", "/slashed"]) func accepted(_ name: String) {
        #expect(refusal { _ = try Names.normalized(name) } == nil)
    }

    @Test(arguments: ["", "a", "-a", ".ab", "a b", "a/b", "ä1", "//ab", "a\n", "../x"]) func refused(_ name: String) {
        #expect(
            refusal { _ = try Names.normalized(name) }
                == "Invalid container name (\(name)), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    }

    @Test func identifiersAreHexAndNeverANumber() {
        for _ in 0..<200 {
            let id = Identifier.random()
            #expect(Identifier.isFull(id))
            #expect(Int(id.prefix(12)) == nil)
        }
    }

    @Test func randomNamesAreValid() {
        for _ in 0..<50 { #expect(Names.isValid(Names.random())) }
    }
}

@Suite struct RestartTests {
    /// A clock that is set while a container runs makes its run neither longer nor shorter.
    @Test func aRunLastsAsLongAsItLasts() {
        let (second, hour) = (Int64(1_000_000_000), Int64(3600_000_000_000))
        let started = 500_000 * hour
        for jump in [-hour, 0, hour] {
            let now = started + 5 * second + jump
            #expect(RunDuration.nanoseconds(7, since: started, monotonic: 7 + 5 * second, now: now) == 5 * second)
            #expect(RunDuration.nanoseconds(nil, since: started, monotonic: 0, now: now) == max(0, 5 * second + jump))
        }
    }

    @Test func theDelayDoublesUpToAMinute() {
        var backoff = RestartBackoff()
        var delays: [Int64] = []
        for _ in 0..<12 { delays.append(backoff.next(afterRunOf: 1_000_000) / 1_000_000) }
        #expect(delays == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000])
        #expect(backoff.next(afterRunOf: RestartBackoff.healthyRun) == RestartBackoff.initial)
    }

    @Test func policies() throws {
        #expect(try RestartRule(name: "", maximumRetryCount: 0) == .no)
        #expect(try RestartRule(name: "on-failure", maximumRetryCount: 3) == .onFailure(maximumRetries: 3))
        #expect(
            refusal { _ = try RestartRule(name: "sometimes", maximumRetryCount: 0) }?.contains("unknown policy") == true
        )
        #expect(refusal { _ = try RestartRule(name: "always", maximumRetryCount: 2) } != nil)
        let onFailure = RestartRule.onFailure(maximumRetries: 2)
        #expect(onFailure.restarts(exitCode: 1, restartCount: 1, stoppedByUser: false))
        #expect(!onFailure.restarts(exitCode: 1, restartCount: 2, stoppedByUser: false))
        #expect(!onFailure.restarts(exitCode: 0, restartCount: 0, stoppedByUser: false))
        #expect(!RestartRule.always.restarts(exitCode: 1, restartCount: 0, stoppedByUser: true))
        #expect(RestartRule.always.startsWithDaemon(stoppedByUser: true, wasRunning: false, exitCode: 0))
        #expect(!RestartRule.unlessStopped.startsWithDaemon(stoppedByUser: true, wasRunning: false, exitCode: 0))
    }
}

@Suite struct SignalTests {
    @Test(arguments: [
        ("SIGTERM", SIGTERM), ("hup", SIGHUP), ("9", 9), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63),
    ])
    func parsed(_ text: String, _ number: Int32) throws { #expect(try Signal.parse(text) == number) }

    @Test(arguments: ["", "0", "65", "-1", "SIGFOO", "RTMIN+31", "RTMIN-1", "RTMAX+1"]) func refused(_ text: String) {
        #expect(refusal { _ = try Signal.parse(text) } == "invalid signal: \(text)")
    }
}

@Suite struct ContainerFilesTests {
    @Test func hosts() throws {
        let text = try ContainerFiles.hosts(
            hostname: "box", domainname: "example", extra: ["db:10.0.0.1", "six=[::1]"])
        #expect(text.contains("10.0.0.1\tdb\n"))
        #expect(text.contains("::1\tsix\n"))
        #expect(text.contains("127.0.1.1\tbox.example box\n"))
        #expect(refusal { _ = try ContainerFiles.parse(extraHost: "db") } == "bad format for add-host: \"db\"")
        #expect(refusal { _ = try ContainerFiles.parse(extraHost: "db:nowhere") } != nil)
    }

    @Test func resolver() throws {
        let host = "nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch lan\noptions edns0\n"
        #expect(
            try ContainerFiles.resolvConf(host: host, servers: [], search: [], options: [], ownNetwork: true)
                == "nameserver 9.9.9.9\nsearch lan\noptions edns0\n")
        #expect(
            try ContainerFiles.resolvConf(
                host: host, servers: ["1.1.1.1"], search: ["."], options: ["ndots:1"], ownNetwork: true)
                == "nameserver 1.1.1.1\noptions ndots:1\n")
        #expect(
            refusal {
                _ = try ContainerFiles.resolvConf(
                    host: "", servers: [], search: ["a\nnameserver 6.6.6.6"], options: [], ownNetwork: true)
            } != nil)
    }
}

@Suite struct ProcessTableTests {
    @Test func ownProcessIsRead() {
        let table = ProcessTable.full(of: [getpid(), 0x7FFF_FFFF])
        #expect(table.titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
        #expect(table.rows.count == 1)
        #expect(table.rows.first?[1] == String(getpid()))
        #expect(table.rows.first?[2] == String(getppid()))
    }

    @Test func hostsOutputIsFiltered() throws {
        let output = "  PID COMMAND\n    1 init\n   42 sh -c a b\n"
        let table = try ProcessTable.parse(output: output, pids: [42])
        #expect(table.rows == [["42", "sh -c a b"]])
        #expect(refusal { _ = try ProcessTable.parse(output: "COMMAND\n", pids: []) } != nil)
    }
}

@Suite struct StatusTextTests {
    @Test(arguments: [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (120, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (48 * 3600, "2 days"), (15 * 86400, "2 weeks"),
    ])
    func durations(_ seconds: Int64, _ text: String) {
        #expect(StatusText.elapsed(seconds * 1_000_000_000) == text)
    }
}

@Suite struct FilesTests {
    @Test func deepTreesAreRemovedAndLinksNotFollowed() throws {
        let directory = TemporaryDirectory()
        let outside = directory.path + "/outside"
        try Files.makeDirectory(outside, mode: 0o755)
        try Files.write(outside + "/kept", "x")
        let tree = directory.path + "/tree"
        try Files.makeDirectory(tree, mode: 0o755)
        symlink(outside, tree + "/link")
        // No UTF-8: made a String, it would be another file's name.
        _ = withCString(Array("\(tree)/".utf8) + [0x61, 0xff]) { close(open($0, O_WRONLY | O_CREAT, 0o644)) }
        // Deeper than descriptors or PATH_MAX would let a naive walk go.
        var current = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        for _ in 0..<3000 {
            mkdirat(current, "directory", 0o755)
            let next = openat(current, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            close(current)
            current = next
        }
        close(current)
        try TreeRemoval.remove(tree)
        #expect(!Files.exists(tree))
        #expect(Files.exists(outside + "/kept"))
        try TreeRemoval.remove(tree)
    }

    @Test func pathsAreCleanedAsGoDoes() {
        #expect(Paths.clean("/a//b/./c/../d/") == "/a/b/d")
        #expect(Paths.clean("/../..") == "/")
        #expect(Paths.clean("a/../..") == "..")
        #expect(Paths.clean("") == ".")
        #expect(Paths.isInside("/a/b", "/a"))
        #expect(!Paths.isInside("/ab", "/a"))
    }
}

@Suite struct EventFilterTests {
    private let event = EventMessage(
        type: "container", action: "exec_start: sh", id: "abc",
        attributes: ["name": "web", "image": "redis:7", "k": "v"],
        time: 1)

    @Test(
        arguments: [
            (["type": ["container"]], true), (["type": ["image"]], false), (["event": ["exec_start"]], true),
            (["event": ["die"]], false), (["container": ["web"]], true), (["container": ["ab"]], true),
            (["container": ["other"]], false), (["image": ["redis"]], true), (["label": ["k=v"]], true),
            (["label": ["k=w"]], false), (["volume": ["v"]], false),
        ] as [([String: [String]], Bool)])
    func filters(_ values: [String: [String]], matches: Bool) throws {
        #expect(try EventFilter(Filters(values)).matches(event) == matches)
    }

    @Test func unknownFiltersAreRefused() {
        #expect(refusal { _ = try EventFilter(Filters(["colour": ["red"]])) } == "invalid filter 'colour'")
    }

    @Test func pastAndLiveEventsJoinWithoutAGap() async throws {
        let bus = EventBus(past: []) { _ in }
        bus.post(type: "container", action: "create", id: "a", attributes: [:], time: 5)
        var iterator = bus.stream(since: 1, until: nil) { _ in true }.makeAsyncIterator()
        bus.post(type: "container", action: "start", id: "a", attributes: [:], time: 6)
        #expect(try await iterator.next()?.action == "create")
        #expect(try await iterator.next()?.action == "start")
        bus.close()
        #expect(try await iterator.next() == nil)
    }

    @Test func aListenerThatFallsBehindIsToldSo() async throws {
        let bus = EventBus(past: []) { _ in }
        let slow = bus.stream(since: nil, until: nil) { _ in true }
        let quick = bus.stream(since: nil, until: nil) { _ in true }
        var iterator = quick.makeAsyncIterator()
        for number in 0..<6000 {
            bus.post(type: "container", action: "start", id: String(number), attributes: [:])
            #expect(try await iterator.next()?.actor.id == String(number))
        }
        var received = 0
        await #expect(throws: EngineError.self) {
            for try await event in slow {
                #expect(event.actor.id == String(received))
                received += 1
            }
        }
        #expect(received == 4096)
        #expect(bus.listenerCount == 1)
        bus.close()
    }
}

@Suite struct WaitTests {
    @Test func conditions() async throws {
        let container = Container(makeRecord())
        // Not running: answered at once.
        #expect(try await container.wait(.notRunning).value().statusCode == 0)
        let next = container.wait(.nextExit)
        let removed = container.wait(.removed)
        container.update { record in
            record.status.lifecycle = .exited(.init(exitCode: 3, startedAt: 1, finishedAt: 2))
        }
        container.announceExit()
        #expect(try await next.value().statusCode == 3)
        container.announceRemoval()
        #expect(try await removed.value().statusCode == 3)
    }

    @Test func aCancelledWaitEnds() async {
        let container = Container(makeRecord())
        let ticket = container.wait(.nextExit)
        let task = Task { try await ticket.value() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func operationsOfOneContainerTakeTurns() async {
        let queue = SerialQueue()
        let order = Order()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    await queue.run {
                        await order.enter()
                        await Task.yield()
                        await order.leave()
                    }
                }
            }
        }
        #expect(await order.worst == 1)
    }

    private actor Order {
        private var inside = 0
        private(set) var worst = 0
        func enter() {
            inside += 1
            worst = max(worst, inside)
        }
        func leave() { inside -= 1 }
    }
}

@Suite struct ExecSessionTests {
    private func exec(_ id: String) -> ExecSession {
        ExecSession(id: id, containerID: "c", request: ExecCreateRequest())
    }

    @Test func theLastToEndAreRemembered() {
        let container = Container(makeRecord())
        let execs = (0..<100).map { exec("\($0)") }
        for exec in execs { container.add(exec) }
        for exec in execs.dropFirst(10) { exec.ended(exitCode: 0) }
        container.forgetExecs(but: 64)
        // Those that have not ended, and of the others the last.
        #expect(Set(container.execs.keys) == Set((execs.prefix(10) + execs.suffix(64)).map(\.id)))
    }

    @Test func attachmentsAreKeptForTheNextStartAndTheirClients() throws {
        let container = Container(makeRecord())
        /// The client's end, nil where it was not kept.
        func attach() throws -> OwnedDescriptor? {
            let (own, other) = try StreamPair.make()
            let streams = MonitorRequest.Attach(stdin: false, stdout: true, stderr: true)
            return container.addWaitingAttachment(WaitingAttachment(streams: streams, descriptor: other)) ? own : nil
        }
        let first = try attach()
        for _ in 0..<10 { #expect(try attach() != nil) }
        let last = try attach()
        container.update { $0.status.lifecycle = .starting(since: 1) }
        #expect(try attach() == nil)
        #expect(container.takeWaitingAttachments().count == 2)
        withExtendedLifetime((first, last)) {}
    }
}

@Suite struct LayerChangesTests {
    @Test func mountPointsAreNoChanges() {
        let changes = [
            FilesystemChange(kind: 1, path: "/data"), FilesystemChange(kind: 0, path: "/etc"),
            FilesystemChange(kind: 1, path: "/etc/hosts"), FilesystemChange(kind: 2, path: "/gone"),
            FilesystemChange(kind: 1, path: "/proc"),
        ]
        #expect(LayerChanges.withoutMountPoints(changes, ["/data"]).map(\.path) == ["/gone"])
        let own = changes + [FilesystemChange(kind: 1, path: "/etc/mine")]
        #expect(LayerChanges.withoutMountPoints(own, []).map(\.path) == ["/data", "/etc", "/gone", "/etc/mine"])
    }
}
