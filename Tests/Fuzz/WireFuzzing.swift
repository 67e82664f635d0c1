import NIOCore
import OCI

@testable import Commands
@testable import LinuxKernel
@testable import Networking

/// Small formats: messages of the network and the kernel, names, the command line's templates and JSON.
enum WireFuzzing {
    /// A query as the resolver gets it from a container, and an answer as it gets it from a server.
    static func dns(_ input: UnsafeRawBufferPointer) throws {
        let (kind, message) = input.variant
        if kind & 1 == 1 {
            guard message.count > 20 else { return }
            let question = UnsafeRawBufferPointer(rebasing: message[12..<min(message.count, 12 + kind / 2)])
            _ = DNSResponse(message, id: UInt16(message[0]) << 8 | UInt16(message[1]), question: question)
            return
        }
        let buffer = ByteBuffer(bytes: message)
        let query: DNSQuery
        do throws(DNSQuery.Fault) {
            query = try DNSQuery(message)
        } catch {
            if case .refused(let code) = error { _ = DNSAnswer.refusal(buffer, code) }
            return
        }
        let records: [DNSAnswer.Record] = [
            .address(IPAddress("10.0.0.1")!), .address(IPAddress("fd00::1")!), .pointer("name.of.host"),
            .pointer(query.name ?? "none"),
        ]
        for limit in [512, query.datagramLimit, 65535] {
            let answer = DNSAnswer.make(query, buffer, .noError, records, limit: limit)
            require(answer.readableBytes <= max(limit, query.questionEnd + 11), "an answer keeps to its limit")
            answer.withUnsafeReadableBytes { bytes in
                let question = UnsafeRawBufferPointer(rebasing: message[12..<query.questionEnd])
                require(DNSResponse(bytes, id: query.id, question: question) != .foreign, "our answer can be read")
            }
            _ = DNSAnswer.cut(ByteBuffer(bytes: message), query, limit: limit)
        }
    }

    /// What a daemon answers the command line: the same however its bytes come.
    static func answer(_ input: UnsafeRawBufferPointer) throws {
        let (kind, bytes) = input.variant
        func parts(_ size: Int) -> (text: String, failed: Bool) {
            let parser = AnswerParser()
            parser.answersHead = kind & 1 == 1
            var text = ""
            var failed = false
            do {
                for start in stride(from: 0, to: bytes.count, by: size) {
                    let piece = Array(bytes[start..<min(start + size, bytes.count)])
                    try piece.withUnsafeBytes { try parser.feed($0) }
                }
                if kind & 2 == 2 { try parser.finish() }
            } catch {
                failed = true
            }
            while let part = parser.next() {
                switch part {
                case .head(let head, let isLast): text += "\(head)\(isLast)"
                case .body(let bytes): text += bytes.map { String($0, radix: 16) + " " }.joined()
                case .end: text += "|"
                }
            }
            return (text + "\(parser.afterSwitch)", failed)
        }
        let whole = parts(max(1, bytes.count))
        let pieces = parts(1 + kind >> 2)
        require(whole.failed == pieces.failed, "an answer is refused whole or in pieces")
        require(whole.failed || whole.text == pieces.text, "an answer's parts don't depend on how it comes")
    }

    static func netlink(_ input: UnsafeRawBufferPointer) throws {
        for reply in NetlinkReply.split(Array(input)[...]) {
            _ = Link(reply)
            _ = InterfaceAddress(reply)
            _ = Route(reply)
            for (_, value) in reply.attributes(after: 16) {
                for _ in NetlinkAttributes(bytes: value) {}
            }
        }
    }

    static func reference(_ input: UnsafeRawBufferPointer) throws {
        let (kind, rest) = input.variant
        let text = String(decoding: rest, as: UTF8.self)
        switch kind % 4 {
        case 0:
            let reference = try ImageReference(parsing: text)
            try require(
                try ImageReference(parsing: reference.description) == reference, "a reference's text is the same one")
            try require(try ImageReference(parsing: reference.familiar) == reference, "its familiar text too")
            require(!reference.path.split(separator: "/").contains(".."), "no reference leads up")
        case 1: _ = try Digest(parsing: text)
        case 2: _ = ResolvConf(parsing: text).forContainer(.embeddedResolver, .init())
        default:
            if let address = IPAddress(text) {
                require(IPAddress("\(address)") == address, "an address's text is the same")
            }
            if let network = IPNetwork(text) {
                require(IPNetwork("\(network)") == network, "a network's text is the same")
            }
        }
    }

    static func template(_ input: UnsafeRawBufferPointer) throws {
        let template = try Template(String(decoding: input, as: UTF8.self))
        _ = template.fieldNames
        let value = try OrderedJSON(
            parsing: Array(#"{"ID":"abc","Names":["a","b"],"N":12,"F":1.5,"Null":null,"Map":{"x":{"y":true}}}"#.utf8))
        _ = try template.execute(value)
    }

    static func orderedJSON(_ input: UnsafeRawBufferPointer) throws {
        let value = try OrderedJSON(parsing: input)
        let text = value.text(indentation: "  ")
        try require(
            try OrderedJSON(parsing: Array(text.utf8)).text(indentation: "  ") == text,
            "JSON is the same after it was written and read")
    }
}
