import LinuxKernel
import NIOCore
import Testing

@testable import Networking

/// What the codec makes of one message.
private func parse(_ bytes: [UInt8]) -> Result<DNSQuery, DNSQuery.Fault> {
    bytes.withUnsafeBytes { bytes in Result { () throws(DNSQuery.Fault) in try DNSQuery(bytes) } }
}

private func make(
    _ query: [UInt8], _ code: DNS.Code = .noError, _ records: [DNSAnswer.Record] = [], limit: Int = 512
) throws -> Decoded {
    let reply = DNSAnswer.make(try parse(query).get(), ByteBuffer(bytes: query), code, records, limit: limit)
    #expect(reply.readableBytes <= limit)
    return try Decoded(Array(reply.readableBytesView))
}

private func inspect(_ message: [UInt8], id: UInt16, question: [UInt8]) -> DNSResponse {
    message.withUnsafeBytes { message in
        question.withUnsafeBytes { DNSResponse(message, id: id, question: $0) }
    }
}

@Suite struct DNSQueryTests {
    @Test func readsAQuestion() throws {
        let query = try parse(Wire.query("Web.Front-End.example", 1, id: 0xBEEF)).get()
        #expect(query.id == 0xBEEF)
        #expect(query.name == "web.front-end.example")
        #expect(query.labels == 3)
        #expect(query.type == 1 && query.recordClass == 1)
        #expect(query.edns == nil && query.datagramLimit == 512)
        #expect(query.questionEnd == 12 + 23 + 4)
    }

    @Test func readsTheRootAndNamesOfAllLengths() throws {
        #expect(try parse(Wire.query("", 2)).get().name == "")
        #expect(try parse(Wire.query("a", 1)).get().name == "a")
        let longest = (0..<4).map { String(repeating: "a\($0)", count: 31) }.joined(separator: ".")
        #expect(try parse(Wire.query(longest, 1)).get().name == longest)
        // 63 + 63 + 63 + 61 with their lengths and the end are 255 bytes; one more is too many.
        let full = [63, 63, 63, 61].map { String(repeating: "x", count: $0) }.joined(separator: ".")
        #expect(try parse(Wire.query(full, 1)).get().name == full)
        #expect(parse(Wire.query(full + "x", 1)) == .failure(.ignored))
    }

    @Test func knowsNoNameWithADotOrAByteBeyondASCIIInALabel() throws {
        let odd = Wire.header(1, 0x0100, [1, 0, 0, 0]) + [3] + Array("a.b".utf8) + [0, 0, 1, 0, 1]
        #expect(try parse(odd).get().name == nil)
        let high = Wire.header(1, 0x0100, [1, 0, 0, 0]) + [2, 0xC3, 0xA4, 0, 0, 1, 0, 1]
        #expect(try parse(high).get().name == nil)
    }

    @Test func readsEDNS() throws {
        let message = Wire.query("a.b", 28, edns: 1232)
        let edns = try #require(try parse(message).get().edns)
        #expect(edns.payload == 1232 && edns.version == 0 && !edns.dnssecOK)
        #expect(Array(message[edns.payloadOffset..<edns.payloadOffset + 2]) == Wire.bytes16(1232))
        #expect(try parse(Wire.query("a", 1, edns: 100)).get().datagramLimit == 512)
        #expect(try parse(Wire.query("a", 1, edns: 1400)).get().datagramLimit == 1400)
        #expect(try parse(Wire.query("a", 1, edns: 65000)).get().datagramLimit == 4096)
    }

