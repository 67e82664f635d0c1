import Glibc
import LinuxKernel
import MonitorProtocol
import OCI
import Testing

@Suite(.enabled(if: Subject.isAvailable, "needs root, busybox-static and the built runtime"))
struct ProtocolTests {
    @Test func theContainerOutlivesItsDaemon() throws {
        let container = try TestContainer(["sh", "-c", "sleep 1000"])
        try container.start()
        container.disconnect()
        let status = try container.reconnect()
        #expect(status.state == .running && status.id == container.id && status.pid > 0)
        let (code, frames) = try container.exec(["echo", "still here"])
        #expect(code == 0 && frames.out == "still here\n")
        _ = try container.perform(.signal(SIGTERM))
        #expect(try container.end().exitCode == 143)
    }

    @Test func whatIsWrongIsRefusedAndTheRestGoesOn() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        func refused(_ body: MonitorRequest.Body) throws -> StartFailure {
            guard case .failed(let failure) = try container.perform(body) else { throw Surprise("not refused") }
            return failure
        }
        #expect(try refused(.start).errno == EALREADY)
        #expect(try refused(.resize(exec: nil, width: 1, height: 1)).message.contains("no terminal"))
        #expect(try refused(.resize(exec: "x", width: 1, height: 1)).errno == ESRCH)
        #expect(try refused(.signal(999)).errno == EINVAL)
        #expect(try refused(.attach(.init(stdin: false, stdout: true, stderr: true))).errno == EBADF)
        #expect(try refused(.abandon).errno == EBUSY)
        try container.channel.send(packet: Array(#"{"sequence":77,"body":{"teleport":{}}}"#.utf8))
        guard case .failed = try container.reply(77) else { throw Surprise("not refused") }
        // A connection that does not greet gets nothing.
        let stranger = try MonitorChannel.connect(bundle: container.bundle)
        try stranger.send(MonitorRequest(sequence: 1, body: .start))
        guard case .failed = try stranger.receive(MonitorMessage.self).message.body else {
            throw Surprise("not refused")
        }
        // A newer daemon is answered with the version that both speak.
        try stranger.send(MonitorRequest(sequence: 2, body: .hello(version: MonitorProtocol.version + 5)))
        guard case .hello(let status) = try stranger.receive(MonitorMessage.self).message.body else {
            throw Surprise("no greeting")
        }
        #expect(status.version == MonitorProtocol.version)
    }

    @Test func theRootfsIsHandedOver() throws {
        let container = try TestContainer(["sh", "-c", "echo made > /tmp/file; echo ready; sleep 1000"])
        let client = try container.attach()
        try container.start()
        _ = try client.until("ready")
        try container.request(.rootfs)
        var packet = try container.channel.receive(MonitorMessage.self)
        guard case .rootfs = packet.message.body, let root = packet.takeDescriptor() else {
            throw Surprise("no rootfs")
        }
        #expect(faccessat(root.raw, "tmp/file", F_OK, 0) == 0)
    }

    @Test func execs() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        var (code, frames) = try container.exec(["sh", "-c", "echo out; echo err >&2; exit 5"])
        #expect(code == 5 && frames.out == "out\n" && frames.err == "err\n")
        (code, frames) = try container.exec(["cat"], input: "hello")
        #expect(code == 0 && frames.out == "hello")
        (code, frames) = try container.exec(["sh", "-c", "kill -9 $$"])
        #expect(code == 137)
        #expect { _ = try container.exec(["nosuch"]) } throws: { ($0 as? StartFailure)?.errno == ENOENT }
        #expect(access("\(container.bundle)/exec-nosuch.json.prepared", F_OK) != 0)
    }

    @Test func manyExecsAtOnceKeepTheirStreamsApart() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        var clients: [TestClient] = []
        for index in 0..<12 {
            let (client, number) = try container.beginExec(
                "\(index)", ["sh", "-c", "read line; echo \(index) $line; exit \(index)"], stdin: true)
            _ = try container.awaitStart(number)
            clients.append(client)
        }
        for (index, client) in clients.enumerated().reversed() {
            try client.send("q\(index)\n")
            #expect(try client.frames().out == "\(index) q\(index)\n")
        }
        for index in 0..<12 { #expect(try container.execCode("\(index)") == Int32(index)) }
    }

