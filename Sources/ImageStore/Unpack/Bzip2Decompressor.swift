import CBzip2

/// bzip2 by libbzip2: several streams one after another are one, as pbzip2 writes them.
final class Bzip2Decompressor: Decompressor {
    private typealias Stream = UnsafeMutablePointer<bz_stream>

    private let begin: @convention(c) (Stream, Int32, Int32) -> Int32
    private let step: @convention(c) (Stream) -> Int32
    private let end: @convention(c) (Stream) -> Int32
    private let stream = Stream.allocate(capacity: 1)
    private var isInStream = false
    private var hasBegun = false

    init() throws(ImageError) {
        let library = try DecompressionLibrary("libbz2.so.1.0", package: "libbz2-1.0", format: "bzip2")
        begin = try library.function("BZ2_bzDecompressInit")
        step = try library.function("BZ2_bzDecompress")
        end = try library.function("BZ2_bzDecompressEnd")
        stream.initialize(to: bz_stream())
    }

    deinit {
        if isInStream { _ = end(stream) }
        stream.deallocate()
    }

    func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws -> (consumed: Int, produced: Int) {
        if !isInStream {
            if input.isEmpty { return (0, 0) }
            stream.initialize(to: bz_stream())
            try check(begin(stream, 0, 0))
            isInStream = true
            hasBegun = true
        }
        stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: CChar.self))
        stream.pointee.avail_in = UInt32(input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: CChar.self)
        stream.pointee.avail_out = UInt32(output.count)
        let code = step(stream)
        try check(code)
        if code == BZ_STREAM_END {
            _ = end(stream)
            isInStream = false
        }
        return (input.count - Int(stream.pointee.avail_in), output.count - Int(stream.pointee.avail_out))
    }

    private func check(_ code: Int32) throws {
        if code == BZ_MEM_ERROR { throw DecompressionError("there is no memory to unpack its bzip2 stream") }
        if code < 0 { throw DecompressionError("its bzip2 stream is damaged (code \(code))") }
    }

    func finish() throws {
        if isInStream || !hasBegun { throw DecompressionError("its bzip2 stream is cut short") }
    }
}