    static let question = Wire.question("web", 1)
    /// Messages that deserve no answer.
    static let malformed: [(String, [UInt8])] = [
        ("nothing", []),
        ("half a header", Array(Wire.query("web", 1).prefix(11))),
        ("a response", Wire.header(1, 0x8180, [1, 0, 0, 0]) + question),
        ("a name that points at itself", Wire.header(1, 0x0100, [1, 0, 0, 0]) + [0xC0, 12, 0, 1, 0, 1]),
        ("a name that points into the header", Wire.header(1, 0x0100, [1, 0, 0, 0]) + [0xC0, 2, 0, 1, 0, 1]),
        ("a label and a pointer back to it", Wire.header(1, 0x0100, [1, 0, 0, 0]) + [1, 97, 0xC0, 12, 0, 1, 0, 1]),
        (
            "a label of 64 bytes",
            Wire.header(1, 0x0100, [1, 0, 0, 0]) + [64] + [UInt8](repeating: 97, count: 64) + [0, 0, 1, 0, 1]
        ),
        ("a label type of its own", Wire.header(1, 0x0100, [1, 0, 0, 0]) + [0x80, 97, 0, 0, 1, 0, 1]),
        ("bytes after its end", Wire.query("web", 1) + [0]),
        ("records that aren't there", Wire.header(1, 0x0100, [1, 0, 0, 65535]) + question),
        (
            "65535 records in one byte each",
            Wire.header(1, 0x0100, [1, 0xFFFF, 0xFFFF, 0xFFFF]) + question + [UInt8](repeating: 0, count: 1000)
        ),
        ("two EDNS records", Wire.header(1, 0x0100, [1, 0, 0, 2]) + question + Wire.edns(512) + Wire.edns(512)),
        ("EDNS among the answers", Wire.header(1, 0x0100, [1, 1, 0, 0]) + question + Wire.edns(512)),
        ("EDNS of a name", Wire.header(1, 0x0100, [1, 0, 0, 1]) + question + [1, 97] + Wire.edns(512)),
        (
            "EDNS longer than the message",
            Wire.header(1, 0x0100, [1, 0, 0, 1]) + question + Wire.edns(512).dropLast() + [9]
        ),
        (
            "a record whose name points forward",
            Wire.header(1, 0x0100, [1, 0, 0, 1]) + question + [0xC0, 21 + 2] + Wire.edns(512).dropFirst()
        ),
        (
            "a record whose name points at itself",
            Wire.header(1, 0x0100, [1, 0, 0, 1]) + question + [0xC0, 21] + Wire.edns(512).dropFirst()
        ),
    ]

    @Test(arguments: malformed) func drops(_ what: String, _ message: [UInt8]) {
        #expect(parse(message) == .failure(.ignored), "\(what)")
    }

    @Test func dropsEveryPartOfAMessage() {
        let whole = Wire.query("web.frontend", 1, edns: 1232)
        for length in 0..<whole.count {
            #expect(parse(Array(whole.prefix(length))) == .failure(.ignored), "\(length) bytes")
        }
        #expect(throws: Never.self) { try parse(whole).get() }
    }

    @Test func refusesWhatIsNoQueryOfOneQuestion() {
        #expect(parse(Wire.header(1, 0x2800, [1, 0, 0, 0]) + Self.question) == .failure(.refused(.notImplemented)))
        #expect(parse(Wire.header(1, 0x0100, [0, 0, 0, 0])) == .failure(.refused(.formatError)))
        #expect(
            parse(Wire.header(1, 0x0100, [2, 0, 0, 0]) + Self.question + Self.question)
                == .failure(.refused(.formatError)))
        let refusal = Array(
            DNSAnswer.refusal(ByteBuffer(bytes: Wire.header(7, 0x2900, [1, 0, 0, 0])), .notImplemented)
                .readableBytesView)
        #expect(refusal == Wire.header(7, 0xA904, [0, 0, 0, 0]))
    }

    @Test func survivesWhateverComes() throws {
        // A fixed sequence, so that a failure comes back.
        var state: UInt64 = 42
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let seeds =
            [Wire.query("web.frontend", 1, edns: 1232), Wire.query("4.3.2.1.in-addr.arpa", 12)]
            + Self.malformed.map(\.1)
        var understood = 0
        for _ in 0..<30_000 {
            var message = seeds[random(seeds.count)]
            for _ in 0..<1 + random(4) where !message.isEmpty { message[random(message.count)] = UInt8(random(256)) }
            if random(4) == 0 { message = Array(message.prefix(random(message.count + 1))) }
            _ = inspect(message, id: 0x1234, question: Self.question)
            guard let query = try? parse(message).get() else { continue }
            understood += 1
            _ = query.reversedAddress
            let reply = DNSAnswer.make(
                query, ByteBuffer(bytes: message), .noError, [.address(.v4(10, 0, 0, 1)), .pointer("web.frontend")],
                limit: 512)
            #expect(throws: Never.self) { try Decoded(Array(reply.readableBytesView)) }
        }
        #expect(understood > 1000)
    }

    @Test func readsReversedAddresses() throws {
        func address(_ name: String, _ type: Int = 12) throws -> String? {
            try parse(Wire.query(name, type)).get().reversedAddress?.description
        }
        #expect(try address("4.3.2.1.in-addr.arpa") == "1.2.3.4")
        #expect(try address("4.3.2.1.IN-ADDR.ARPA", 255) == "1.2.3.4")
        let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
        #expect(try address(nibbles + ".ip6.arpa") == "2001:db8::1")
        for wrong in [
            "3.2.1.in-addr.arpa", "5.4.3.2.1.in-addr.arpa", "256.2.3.4.in-addr.arpa", "+1.2.3.4.in-addr.arpa",
            "x.2.3.4.in-addr.arpa", "4.3.2.1.in-addr.arp", "in-addr.arpa", "arpa", "a\(nibbles.dropFirst(2)).ip6.arpa",
            "10\(nibbles.dropFirst(1)).ip6.arpa", "g\(nibbles.dropFirst(1)).ip6.arpa",
        ] {
            #expect(try address(wrong) == nil, "\(wrong)")
        }
        #expect(try address("4.3.2.1.in-addr.arpa", 1) == nil)
    }
}