    @Test func outputOfAnExecThatHasEndedWaitsForItsReader() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        // More than the socket takes at once, less than holds the process back.
        let (client, number) = try container.beginExec(
            "e", ["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"], stdin: false)
        _ = try container.awaitStart(number)
        #expect(try container.execCode("e") == 0)
        #expect(try client.frames().stdout.count == 300_000)
        let (code, _) = try container.exec(["true"])
        #expect(code == 0)
    }

    @Test func aPausedContainerTakesNoExec() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        let cgroup = try #require(container.cgroup)
        try cgroup.freeze()
        defer { try? cgroup.thaw() }
        #expect { _ = try container.exec(["true"]) } throws: { ($0 as? StartFailure)?.errno == EBUSY }
    }

    @Test func aDaemonThatLeavesDuringTheEndCostsNoRecord() throws {
        // Shared pids: the end takes a while, since a process outside the cgroup might hold the streams.
        let container = try TestContainer(["sleep", "1000"]) { $0.ownPids = false }
        try container.start()
        try container.request(.signal(SIGTERM))
        container.disconnect()
        #expect(throws: Surprise.self) { _ = try container.end() }
        #expect(try container.record().exitCode == 143)
    }

    @Test func theEndOfTheContainerEndsItsExecs() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        let (client, number) = try container.beginExec("e", ["sleep", "1000"], stdin: false)
        _ = try container.awaitStart(number)
        _ = try container.perform(.signal(SIGTERM))
        #expect(try client.all().isEmpty)
        #expect(try container.end().exitCode == 143)
        #expect(try container.execCode("e") == 137)
    }

    @Test func zygotesForkMonitorsThatOutliveThem() throws {
        let zygote = try TestZygote()
        let first = try TestContainer(["sh", "-c", "echo one; exit 3"])
        let client = try first.attach()
        try first.request(.start)
        #expect(try first.spawn(zygote.client) > 0)
        #expect(try client.frames().out == "one\n")
        #expect(try first.end().exitCode == 3)

        let second = try TestContainer(["sleep", "1000"])
        let number = try second.request(.start)
        _ = try second.spawn(zygote.client)
        _ = try second.awaitStart(number)
        zygote.end()
        let (code, frames) = try second.exec(["echo", "alive"])
        #expect(code == 0 && frames.out == "alive\n")
        _ = try second.perform(.signal(SIGKILL))
        #expect(try second.end().exitCode == 137)
    }

    @Test func aMonitorIsForkedAhead() throws {
        let zygote = try TestZygote()
        let network = try zygote.client.emptyNetwork()
        var status = stat()
        fstat(network.raw, &status)
        let spare = try zygote.client.spare()
        let first = try TestContainer(["sh", "-c", "stat -L -c %i /proc/self/ns/net; exit 3"])
        let client = try first.attach()
        try first.request(.start)
        try first.spawn(spare, network: network)
        #expect(try client.frames().out == "\(status.st_ino)\n")
        #expect(try first.end().exitCode == 3)

        // One that was killed says so.
        let killed = try zygote.client.spare()
        kill(killed.pid, SIGKILL)
        try eventually("it is gone") { hasEnded(killed.pid) }
        let second = try TestContainer(["true"])
        try second.request(.start)
        #expect(throws: ChannelError.self) { try killed.run(bundle: second.bundle, network: nil, monitorEnd: 0) }
        _ = try second.spawn(zygote.client)
        #expect(try second.end().exitCode == 0)

        // It outlives its zygote, but not whoever has the other end of its channel.
        let last = try zygote.client.spare()
        let pid = last.pid
        zygote.end()
        #expect(!hasEnded(pid))
        _ = consume last
        try eventually("it goes, too") { hasEnded(pid) }
    }
}
