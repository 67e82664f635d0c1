import ContainerLog
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI
import Testing

@Suite(.enabled(if: Subject.isAvailable, "needs root, busybox-static and the built runtime"))
struct StreamTests {
    @Test func outputIsFramedAndLogged() throws {
        let container = try TestContainer(["sh", "-c", "echo out; echo err >&2; echo -n open"])
        let client = try container.attach()
        try container.start()
        let frames = try client.frames()
        #expect(frames.out == "out\nopen")
        #expect(frames.err == "err\n")
        _ = try container.end()
        let lines = container.log.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1)[1] }
        #expect(Set(lines) == ["stdout F out", "stderr F err", "stdout P open"])
    }

    @Test func inputEndsWithItsClient() throws {
        let container = try TestContainer(["sh", "-c", "cat; echo end"]) { $0.openStdin = true }
        let client = try container.attach(stdin: true)
        try client.send("before the start\n")
        try container.start()
        try client.send("after\n")
        client.endInput()
        #expect(try client.frames().out == "before the start\nafter\nend\n")
        #expect(try container.end().exitCode == 0)
    }

    @Test func muchInputIsNotLost() throws {
        let container = try TestContainer(["wc", "-c"]) { $0.openStdin = true }
        let client = try container.attach(stdin: true)
        try container.start()
        try client.send([UInt8](repeating: 120, count: 3_000_000))
        client.endInput()
        #expect(try client.frames().out == "3000000\n")
        _ = try container.end()
    }

    @Test func aHundredMegabytesArriveToTheByte() throws {
        let size = 100 << 20
        let container = try TestContainer([
            "sh", "-c", "head -c \(size) /dev/zero | tr '\\0' x; echo end >&2",
        ]) { $0.noLog = true }
        let client = try container.attach()
        try container.start()
        let frames = try client.frames()
        #expect(frames.stdout.count == size)
        #expect(
            frames.stdout.withUnsafeBytes { bytes in
                memchr(bytes.baseAddress!, 120, 1) != nil
                    && memcmp(bytes.baseAddress!, bytes.baseAddress! + 1, size - 1) == 0
            })
        #expect(frames.err == "end\n")
        _ = try container.end()
    }

    @Test func aSlowClientIsCutOffWithASentenceAndOthersGetEverything() throws {
        let container = try TestContainer(["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; echo end"]) {
            // Long enough for one that reads, on a machine that has no time.
            $0.slowClientTimeout = 2_000_000_000
        }
        let slow = try container.attach()
        let quick = try container.attach()
        try container.start()
        #expect(try quick.frames().stdout.count == 5_000_004)
        let frames = try slow.frames()
        #expect(frames.stdout.count < 5_000_000)
        #expect(frames.err.contains("did not read the container's output"))
        #expect(try container.end().exitCode == 0)
    }

    @Test func attachedClientsAreBounded() throws {
        let container = try TestContainer(["sleep", "1000"])
        try container.start()
        func attach() throws -> (client: TestClient, reply: MonitorMessage.Body) {
            let client = try TestClient()
            let number = try container.request(
                .attach(.init(stdin: false, stdout: true, stderr: true)), descriptor: client.giveAway())
            client.closeGivenAway()
            return (client, try container.reply(number))
        }
        var clients: [TestClient] = []
        for _ in 0..<128 {
            let (client, reply) = try attach()
            if case .failed(let failure) = reply { throw Surprise(failure.message) }
            clients.append(client)
        }
        guard case .failed(let failure) = try attach().reply else { throw Surprise("not refused") }
        #expect(failure.message.contains("128 clients are attached to the container already"))
        // Room again, once the monitor has seen that one has left.
        clients.removeLast()
        var refusals = 0
        while refusals < 10_000, case .failed = try attach().reply { refusals += 1 }
        #expect(refusals < 10_000)
    }

    @Test func aClientThatGoesAwayHarmsNobody() throws {
        let container = try TestContainer(["sh", "-c", "cat > /dev/null; head -c 300000 /dev/zero; echo end"]) {
            $0.openStdin = true
        }
        var leaving: TestClient? = try container.attach()
        let staying = try container.attach(stdin: true)
        try container.start()
        #expect(leaving != nil)
        leaving = nil
        staying.endInput()
        #expect(try staying.frames().stdout.count == 300_004)
        _ = try container.end()
    }

    @Test func terminals() throws {
        let container = try TestContainer(["sh"]) {
            $0.terminal = true
            $0.openStdin = true
        }
        let client = try container.attach(stdin: true)
        try container.request(.resize(exec: nil, width: 100, height: 40))
        try container.start()
        try client.send("stty size; echo $((40+2))\n")
        #expect(try client.until("\r\n42\r\n").contains("40 100"))
        _ = try container.perform(.resize(exec: nil, width: 50, height: 20))
        try client.send("stty size\n")
        _ = try client.until("20 50")
        // Ctrl-C ends the program in the foreground, not the shell.
        try client.send("sh -c 'echo $((40+3)); exec sleep 1000'\n")
        _ = try client.until("43\r\n")
        try client.send("\u{3}")
        try client.send("exit 9\n")
        _ = try client.all()
        #expect(try container.end().exitCode == 9)
    }

    @Test func logAndLiveStreamJoinWithoutGapOrOverlap() throws {
        let container = try TestContainer([
            "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; cat",
        ]) { $0.openStdin = true }
        let holder = try container.attach(stdin: true)
        try container.start()
        _ = try holder.until("100\n")
        // In the middle of it.
        let client = try TestClient()
        let number = try container.request(
            .attach(.init(stdin: false, stdout: true, stderr: true)), descriptor: client.giveAway())
        client.closeGivenAway()
        guard case .attached(let position) = try container.reply(number) else { throw Surprise("not attached") }
        var options = LogReadOptions()
        options.end = position
        let reader = try LogReader(path: container.logPath, format: .cri, options: options)
        var joined: [UInt8] = []
        while let entry = try reader.next() { joined += entry.content }
        holder.endInput()
        _ = try holder.all()
        joined += try client.frames().stdout
        #expect(String(decoding: joined, as: UTF8.self) == (0..<3000).map { "\($0)\n" }.joined())
        _ = try container.end()
    }
}