@Suite struct DNSAnswerTests {
    @Test func keepsIDAndSpelling() throws {
        let query = Wire.query("WeB", 1, id: 0xCAFE)
        let answer = try make(query, .noError, [.address(.v4(172, 18, 0, 2))])
        #expect(answer.id == 0xCAFE && answer.flags == 0x8180)
        #expect(answer.name == "WeB" && answer.answers == [.init(name: "WeB", type: 1, data: [172, 18, 0, 2])])
        #expect(answer.additional.isEmpty)
    }

    @Test func writesIPv6AndPointers() throws {
        let address = try #require(IPAddress("fd00::1:2"))
        #expect(try make(Wire.query("web", 28), .noError, [.address(address)]).addresses == ["fd00::1:2"])
        let pointer = try make(Wire.query("4.3.2.1.in-addr.arpa", 12), .noError, [.pointer("Web_1.net")])
        #expect(pointer.answers.map(\.target) == ["Web_1.net"])
    }

    @Test func leavesOutNamesThatDNSCantCarry() throws {
        let query = Wire.query("4.3.2.1.in-addr.arpa", 12)
        for name in [
            String(repeating: "x", count: 64), "a..b", "", (0..<30).map { "label-\($0)-x" }.joined(separator: "."),
        ] {
            let answer = try make(query, .noError, [.pointer(name), .pointer("web")], limit: 4096)
            #expect(answer.answers.map(\.target) == ["web"] && !answer.isTruncated, "\(name)")
        }
    }

    @Test func answersEDNSWithEDNS() throws {
        let answer = try make(Wire.query("web", 1, edns: 1232), .nameError)
        #expect(answer.code == 3)
        #expect(answer.additional.map(\.type) == [41])
        // Versions that nobody has defined: BADVERS, RFC 6891 section 6.1.3.
        let future = Wire.header(1, 0x0100, [1, 0, 0, 1]) + Wire.question("web", 1) + Wire.edns(1232, version: 1)
        let reply = DNSAnswer.make(try parse(future).get(), ByteBuffer(bytes: future), .noError, limit: 512)
        let bytes = Array(reply.readableBytesView)
        #expect(bytes[3] & 0xF == 0)
        #expect(Array(bytes.suffix(6)) == [1, 0, 0, 0, 0, 0])
    }

