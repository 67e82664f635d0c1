import Glibc
import LinuxKernel
import OCI
import Testing

@testable import MonitorProtocol

@Suite struct ChannelTests {
    private func pair() throws -> MonitorChannelPair { try MonitorChannel.pair() }

    @Test func messagesRoundTrip() throws {
        let ends = try pair()
        let process = RuntimeSpec.Process(args: ["sh", "-c", "é\n\""], env: ["A=b"], cwd: "/")
        let bodies: [MonitorRequest.Body] = [
            .hello(version: 1), .attach(.init(stdin: true, stdout: true, stderr: false)), .start, .signal(15),
            .resize(exec: nil, width: 80, height: 24), .resize(exec: "x", width: 1, height: 65535),
            .exec(
                .init(
                    id: "e", process: process, attach: .init(stdin: false, stdout: true, stderr: true),
                    exitRecordPath: "/r")),
            .rootfs, .abandon,
        ]
        for (index, body) in bodies.enumerated() {
            try ends.daemon.send(MonitorRequest(sequence: UInt64(index), body: body))
        }
        for (index, body) in bodies.enumerated() {
            let received = try ends.monitor.receive(MonitorRequest.self).message
            #expect(received.sequence == UInt64(index))
            #expect("\(received.body)" == "\(body)")
        }
        let failure = StartFailure(stage: "exec", errno: ENOENT, message: "no such file")
        try ends.monitor.send(MonitorMessage(sequence: 7, body: .failed(failure)))
        guard case .failed(let got) = try ends.daemon.receive(MonitorMessage.self).message.body else {
            Issue.record("not a failure")
            return
        }
        #expect(got == failure)
    }

    @Test func aDescriptorTravelsAndIsCloseOnExec() throws {
        let ends = try pair()
        var pipes: [Int32] = [0, 0]
        try #require(pipe(&pipes) == 0)
        try ends.daemon.send(MonitorRequest(sequence: 1, body: .start), descriptor: pipes[1])
        close(pipes[1])
        do {
            var received = try ends.monitor.receive(MonitorRequest.self)
            let taken = release(received.takeDescriptor())
            let descriptor = try #require(taken)
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
            #expect(write(descriptor, "x", 1) == 1)
            close(descriptor)
        }
        var buffer = [UInt8](repeating: 0, count: 4)
        #expect(read(pipes[0], &buffer, 4) == 1)
        #expect(read(pipes[0], &buffer, 4) == 0)
        close(pipes[0])
    }

    @Test func aDescriptorNobodyTakesIsClosed() throws {
        let ends = try pair()
        var pipes: [Int32] = [0, 0]
        try #require(pipe(&pipes) == 0)
        try ends.daemon.send(MonitorRequest(sequence: 1, body: .start), descriptor: pipes[1])
        close(pipes[1])
        _ = try ends.monitor.receive(MonitorRequest.self).message
        var buffer = [UInt8](repeating: 0, count: 4)
        #expect(read(pipes[0], &buffer, 4) == 0)
        close(pipes[0])
    }

    @Test func moreDescriptorsThanOneAreRefusedAndClosed() throws {
        let ends = try pair()
        var pipes: [Int32] = [0, 0]
        try #require(pipe(&pipes) == 0)
        // Two SCM_RIGHTS descriptors, then more than the receiver has room for.
        for count in [2, 200] {
            var control = [UInt8](repeating: 0, count: 16 + (count * 4 + 7) & ~7)
            control.withUnsafeMutableBytes { bytes in
                bytes.storeBytes(of: 16 + count * 4, toByteOffset: 0, as: Int.self)
                bytes.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
                bytes.storeBytes(of: Int32(SCM_RIGHTS), toByteOffset: 12, as: Int32.self)
                for index in 0..<count { bytes.storeBytes(of: pipes[1], toByteOffset: 16 + index * 4, as: Int32.self) }
                var payload = Array(#"{"sequence":1,"body":{"start":{}}}"#.utf8)
                let sent = payload.withUnsafeMutableBytes { payload in
                    var vector = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
                    return withUnsafeMutablePointer(to: &vector) {
                        var header = msghdr()
                        header.msg_iov = $0
                        header.msg_iovlen = 1
                        header.msg_control = bytes.baseAddress
                        header.msg_controllen = bytes.count
                        return sendmsg(ends.daemon.rawDescriptor, &header, 0)
                    }
                }
                #expect(sent > 0)
            }
            #expect { _ = try ends.monitor.receive(MonitorRequest.self).message } throws: {
                if case ChannelError.malformed = $0 { true } else { false }
            }
        }
        close(pipes[1])
        var buffer = [UInt8](repeating: 0, count: 4)
        #expect(read(pipes[0], &buffer, 4) == 0)
        close(pipes[0])
        // The channel goes on.
        try ends.daemon.send(MonitorRequest(sequence: 2, body: .start))
        #expect(try ends.monitor.receive(MonitorRequest.self).message.sequence == 2)
    }

