import LinuxKernel
import NIOCore

/// Constants of DNS messages: RFC 1035 section 4.1, EDNS: RFC 6891.
///
/// This is a forwarder's part of DNS and no more: it reads one question and the frames of records, never what is in
/// them, and never follows a compression pointer, so that no message can lead it in circles.
enum DNS {
    static let headerLength = 12
    /// What fits into a datagram for a client that says nothing of its buffer, RFC 1035 section 2.3.4.
    static let plainDatagram = 512
    /// Larger datagrams are neither announced to upstream servers nor sent, whatever the client says.
    static let largestDatagram = 4096
    static let largestMessage = 65535

    enum RecordType {
        static let a: UInt16 = 1
        static let ptr: UInt16 = 12
        static let aaaa: UInt16 = 28
        static let opt: UInt16 = 41
        static let any: UInt16 = 255
    }

    enum RecordClass {
        static let internet: UInt16 = 1
        static let any: UInt16 = 255
    }

    enum Flag {
        static let response: UInt16 = 0x8000
        static let operation: UInt16 = 0x7800
        static let truncated: UInt16 = 0x0200
        static let recursionDesired: UInt16 = 0x0100
        static let recursionAvailable: UInt16 = 0x0080
        static let checkingDisabled: UInt16 = 0x0010
    }

    enum Code: UInt8 {
        case noError = 0
        case formatError = 1
        case serverFailure = 2
        /// NXDOMAIN.
        case nameError = 3
        case notImplemented = 4
        case refused = 5
    }

    /// The bytes of a message.
    struct Reader {
        let bytes: UnsafeRawBufferPointer

        func integer16(at offset: Int) -> UInt16? {
            guard offset >= 0, offset + 2 <= bytes.count else { return nil }
            return UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
        }

        /// Where the name at `offset` ends; nil where it has no end, is too long (RFC 1035 section 2.3.4), or points
        /// anywhere but backwards.
        func skipName(at offset: Int) -> Int? {
            var position = offset
            while position < bytes.count, position - offset < 255 {
                let length = bytes[position]
                switch length {
                case 0: return position + 1
                case 1...63: position += 1 + Int(length)
                case 0xC0...:
                    guard let pointer = integer16(at: position),
                        (DNS.headerLength..<offset).contains(Int(pointer & 0x3FFF))
                    else { return nil }
                    return position + 2
                default: return nil
                }
            }
            return nil
        }

        /// A record's frame.
        struct Record {
            /// Where its type is, right after its name.
            var typeOffset: Int
            var type: UInt16
            var end: Int
        }

        func record(at offset: Int) -> Record? {
            guard let name = skipName(at: offset), let type = integer16(at: name),
                let length = integer16(at: name + 8), name + 10 + Int(length) <= bytes.count
            else { return nil }
            return Record(typeOffset: name, type: type, end: name + 10 + Int(length))
        }
    }
}

/// A question that a client asks, and what must be known of the message that brought it.
struct DNSQuery: Equatable, Sendable {
    /// Why a message gets no proper answer.
    enum Fault: Error, Equatable {
        /// Not a query, or too broken to be worth an answer: dropped.
        case ignored
        /// Answered with nothing but a header.
        case refused(DNS.Code)
    }

    /// The EDNS record of a query.
    struct Extension: Equatable, Sendable {
        /// Bytes that the client takes in a datagram.
        var payload: UInt16
        var version: UInt8
        var dnssecOK: Bool
        /// Where in the message the payload stands.
        var payloadOffset: Int
    }

    let id: UInt16
    let flags: UInt16
    let type: UInt16
    let recordClass: UInt16
    /// The name in lower case, labels joined by dots, none at the end. Nil for one that no container can have,
    /// with a dot or a byte beyond ASCII within a label.
    let name: String?
    let labels: Int
    /// The question is `DNS.headerLength ..< questionEnd` of the message.
    let questionEnd: Int
    let edns: Extension?

    /// The most bytes that an answer in a datagram may have.
    var datagramLimit: Int {
        guard let edns else { return DNS.plainDatagram }
        return min(max(Int(edns.payload), DNS.plainDatagram), DNS.largestDatagram)
    }

