import NIOHTTP1
import Testing

@testable import Commands

@Suite struct AnswerParserTests {
    /// What a parser says of `text`, fed in pieces of `size` bytes; then the connection ends where `ends` says so.
    private func parts(
        _ text: String, size: Int, answersHead: Bool = false, ends: Bool = false
    ) throws -> (parts: [String], rest: String) {
        let parser = AnswerParser()
        parser.answersHead = answersHead
        var parts: [String] = []
        func take() {
            while let part = parser.next() {
                switch part {
                case .head(let head, let isLast):
                    let fields = head.headers.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
                    parts.append("\(head.status.code) \(fields)\(isLast ? " last" : "")")
                case .body(let bytes):
                    let text = String(decoding: bytes, as: UTF8.self)
                    if parts.last?.hasPrefix("<") ?? false {
                        parts[parts.count - 1] += text
                    } else {
                        parts.append("<" + text)
                    }
                case .end: parts.append("end")
                }
            }
        }
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: size) {
            try bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { try parser.feed($0) }
            take()
        }
        if ends { try parser.finish() }
        take()
        return (parts, String(decoding: parser.afterSwitch, as: UTF8.self))
    }

    @Test(arguments: [1, 2, 7, 1000])
    func answersComeWholeHoweverTheirBytesCome(size: Int) throws {
        let text =
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Empty:\r\nX-Two: a b\r\n\r\nhello"
            + "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
            + "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n"
            + "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}"
        let (parts, rest) = try parts(text, size: size)
        #expect(
            parts == [
                "200 Content-Length=5,X-Empty=,X-Two=a b", "<hello", "end", "204 Content-Length=0", "end",
                "200 Transfer-Encoding=chunked", "<abcde", "end", "409 Content-Length=2", "<{}", "end",
            ])
        #expect(rest.isEmpty)
    }

    @Test(arguments: [1, 1000])
    func whatFollowsASwitchIsNotHTTP(size: Int) throws {
        let head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        let (parts, rest) = try parts(head + "HTTP/1.1 200 OK\r\n\r\n\u{0}raw", size: size)
        #expect(parts == ["101 Connection=Upgrade,Upgrade=tcp", "end"])
        #expect(rest == "HTTP/1.1 200 OK\r\n\r\n\u{0}raw")
    }

    /// The daemon may announce its answer first, and refuse to switch.
    @Test func whatIsAnnouncedIsNotTheAnswer() throws {
        let (parts, _) = try parts(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", size: 3)
        #expect(parts == ["100 ", "end", "404 Content-Length=1", "<x", "end"])
    }

    @Test func theAnswerToHEADHasNoBody() throws {
        let (parts, _) = try parts(
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", size: 5,
            answersHead: true)
        #expect(parts == ["200 Content-Length=100", "end", "200 Content-Length=1", "<x", "end"])
    }

    @Test func aBodyWithoutALengthEndsWithTheConnection() throws {
        let (parts, _) = try parts("HTTP/1.1 200 OK\r\n\r\nuntil the end", size: 4, ends: true)
        #expect(parts == ["200  last", "<until the end", "end"])
    }

    @Test func whatIsCutOrNoHTTPIsRefused() {
        #expect(throws: AnswerParser.Fault.cut) {
            try parts("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", size: 9, ends: true)
        }
        #expect(throws: AnswerParser.Fault.self) { try parts("220 mail.example ESMTP\r\n", size: 100) }
        #expect(throws: AnswerParser.Fault.self) {
            try parts("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", size: 100)
        }
        let long =
            "HTTP/1.1 200 OK\r\n"
            + String(repeating: "X-Field: \(String(repeating: "v", count: 1000))\r\n", count: 1100)
        #expect(throws: AnswerParser.Fault.self) { try parts(long, size: 4096) }
    }
}