    @Test func whatIsNotUnderstoodSaysWhichRequestItWas() throws {
        let ends = try pair()
        try ends.daemon.send(packet: Array(#"{"sequence":41,"body":{"teleport":{}}}"#.utf8))
        try ends.daemon.send(packet: [0, 1, 2])
        #expect { _ = try ends.monitor.receive(MonitorRequest.self).message } throws: {
            if case ChannelError.malformed(_, 41) = $0 { true } else { false }
        }
        #expect { _ = try ends.monitor.receive(MonitorRequest.self).message } throws: {
            if case ChannelError.malformed(_, nil) = $0 { true } else { false }
        }
    }

    @Test func sizesAreBounded() throws {
        let ends = try pair()
        let largest = [UInt8](repeating: 32, count: MonitorProtocol.maximumPacket)
        try ends.daemon.send(packet: largest)
        #expect { try ends.daemon.send(packet: largest + [32]) } throws: {
            if case ChannelError.tooLarge = $0 { true } else { false }
        }
        // One from somebody else who keeps to no limit.
        let size = MonitorProtocol.maximumPacket + 10
        #expect(send(ends.monitor.rawDescriptor, [UInt8](repeating: 1, count: size), size, 0) == size)
        #expect { _ = try ends.daemon.receive(MonitorMessage.self).message } throws: {
            if case ChannelError.tooLarge = $0 { true } else { false }
        }
    }

    /// A monitor may end with requests unread; what it said before that is still heard.
    @Test func whatAPeerSaidBeforeItEndedIsHeard() throws {
        let (own, other) = try pair().split { ($0.release().release(), $1.release().release()) }
        let daemon = MonitorChannel(adopting: FileDescriptor(owning: own))
        try daemon.send(MonitorRequest(sequence: 1, body: .start))
        let last = MonitorMessage(sequence: 1, body: .started(pid: 7, startedAt: 8))
        try MonitorChannel(adopting: FileDescriptor(owning: other)).send(last)
        guard case .started(7, 8) = try daemon.receive(MonitorMessage.self, blocking: false).message.body else {
            Issue.record("not what was said")
            return
        }
        do throws(ChannelError) {
            _ = try daemon.receive(MonitorMessage.self, blocking: false)
            Issue.record("nobody is there")
        } catch {
            guard case .closed = error else { throw error }
        }
    }

    @Test func nonBlockingSaysSo() throws {
        let ends = try pair()
        #expect { _ = try ends.monitor.receive(MonitorRequest.self, blocking: false).message } throws: {
            if case ChannelError.wouldBlock = $0 { true } else { false }
        }
        let packet = [UInt8](repeating: 32, count: 100_000)
        #expect {
            for _ in 0..<100 { try ends.daemon.send(packet: packet, blocking: false) }
        } throws: {
            if case ChannelError.wouldBlock = $0 { true } else { false }
        }
        ends.monitor.shutdown()
        #expect { try ends.daemon.send(packet: packet) } throws: {
            if case ChannelError.closed = $0 { true } else { false }
        }
    }

    @Test(arguments: [1, 200]) func longBundlePathsAreReachable(depth: Int) throws {
        var template = Array("/tmp/monitor-protocol-XXXXXX".utf8CString)
        let top = String(cString: mkdtemp(&template))
        let bundle = top + "/" + String(repeating: "d", count: depth)
        try #require(mkdir(bundle, 0o700) == 0)
        defer {
            unlink(bundle + "/monitor.sock")
            rmdir(bundle)
            rmdir(top)
        }
        #expect(throws: SystemError.self) { _ = try MonitorChannel.connect(bundle: bundle).rawDescriptor }
        for _ in 0..<2 {
            // The second one replaces the socket that the first left behind.
            let listener = try MonitorListener(bundle: bundle)
            var status = stat()
            #expect(stat(bundle + "/monitor.sock", &status) == 0 && status.st_mode & 0o777 == 0o600)
            #expect { _ = try listener.accept().rawDescriptor } throws: {
                if case ChannelError.wouldBlock = $0 { true } else { false }
            }
            let client = try MonitorChannel.connect(bundle: bundle)
            let server = try listener.accept()
            try client.send(MonitorRequest(sequence: 3, body: .start))
            #expect(try server.receive(MonitorRequest.self).message.sequence == 3)
        }
    }
}

private func release(_ descriptor: consuming FileDescriptor?) -> Int32? { descriptor?.release() }