    @Test func truncatesWhereTheClientHasNoRoom() throws {
        let records = (1...200).map { DNSAnswer.Record.address(.v4(10, 0, 0, UInt8($0))) }
        let plain = try make(Wire.query("web", 1), .noError, records)
        // 512 bytes less header and question, 16 each.
        #expect(plain.isTruncated && plain.addresses.count == (512 - 12 - 9) / 16)
        let extended = try make(Wire.query("web", 1, edns: 1232), .noError, records, limit: 1232)
        #expect(extended.isTruncated && extended.addresses.count == (1232 - 12 - 9 - 11) / 16)
        #expect(extended.additional.map(\.type) == [41])
        let stream = try make(Wire.query("web", 1), .noError, records, limit: 65535)
        #expect(!stream.isTruncated && stream.addresses.count == 200)
    }

    @Test func cutsAnUpstreamAnswerAtARecord() throws {
        let query = Wire.query("web.example", 1)
        let long = Wire.answer(query, (1...100).map { [10, 0, 0, UInt8($0)] })
        let cut = DNSAnswer.cut(ByteBuffer(bytes: long), try parse(query).get(), limit: 512)
        #expect(cut.readableBytes <= 512)
        let decoded = try Decoded(Array(cut.readableBytesView))
        #expect(decoded.isTruncated && decoded.addresses.count == (512 - Wire.questionEnd(query)) / 16)
        #expect(decoded.addresses.first == "10.0.0.1")
    }
}

@Suite struct DNSResponseTests {
    let query = Wire.query("web.example", 1, id: 0x1234)
    var question: [UInt8] { Array(query[12...]) }

    @Test func takesTheAnswerToItsQuestion() {
        #expect(
            inspect(Wire.answer(query, [[1, 2, 3, 4]]), id: 0x1234, question: question)
                == .answer(code: 0, truncated: false))
        #expect(
            inspect(Wire.answer(query, code: 3), id: 0x1234, question: question) == .answer(code: 3, truncated: false))
        #expect(
            inspect(Wire.answer(query, extraFlags: 0x200), id: 0x1234, question: question)
                == .answer(code: 0, truncated: true))
        let shouting = Wire.query("WEB.EXAMPLE", 1, id: 0x1234)
        #expect(inspect(Wire.answer(shouting), id: 0x1234, question: question) == .answer(code: 0, truncated: false))
        // A server that could not read the query has no question to repeat.
        #expect(
            inspect(Wire.header(0x1234, 0x8001, [0, 0, 0, 0]), id: 0x1234, question: question)
                == .answer(code: 1, truncated: false))
    }

    @Test func ignoresWhatIsNotTheAnswer() {
        let foreign: [(String, [UInt8])] = [
            ("another id", Wire.answer(query, id: 0x1235)),
            ("another name", Wire.answer(Wire.query("wec.example", 1), [[6, 6, 6, 6]])),
            ("a longer name", Wire.answer(Wire.query("web.example.org", 1), [[6, 6, 6, 6]])),
            ("another type", Wire.answer(Wire.query("web.example", 28))),
            ("a query", query),
            ("no question", Wire.header(0x1234, 0x8180, [0, 0, 0, 0])),
            ("no question and NXDOMAIN", Wire.header(0x1234, 0x8183, [0, 0, 0, 0])),
            ("another operation", Wire.header(0x1234, 0xA980, [1, 0, 0, 0]) + question),
            ("a record cut off", Wire.answer(query, [[1, 2, 3, 4]]).dropLast()),
            (
                "a record too many",
                Wire.header(0x1234, 0x8180, [1, 2, 0, 0]) + Wire.answer(query, [[1, 2, 3, 4]]).dropFirst(12)
            ),
            (
                "a record that points at itself",
                Wire.header(0x1234, 0x8180, [1, 1, 0, 0]) + question + [0xC0, 29, 0, 1, 0, 1, 0, 0, 0, 9, 0, 0]
            ),
            ("a header", Array(Wire.answer(query).prefix(12))),
        ].map { ($0.0, Array($0.1)) }
        for (what, message) in foreign {
            #expect(inspect(message, id: 0x1234, question: question) == .foreign, "\(what)")
        }
        // A letter's neighbour 0x20 away that is no letter: '@' and '`'.
        let at = Wire.query("a@", 1, id: 0x1234)
        #expect(inspect(Wire.answer(Wire.query("a`", 1)), id: 0x1234, question: Array(at[12...])) == .foreign)
    }
}
