import CLzma

/// xz by liblzma: several streams one after another are one, with padding between them (the file format's section 2.2).
final class XzDecompressor: Decompressor {
    private typealias Stream = UnsafeMutablePointer<lzma_stream>

    private let code: @convention(c) (Stream, lzma_action) -> lzma_ret
    private let end: @convention(c) (Stream) -> Void
    private let stream = Stream.allocate(capacity: 1)

    /// `LZMA_CONCATENATED` of lzma/container.h, whose macro Swift can't read.
    private static let concatenated: UInt32 = 0x08

    /// Bytes that a stream may make the decoder hold. `xz -9` needs 65 MiB; a stream can ask for 4 GiB.
    private static let memoryLimit: UInt64 = 128 << 20

    init() throws(ImageError) {
        let library = try DecompressionLibrary("liblzma.so.5", package: "liblzma5", format: "xz")
        let begin: @convention(c) (Stream, UInt64, UInt32) -> lzma_ret = try library.function("lzma_stream_decoder")
        code = try library.function("lzma_code")
        end = try library.function("lzma_end")
        // LZMA_STREAM_INIT: all zero.
        stream.initialize(to: lzma_stream())
        guard begin(stream, Self.memoryLimit, Self.concatenated) == LZMA_OK else {
            throw ImageError(.system, "there is no memory to unpack an xz stream")
        }
    }

    deinit {
        end(stream)
        stream.deallocate()
    }

    func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int) {
        let result = step(input, output, LZMA_RUN)
        switch result {
        // LZMA_BUF_ERROR: nothing to do without more input.
        case LZMA_OK, LZMA_STREAM_END, LZMA_BUF_ERROR: break
        case LZMA_MEMLIMIT_ERROR:
            throw DecompressionError(
                "its xz stream needs more than \(Self.memoryLimit >> 20) MiB of memory: pack it with a smaller dictionary"
            )
        default: throw DecompressionError("its xz stream is damaged (code \(result.rawValue))")
        }
        return (input.count - stream.pointee.avail_in, output.count - stream.pointee.avail_out)
    }

    private func step(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, _ action: lzma_action
    ) -> lzma_ret {
        stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = input.count
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = output.count
        return code(stream, action)
    }

    /// With several streams in one, the decoder has to be told that no other one follows.
    func finish() throws {
        let result = withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) {
            step(UnsafeRawBufferPointer(start: nil, count: 0), $0, LZMA_FINISH)
        }
        guard result == LZMA_STREAM_END else { throw DecompressionError("its xz stream is cut short") }
    }
}