    init(_ message: UnsafeRawBufferPointer) throws(Fault) {
        let reader = DNS.Reader(bytes: message)
        guard message.count >= DNS.headerLength, let id = reader.integer16(at: 0), let flags = reader.integer16(at: 2),
            flags & DNS.Flag.response == 0
        else { throw .ignored }
        guard flags & DNS.Flag.operation == 0 else { throw .refused(.notImplemented) }
        // RFC 9619: a query has one question.
        guard reader.integer16(at: 4) == 1 else { throw .refused(.formatError) }
        self.id = id
        self.flags = flags

        guard let (name, labels, nameEnd) = Self.name(reader), let type = reader.integer16(at: nameEnd),
            let recordClass = reader.integer16(at: nameEnd + 2)
        else { throw .ignored }
        self.name = name
        self.labels = labels
        self.type = type
        self.recordClass = recordClass
        questionEnd = nameEnd + 4

        var edns: Extension?
        var position = questionEnd
        let others = Int(reader.integer16(at: 6)!) + Int(reader.integer16(at: 8)!)
        let records = others + Int(reader.integer16(at: 10)!)
        for index in 0..<records {
            guard let record = reader.record(at: position) else { throw .ignored }
            if record.type == DNS.RecordType.opt {
                // One, among the additional records, of the root: RFC 6891 section 6.1.1.
                guard edns == nil, index >= others, message[position] == 0 else { throw .ignored }
                edns = Extension(
                    payload: reader.integer16(at: record.typeOffset + 2)!, version: message[record.typeOffset + 5],
                    dnssecOK: message[record.typeOffset + 6] & 0x80 != 0, payloadOffset: record.typeOffset + 2)
            }
            position = record.end
        }
        guard position == message.count else { throw .ignored }
        self.edns = edns
    }

    /// The question's name, how many labels it has, and where it ends. No server or client compresses it.
    private static func name(_ reader: DNS.Reader) -> (name: String?, labels: Int, end: Int)? {
        let bytes = reader.bytes
        var position = DNS.headerLength
        var labels = 0
        var isPlain = true
        while true {
            guard position < bytes.count, position - DNS.headerLength < 255 else { return nil }
            let length = Int(bytes[position])
            if length == 0 { break }
            guard length < 64, position + length < bytes.count else { return nil }
            for index in position + 1...position + length where bytes[index] == UInt8(ascii: ".") || bytes[index] > 0x7F
            {
                isPlain = false
            }
            labels += 1
            position += 1 + length
        }
        guard isPlain else { return (nil, labels, position + 1) }
        // From the first label's text to the last one's, with lengths turned into dots.
        let start = DNS.headerLength + 1
        let count = max(0, position - start)
        let name = String(unsafeUninitializedCapacity: count) { room in
            var dot = DNS.headerLength
            for index in 0..<count {
                let byte = bytes[start + index]
                if start + index == dot + 1 + Int(bytes[dot]) {
                    dot = start + index
                    room[index] = UInt8(ascii: ".")
                } else {
                    room[index] = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
                }
            }
            return count
        }
        return (name, labels, position + 1)
    }

    /// The address that a reverse look-up (`4.3.2.1.in-addr.arpa`, or nibbles under `ip6.arpa`) is about.
    var reversedAddress: IPAddress? {
        guard type == DNS.RecordType.ptr || type == DNS.RecordType.any, let name else { return nil }
        let labels = name.utf8.split(separator: UInt8(ascii: "."))
        guard labels.count > 2, labels.last!.elementsEqual("arpa".utf8) else { return nil }
        let zone = labels[labels.count - 2]
        let digits = labels.dropLast(2).reversed()
        if zone.elementsEqual("in-addr".utf8), digits.count == 4 {
            let bytes = digits.compactMap { digits in
                digits.allSatisfy { (0x30...0x39).contains($0) } ? UInt8(String(Substring(digits))) : nil
            }
            return bytes.count == 4 ? IPAddress(bytes: bytes) : nil
        }
        guard zone.elementsEqual("ip6".utf8), digits.count == 32 else { return nil }
        let nibbles = digits.compactMap { $0.count == 1 ? UInt8(String(Substring($0)), radix: 16) : nil }
        guard nibbles.count == 32 else { return nil }
        return IPAddress(bytes: stride(from: 0, to: 32, by: 2).map { nibbles[$0] << 4 | nibbles[$0 + 1] })
    }
}

