import CNIOLLHTTP
import NIOHTTP1

/// Reads the answers that come over one connection (RFC 9112), as their bytes come.
///
/// This is the parser that is inside NIO (llhttp). NIO's own decoder needs a channel and its pipeline around it, whose
/// making costs a command that starts afresh each time as much as all else that it does.
final class AnswerParser {
    enum Part {
        /// `isLast`: the connection takes no further request.
        case head(HTTPResponseHead, isLast: Bool)
        case body([UInt8])
        /// The end of an answer.
        case end
    }

    /// What a daemon's answer is refused for.
    enum Fault: Error, Equatable {
        /// The connection ended in the middle of an answer.
        case cut
        /// The parser's word for what is wrong.
        case malformed(String)
    }

    /// Bytes that the lines of one answer's head may have: a broken daemon must not fill the memory.
    private static let maximumHead = 1 << 20

    private let parser: UnsafeMutablePointer<llhttp_t>
    private var parts: [Part] = []
    private var taken = 0
    private var name: [UInt8] = []
    private var value: [UInt8] = []
    private var headers: [(String, String)] = []
    private var headSize = 0
    /// Whether the next answer is one to `HEAD`, which has no body whatever its head says.
    var answersHead = false
    /// What came after an answer that switched protocols.
    private(set) var afterSwitch: [UInt8] = []
    private var hasSwitched = false

    init() {
        parser = .allocate(capacity: 1)
        c_nio_llhttp_init(parser, HTTP_RESPONSE, Self.settings)
        parser.pointee.data = Unmanaged.passUnretained(self).toOpaque()
    }

    deinit { parser.deallocate() }

    /// The next part of what has been fed, nil where more must come first.
    func next() -> Part? {
        if taken == parts.count { return nil }
        defer {
            taken += 1
            if taken == parts.count {
                parts.removeAll(keepingCapacity: true)
                taken = 0
            }
        }
        return parts[taken]
    }

    /// Takes what has come over the connection.
    func feed(_ bytes: UnsafeRawBufferPointer) throws(Fault) {
        guard let start = bytes.baseAddress, !hasSwitched else {
            afterSwitch += bytes
            return
        }
        let code = c_nio_llhttp_execute(parser, start.assumingMemoryBound(to: CChar.self), bytes.count)
        if code == HPE_PAUSED_UPGRADE {
            hasSwitched = true
            let read = UnsafeRawPointer(c_nio_llhttp_get_error_pos(parser)) - start
            afterSwitch += UnsafeRawBufferPointer(rebasing: bytes[read...])
        } else if code != HPE_OK {
            throw fault(code)
        }
    }

    /// Says that the connection has ended, which is the end of a body without a length.
    func finish() throws(Fault) {
        let code = c_nio_llhttp_finish(parser)
        if code != HPE_OK { throw fault(code) }
    }

    private func fault(_ code: llhttp_errno_t) -> Fault {
        code == HPE_INVALID_EOF_STATE ? .cut : .malformed(String(cString: c_nio_llhttp_errno_name(code)))
    }

    // MARK: What the parser says

    /// A name may come in pieces, and so may a value.
    private func add(_ bytes: UnsafeRawBufferPointer, to text: inout [UInt8]) -> CInt {
        text += bytes
        headSize += bytes.count
        return headSize > Self.maximumHead ? -1 : 0
    }

    private func endField() {
        headers.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
        name.removeAll(keepingCapacity: true)
        value.removeAll(keepingCapacity: true)
    }

    /// - Returns: 1 where no body follows.
    private func endHead() -> CInt {
        let status = Int(parser.pointee.status_code)
        let version = HTTPVersion(major: Int(parser.pointee.http_major), minor: Int(parser.pointee.http_minor))
        let head = HTTPResponseHead(
            version: version, status: HTTPResponseStatus(statusCode: status), headers: HTTPHeaders(headers))
        parts.append(.head(head, isLast: c_nio_llhttp_should_keep_alive(parser) == 0))
        // Answers between 100 and 199 announce the real one.
        if status < 200 && status != 101 { return 1 }
        defer { answersHead = false }
        return answersHead ? 1 : 0
    }

    private func endAnswer() {
        parts.append(.end)
        headers.removeAll(keepingCapacity: true)
        headSize = 0
    }

    /// One table for all connections.
    private nonisolated(unsafe) static let settings: UnsafeMutablePointer<llhttp_settings_t> = {
        let settings = UnsafeMutablePointer<llhttp_settings_t>.allocate(capacity: 1)
        c_nio_llhttp_settings_init(settings)
        settings.pointee.on_header_field = { state, bytes, count in
            let reader = reader(state)
            return reader.add(UnsafeRawBufferPointer(start: bytes, count: count), to: &reader.name)
        }
        settings.pointee.on_header_value = { state, bytes, count in
            let reader = reader(state)
            return reader.add(UnsafeRawBufferPointer(start: bytes, count: count), to: &reader.value)
        }
        settings.pointee.on_header_value_complete = { state in
            reader(state).endField()
            return 0
        }
        settings.pointee.on_headers_complete = { reader($0).endHead() }
        settings.pointee.on_body = { state, bytes, count in
            reader(state).parts.append(.body(Array(UnsafeRawBufferPointer(start: bytes, count: count))))
            return 0
        }
        settings.pointee.on_message_complete = { state in
            reader(state).endAnswer()
            // The parser keeps the length where an answer without a body had one (nodejs/llhttp#202).
            state?.pointee.content_length = 0
            return 0
        }
        return settings
    }()
}

private func reader(_ parser: UnsafeMutablePointer<llhttp_t>?) -> AnswerParser {
    Unmanaged<AnswerParser>.fromOpaque(parser!.pointee.data).takeUnretainedValue()
}
