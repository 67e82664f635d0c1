import CISAL
import CZstd
import OCI

/// Undoes a layer's compression, stream in, stream out, in constant memory.
protocol Decompressor: AnyObject {
    /// Consumes some of `input` and fills some of `output`.
    /// - Returns: how many bytes were consumed and produced. Nothing produced with output space left means that more
    ///   input is needed.
    func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int)

    /// Called at the end of the input; throws when the stream isn't complete.
    func finish() throws
}

/// A compressed stream that is damaged, cut short or followed by something else.
struct DecompressionError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

extension LayerCompression {
    /// A new decompressor; nil where there is nothing to undo.
    func makeDecompressor() -> (any Decompressor)? {
        switch self {
        case .none: nil
        case .gzip: GzipDecompressor()
        case .zstd: ZstdDecompressor()
        }
    }

    /// What a stream is by its first bytes: RFC 1952 section 2.3.1, RFC 8878 section 3.1.
    init(magic: some Collection<UInt8>) {
        if magic.starts(with: [0x1f, 0x8b]) {
            self = .gzip
        } else if magic.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) {
            self = .zstd
        } else {
            self = .none
        }
    }

    /// The OCI media type of a layer packed in this way.
    var mediaType: String {
        switch self {
        case .none: MediaType.ociLayer
        case .gzip: MediaType.ociLayerGzip
        case .zstd: MediaType.ociLayerZstd
        }
    }
}

/// gzip by ISA-L: several members one after another are one stream (RFC 1952 section 2.2), as pigz and eStargz write
/// them; zeros after the last are padding.
private final class GzipDecompressor: Decompressor {
    private enum Position { case start, inMember, betweenMembers, padding }

    private let state = UnsafeMutablePointer<inflate_state>.allocate(capacity: 1)
    private var position = Position.start
    /// Bytes of the next member that were read with the last one's end.
    private var carried: [UInt8] = []

    init() {
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
    }

    deinit { state.deallocate() }

    func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int) {
        if !carried.isEmpty {
            let bytes = carried
            carried = []
            let (consumed, produced) = try bytes.withUnsafeBytes { try step($0, output) }
            carried.insert(contentsOf: bytes[consumed...], at: 0)
            if produced > 0 || !carried.isEmpty { return (0, produced) }
        }
        return input.isEmpty && position != .inMember ? (0, 0) : try step(input, output)
    }

    private func step(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int) {
        if position == .betweenMembers || position == .padding {
            if let other = input.first(where: { $0 != 0 }) {
                guard position == .betweenMembers, input[0] != 0, other == 0x1f else {
                    throw DecompressionError("its gzip stream is followed by something else")
                }
            } else {
                if !input.isEmpty { position = .padding }
                return (input.count, 0)
            }
            isal_inflate_reset(state)
            state.pointee.crc_flag = UInt32(ISAL_GZIP)
        }
        position = .inMember
        state.pointee.next_in = input.baseAddress.map {
            UnsafeMutablePointer(mutating: $0.assumingMemoryBound(to: UInt8.self))
        }
        state.pointee.avail_in = UInt32(input.count)
        state.pointee.next_out = output.baseAddress!.assumingMemoryBound(to: UInt8.self)
        state.pointee.avail_out = UInt32(output.count)
        let code = isal_inflate(state)
        guard code == ISAL_DECOMP_OK || code == ISAL_END_INPUT else {
            throw DecompressionError("its gzip stream is damaged (code \(code))")
        }
        if state.pointee.block_state == ISAL_BLOCK_FINISH {
            position = .betweenMembers
            takeBack()
        }
        return (input.count - Int(state.pointee.avail_in), output.count - Int(state.pointee.avail_out))
    }

    /// ISA-L reads up to eight bytes ahead: after a member's trailer these belong to the next one.
    private func takeBack() {
        for index in 0..<Int(state.pointee.read_in_length / 8) {
            carried.append(UInt8(truncatingIfNeeded: state.pointee.read_in >> (8 * UInt64(index))))
        }
    }

    func finish() throws {
        if position == .inMember || position == .start { throw DecompressionError("its gzip stream is cut short") }
        if carried.contains(where: { $0 != 0 }) {
            throw DecompressionError("its gzip stream is followed by something else")
        }
    }
}

/// zstd: several frames one after another are one stream. Windows up to 128 MiB, zstd's own bound, are accepted.
private final class ZstdDecompressor: Decompressor {
    private let stream: OpaquePointer
    private var inFrame = true

    init() {
        guard let stream = ZSTD_createDStream() else { preconditionFailure("out of memory") }
        self.stream = stream
    }

    deinit { ZSTD_freeDStream(stream) }

    func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int) {
        var from = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var to = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let code = ZSTD_decompressStream(stream, &to, &from)
        if ZSTD_isError(code) != 0 {
            throw DecompressionError("its zstd stream is damaged (\(String(cString: ZSTD_getErrorName(code))))")
        }
        inFrame = code != 0
        return (from.pos, to.pos)
    }

    func finish() throws {
        if inFrame { throw DecompressionError("its zstd stream is cut short") }
    }
}