/// Messages that we write.
enum DNSAnswer {
    enum Record: Equatable {
        /// A or AAAA.
        case address(IPAddress)
        case pointer(String)
    }

    /// Seconds for which a client may keep what it was told of a container. A container that is started again may
    /// have another address; Docker's 600 makes programs that honour it (nginx's resolver) talk to nobody for minutes.
    static let timeToLive: UInt32 = 5

    /// Bytes of an EDNS record without options.
    private static let extensionLength = 11

    /// Answers `query`, which `message` brought; records that don't fit into `limit` bytes are left out and TC says so.
    static func make(
        _ query: DNSQuery, _ message: ByteBuffer, _ code: DNS.Code, _ records: [Record] = [], limit: Int
    ) -> ByteBuffer {
        // EDNS versions above 0 get BADVERS (16), whose upper bits are in the EDNS record.
        let badVersion = (query.edns?.version ?? 0) > 0
        var reply = ByteBufferAllocator().buffer(capacity: min(limit, query.questionEnd + 64 + records.count * 28))
        var flags =
            DNS.Flag.response | DNS.Flag.recursionAvailable
            | query.flags & (DNS.Flag.recursionDesired | DNS.Flag.checkingDisabled)
        flags |= UInt16(badVersion ? DNS.Code.noError.rawValue : code.rawValue)
        reply.writeMultipleIntegers(query.id, flags, UInt16(1), UInt16(0), UInt16(0), UInt16(query.edns == nil ? 0 : 1))
        reply.writeImmutableBuffer(
            message.getSlice(
                at: message.readerIndex + DNS.headerLength, length: query.questionEnd - DNS.headerLength)!)

        let room = limit - (query.edns == nil ? 0 : extensionLength)
        var written: UInt16 = 0
        for record in badVersion ? [] : records {
            let start = reply.writerIndex
            let isWritten = reply.write(record)
            if isWritten, reply.writerIndex <= room {
                written += 1
                continue
            }
            reply.moveWriterIndex(to: start)
            guard isWritten else { continue }
            flags |= DNS.Flag.truncated
            reply.setInteger(flags, at: 2)
            break
        }
        reply.setInteger(written, at: 6)
        if let edns = query.edns { reply.writeExtension(edns, extendedCode: badVersion ? 1 : 0) }
        return reply
    }

    /// An upstream server's answer without what exceeds `limit` bytes: as many whole answer records as there is room
    /// for, and TC. For clients that never try again over TCP, some addresses are better than none.
    static func cut(_ answer: ByteBuffer, _ query: DNSQuery, limit: Int) -> ByteBuffer {
        let room = limit - (query.edns == nil ? 0 : extensionLength)
        var end = query.questionEnd
        var kept: UInt16 = 0
        answer.withUnsafeReadableBytes { bytes in
            let reader = DNS.Reader(bytes: bytes)
            while kept < reader.integer16(at: 6) ?? 0, let record = reader.record(at: end), record.end <= room {
                end = record.end
                kept += 1
            }
        }
        var reply = ByteBuffer(bytes: answer.readableBytesView.prefix(end))
        let flags = reply.getInteger(at: 2, as: UInt16.self) ?? 0
        reply.setInteger(flags | DNS.Flag.truncated, at: 2)
        reply.setInteger(kept, at: 6)
        reply.setInteger(UInt16(0), at: 8)
        reply.setInteger(UInt16(query.edns == nil ? 0 : 1), at: 10)
        if let edns = query.edns { reply.writeExtension(edns, extendedCode: 0) }
        return reply
    }

    /// A header that says no to a message whose question could not be read; the message has one.
    static func refusal(_ message: ByteBuffer, _ code: DNS.Code) -> ByteBuffer {
        let id = message.getInteger(at: message.readerIndex, as: UInt16.self) ?? 0
        let flags = message.getInteger(at: message.readerIndex + 2, as: UInt16.self) ?? 0
        var reply = ByteBufferAllocator().buffer(capacity: DNS.headerLength)
        reply.writeMultipleIntegers(
            id, DNS.Flag.response | flags & (DNS.Flag.operation | DNS.Flag.recursionDesired) | UInt16(code.rawValue),
            UInt64(0))
        return reply
    }
}

