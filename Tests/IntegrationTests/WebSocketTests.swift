import Testing

@Suite("Attaching over a WebSocket (RFC 6455)")
struct WebSocketTests {
    private static let handshake = """
        Host: d\r
        Upgrade: websocket\r
        Connection: Upgrade\r
        Sec-WebSocket-Version: 13\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
        \r

        """

    /// The messages after an answer's head: opcodes and payloads.
    private func frames(_ bytes: [UInt8]) throws -> [(opcode: UInt8, payload: [UInt8])] {
        let end = try #require(bytes.indices.first { bytes[$0...].starts(with: "\r\n\r\n".utf8) })
        var rest = bytes[(end + 4)...]
        var frames: [(UInt8, [UInt8])] = []
        while rest.count >= 2 {
            let opcode = rest[rest.startIndex] & 0x0f
            // Short ones only; a server doesn't mask.
            let count = Int(rest[rest.startIndex + 1])
            try #require(count < 126)
            frames.append((opcode, Array(rest.dropFirst(2).prefix(count))))
            rest = rest.dropFirst(2 + count)
        }
        return frames
    }

    private func masked(_ opcode: UInt8, _ text: String) -> [UInt8] {
        let mask: [UInt8] = [1, 2, 3, 4]
        return [0x80 | opcode, 0x80 | UInt8(text.utf8.count)] + mask
            + text.utf8.enumerated().map { $1 ^ mask[$0 % 4] }
    }

    @Test("Input and output are messages without Docker's frames, and the end is a close")
    func talk() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", "read line; echo got $line; echo err >&2")
            let socket = try UnixConnection(daemon.socket)
            socket.send(
                "GET /v1.51/containers/box/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n" + Self.handshake)
            var bytes = try socket.receive { $0.suffix(4) == Array("\r\n\r\n".utf8) }
            let head = String(decoding: bytes, as: UTF8.self).lowercased()
            #expect(head.hasPrefix("http/1.1 101 "))
            // The example of RFC 6455, section 1.3.
            #expect(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="))
            socket.send(masked(9, "are you there"))
            socket.send(masked(1, "hel"))
            socket.send(masked(1, "lo\n"))
            bytes += try socket.receive { all in (try? frames(bytes + all).last?.opcode == 8) ?? false }
            let messages = try frames(bytes)
            #expect(messages.contains { $0.opcode == 10 && $0.payload == Array("are you there".utf8) })
            let output = messages.filter { $0.opcode == 2 }.flatMap(\.payload)
            #expect(
                ["got hello\nerr\n", "err\ngot hello\n"].contains(String(decoding: output, as: UTF8.self)))
            #expect(messages.last?.payload == [0x03, 0xe8])
        }
    }

    @Test("A client that closes leaves the container alone; what is no handshake is refused")
    func leaving() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            let path = "/containers/box/attach/ws?stream=1&stdout=1"
            let socket = try UnixConnection(daemon.socket)
            socket.send("GET \(path) HTTP/1.1\r\n" + Self.handshake)
            _ = try socket.receive { $0.suffix(4) == Array("\r\n\r\n".utf8) }
            socket.send(masked(8, ""))
            #expect(try socket.receive { _ in false } == [0x88, 0x02, 0x03, 0xe8])
            #expect(try daemon.inspect("box")["State"]["Running"].bool == true)
            #expect(try daemon.api("GET", path).status == 400)
            let absent = try UnixConnection(daemon.socket)
            absent.send("GET /containers/nobody/attach/ws?stream=1 HTTP/1.1\r\n" + Self.handshake)
            let answer = try absent.receive { String(decoding: $0, as: UTF8.self).contains("No such container") }
            #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 404"))
        }
    }
}
