import Glibc
import LinuxKernel
import MonitorProtocol
import Testing

@Suite(.enabled(if: Subject.isAvailable, "needs root, busybox-static and the built runtime"))
struct LifeTests {
    @Test(arguments: [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)] as [(String, Int32)])
    func codesAreTheProgramsOwn(script: String, code: Int32) throws {
        let container = try TestContainer(["sh", "-c", script])
        try container.start()
        let record = try container.end()
        #expect(record.exitCode == code)
        #expect(record.startedAt > 0 && record.finishedAt >= record.startedAt)
        #expect(record.oomKilled == false)
    }

    @Test func withoutReaperTheProgramIsPid1() throws {
        let container = try TestContainer(["sh", "-c", "echo $$; exit 5"]) { $0.reaper = false }
        let client = try container.attach()
        try container.start()
        #expect(try client.frames().out == "1\n")
        #expect(try container.end().exitCode == 5)
    }

    @Test(arguments: [("nosuch", 127), ("/etc", 126)] as [(String, Int32)])
    func aProgramThatIsNotOneIsSaid(program: String, code: Int32) throws {
        let container = try TestContainer([program])
        let client = try container.attach()
        #expect { try container.start() } throws: { error in
            guard let failure = error as? StartFailure else { return false }
            return failure.stage == "exec" && failure.message.contains(program)
        }
        #expect(try client.all().isEmpty)
        while try container.next() != nil {}
        let cgroup = try #require(container.cgroup)
        #expect(throws: (any Error).self) { _ = try cgroup.openDirectory().raw }
        let record = try container.record()
        #expect(record.exitCode == code)
        #expect(record.failure?.stage == "exec")
    }

    @Test func nothingIsLeftBehind() throws {
        let container = try TestContainer(["true"])
        try container.start()
        _ = try container.end()
        for name in ["monitor.sock", "exit.json.prepared"] { #expect(access("\(container.bundle)/\(name)", F_OK) != 0) }
        let cgroup = try #require(container.cgroup)
        #expect(throws: (any Error).self) { _ = try cgroup.openDirectory().raw }
        #expect(container.complaints == "")
    }

    @Test func aDaemonThatGoesBeforeTheStartLeavesNothing() throws {
        let container = try TestContainer(["true"])
        try container.spawn()
        _ = try container.next()
        container.disconnect()
        #expect { _ = try container.end() } throws: { $0 is Surprise }
        for name in ["monitor.sock", "exit.json", "exit.json.prepared"] {
            #expect(access("\(container.bundle)/\(name)", F_OK) != 0)
        }
    }

    @Test func signalsReachTheProgram() throws {
        let container = try TestContainer(
            ["sh", "-c", "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.05; done"])
        let client = try container.attach()
        try container.start()
        _ = try client.until("ready")
        guard case .done = try container.perform(.signal(SIGTERM)) else { throw Surprise("signal refused") }
        #expect(try client.frames().out == "got\n")
        #expect(try container.end().exitCode == 4)
    }

    @Test(arguments: [(SIGTERM, 143), (SIGHUP, 129), (SIGUSR1, 138), (SIGKILL, 137)] as [(Int32, Int32)])
    func aProgramWithoutHandlersEndsAtOnce(signal: Int32, code: Int32) throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        _ = try container.perform(.signal(signal))
        #expect(try container.end().exitCode == code)
    }

    @Test func stoppingAndContinuingReachTheProgram() throws {
        let container = try TestContainer([
            "sh", "-c", "trap 'echo continued; exit 0' CONT; echo ready; while :; do sleep 0.05; done",
        ])
        let client = try container.attach()
        try container.start()
        _ = try client.until("ready")
        guard case .hello(let status) = try container.perform(.hello(version: 1)) else { throw Surprise("no status") }
        #expect(status.pid != status.userPid)
        _ = try container.perform(.signal(SIGSTOP))
        try waitForState("T", of: status.userPid)
        _ = try container.perform(.signal(SIGCONT))
        #expect(try client.frames().out == "continued\n")
        #expect(try container.end().exitCode == 0)
    }

    @Test func orphansAreReapedAndPid1CanBeWrittenTo() throws {
        // Each subshell leaves a child that outlives it; when they have ended no zombie may be left.
        let container = try TestContainer([
            "sh", "-c",
            "for i in 1 2 3 4 5 6 7 8; do (sleep 0.05 &); done; while ps -o comm | grep -q sleep; do :; done; "
                + "ps -o stat | grep -c Z; echo via1 > /proc/1/fd/1",
        ])
        let client = try container.attach()
        try container.start()
        #expect(try client.frames().out == "0\nvia1\n")
        #expect(try container.end().exitCode == 0)
    }

    @Test func theReaperHoldsNothingButTheStreams() throws {
        let container = try TestContainer(["sh", "-c", "cd /proc/1/fd && echo *"])
        let client = try container.attach()
        try container.start()
        #expect(try client.frames().out == "0 1 2\n")
        _ = try container.end()
    }

    @Test func withSharedPidsNothingOutlivesTheContainer() throws {
        let container = try TestContainer(["sh", "-c", "(setsid sleep 1000 &); (sleep 1000 &); echo $$; exit 3"]) {
            $0.ownPids = false
        }
        let client = try container.attach()
        try container.start()
        #expect(try client.frames().out != "1\n")
        #expect(try container.end().exitCode == 3)
        let cgroup = try #require(container.cgroup)
        #expect(throws: (any Error).self) { _ = try cgroup.openDirectory().raw }
    }

    @Test func memoryDeathsAreRecordedByName() throws {
        let container = try TestContainer(["sh", "-c", "tail /dev/zero; exit 9"]) { $0.memory = 20 << 20 }
        try container.start()
        let record = try container.end()
        #expect(record.exitCode == 9)
        #expect(record.oomKilled)
        #expect(record.oomVictims.allSatisfy { $0 == "tail" })
        let said = container.events.contains { if case .outOfMemory = $0 { true } else { false } }
        #expect(said)
    }

    @Test func theNextRunWaitsForTheEndOfTheLast() throws {
        let first = try TestContainer(["sleep", "1000"])
        try first.start()
        // A second monitor on the same bundle: it gets the lock when the first has let go.
        let second = try first.another()
        try second.request(.start)
        try second.spawn()
        _ = try first.perform(.signal(SIGKILL))
        #expect(try first.next().map { if case .exited = $0.body { true } else { false } } == true)
        guard case .hello(let status) = try second.reply(1) else { throw Surprise("no greeting") }
        #expect(status.state == .ready)
        _ = try second.awaitStart(2)
        _ = try second.perform(.signal(SIGTERM))
        #expect(try second.end().exitCode == 143)
    }
}

/// Waits until /proc says that the process is in `state` (proc(5)); there is no event for a stop of somebody else's
/// child.
func waitForState(_ state: Character, of pid: Int32) throws {
    for _ in 0..<30_000 {
        guard let file = fopen("/proc/\(pid)/stat", "r") else { throw Surprise("process \(pid) is gone") }
        var line = [CChar](repeating: 0, count: 512)
        fgets(&line, 512, file)
        fclose(file)
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if text.split(separator: ")").last?.dropFirst().first == state { return }
        usleep(1000)
    }
    throw Surprise("process \(pid) never came to state \(state)")
}