extension ByteBuffer {
    /// Writes an EDNS record that answers `edns`.
    /// - Parameter extendedCode: the upper eight bits of the response code.
    fileprivate mutating func writeExtension(_ edns: DNSQuery.Extension, extendedCode: UInt8) {
        writeMultipleIntegers(
            UInt8(0), DNS.RecordType.opt, UInt16(DNS.largestDatagram), extendedCode, UInt8(0),
            UInt16(edns.dnssecOK ? 0x8000 : 0), UInt16(0))
    }

    /// Writes a record whose name is the question's; false, with rubbish after the writer index's old place, for a
    /// name that DNS can't carry.
    fileprivate mutating func write(_ record: DNSAnswer.Record) -> Bool {
        // A pointer to the question's name, RFC 1035 section 4.1.4.
        let owner = UInt16(0xC000) | UInt16(DNS.headerLength)
        switch record {
        case .address(let address):
            writeMultipleIntegers(
                owner, address.isIPv6 ? DNS.RecordType.aaaa : DNS.RecordType.a, DNS.RecordClass.internet,
                DNSAnswer.timeToLive, UInt16(address.isIPv6 ? 16 : 4))
            if address.isIPv6 {
                writeMultipleIntegers(
                    UInt64(truncatingIfNeeded: address.value >> 64), UInt64(truncatingIfNeeded: address.value))
            } else {
                writeInteger(UInt32(truncatingIfNeeded: address.value))
            }
        case .pointer(let name):
            writeMultipleIntegers(owner, DNS.RecordType.ptr, DNS.RecordClass.internet, DNSAnswer.timeToLive, UInt16(0))
            let start = writerIndex
            for label in name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
                guard (1...63).contains(label.count) else { return false }
                writeInteger(UInt8(label.count))
                writeBytes(label)
            }
            writeInteger(UInt8(0))
            guard writerIndex - start <= 255 else { return false }
            setInteger(UInt16(writerIndex - start), at: start - 2)
        }
        return true
    }
}

/// What an upstream server said, as far as a forwarder looks at it.
enum DNSResponse: Equatable {
    /// Not an answer to what was asked, or malformed: as if it had not come.
    case foreign
    case answer(code: UInt8, truncated: Bool)

    /// Looks at a message that came from a server that was asked `question` (the bytes) under `id`.
    init(_ message: UnsafeRawBufferPointer, id: UInt16, question: UnsafeRawBufferPointer) {
        self = Self.examine(message, id, question) ?? .foreign
    }

    private static func examine(
        _ message: UnsafeRawBufferPointer, _ id: UInt16, _ question: UnsafeRawBufferPointer
    ) -> DNSResponse? {
        let reader = DNS.Reader(bytes: message)
        guard message.count >= DNS.headerLength, reader.integer16(at: 0) == id, let flags = reader.integer16(at: 2),
            flags & (DNS.Flag.response | DNS.Flag.operation) == DNS.Flag.response
        else { return nil }
        let code = UInt8(flags & 0xF)
        let questions = reader.integer16(at: 4)!
        // Servers that can't read a query answer without its question.
        if questions == 0, code != DNS.Code.noError.rawValue, code != DNS.Code.nameError.rawValue {
            return .answer(code: code, truncated: false)
        }
        let end = DNS.headerLength + question.count
        guard questions == 1, message.count >= end else { return nil }
        for (ours, theirs) in zip(question, message[DNS.headerLength..<end]) where !equalIgnoringCase(ours, theirs) {
            return nil
        }
        // What was cut off may end anywhere.
        if flags & DNS.Flag.truncated != 0 { return .answer(code: code, truncated: true) }
        var position = end
        for _ in 0..<Int(reader.integer16(at: 6)!) + Int(reader.integer16(at: 8)!) + Int(reader.integer16(at: 10)!) {
            guard let record = reader.record(at: position) else { return nil }
            position = record.end
        }
        return .answer(code: code, truncated: false)
    }

    /// Length bytes are below 64 and no letters.
    private static func equalIgnoringCase(_ left: UInt8, _ right: UInt8) -> Bool {
        if left == right { return true }
        let folded = left | 0x20
        return folded == right | 0x20 && (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(folded)
    }
}
