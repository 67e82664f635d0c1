import Glibc
import LinuxKernel
import OCI
import Synchronization

/// Set when whoever asked for the work has gone; the work stops at its next chunk.
final class CancellationFlag: Sendable {
    private let flag = Atomic(false)

    func cancel() { flag.store(true, ordering: .relaxed) }

    func check() throws(CancellationError) {
        if flag.load(ordering: .relaxed) { throw CancellationError() }
    }
}

/// Content to read: a range of an open file.
struct BlobRange: ~Copyable, Sendable {
    let file: FileDescriptor
    let offset: Int64
    /// Bytes.
    let size: Int64
}

/// Brings a layer from its blob to files in one pass, on three threads: one reads, verifies and keeps the blob, one
/// decompresses and computes the diff ID, the caller's makes the files. Each waits for the next one's buffers, so memory
/// stays flat.
struct LayerPipeline {
    let descriptor: Descriptor
    let diffID: Digest
    let limits: UnpackLimits
    let cancellation: CancellationFlag
    let progress: LayerProgress

    /// - Parameters:
    ///   - source: the blob.
    ///   - copy: a new file for the blob's bytes, or -1 when the store has them already.
    func run(source: consuming BlobRange, copy: Int32, into unpacker: LayerUnpacker) throws {
        guard let compression = LayerCompression(mediaType: descriptor.mediaType) else {
            throw ImageError(.invalid, "layer \(descriptor.digest) has the unknown media type \(descriptor.mediaType)")
        }
        let packed = ChunkPipe()
        let reading = try startReading(source, copy: copy, to: packed)
        let plain: ChunkPipe
        let decompressing: WorkerThread?
        if let decompressor = compression.makeDecompressor() {
            let pipe = ChunkPipe()
            plain = pipe
            do {
                decompressing = try startDecompressing(decompressor, from: packed, to: pipe)
            } catch {
                packed.cancel()
                reading.wait()
                throw error
            }
        } else {
            plain = packed
            decompressing = nil
        }
        let unpacked = Result { try unpack(from: plain, into: unpacker) }
        if case .failure = unpacked { plain.cancel() }
        // The first stage's reason is the cause of what the later ones see.
        let first = reading.wait()
        let second = decompressing?.wait()
        for error in [first, second] {
            if let error, !(error is ChunkPipe.Cancelled) { throw describe(error) }
        }
        do { try unpacked.get() } catch { throw describe(error) }
        if compression == .none, descriptor.digest != diffID {
            throw mismatch(descriptor.digest)
        }
    }

    private func describe(_ error: any Error) -> any Error {
        switch error {
        case is TarError, is DecompressionError:
            ImageError(.invalid, "layer \(descriptor.digest.short) can't be unpacked: \(error)")
        default: error
        }
    }

    private func mismatch(_ found: Digest) -> ImageError {
        ImageError(
            .corrupt,
            "layer \(descriptor.digest.short) unpacks to \(found), but the image's configuration says \(diffID)")
    }

    // MARK: Stages

    /// Reads the blob, keeps a copy, and verifies size and digest. It goes on when the later stages have given up, so
    /// that a damaged blob is reported as that and not as what a decompressor makes of it.
    private func startReading(
        _ source: consuming BlobRange, copy: Int32, to pipe: ChunkPipe
    ) throws -> WorkerThread {
        let offset = source.offset
        let size = source.size
        let file = source.file.release()
        let result = try? WorkerThread { [self] in
            defer { close(file) }
            do {
                try verifySize(size)
                try read(file, offset: offset, copy: copy, to: pipe)
                pipe.finish()
            } catch {
                pipe.finish(error)
                throw error
            }
        }
        guard let result else {
            close(file)
            throw SystemError("start a thread", errno: EAGAIN)
        }
        return result
    }

    private func verifySize(_ size: Int64) throws {
        guard size == descriptor.size else {
            throw ImageError(
                .corrupt, "blob \(descriptor.digest) has \(size) bytes, but its manifest says \(descriptor.size)")
        }
        guard size <= limits.layerBytes else {
            throw ImageError(
                .invalid,
                "layer \(descriptor.digest.short) has \(size) bytes; at most \(limits.layerBytes) are accepted")
        }
    }

    private func read(_ file: Int32, offset: Int64, copy: Int32, to pipe: ChunkPipe) throws {
        let hash = SHA256()
        var done: Int64 = 0
        var wanted = true
        var own: ChunkPipe.Chunk?
        while done < descriptor.size {
            try cancellation.check()
            var chunk: ChunkPipe.Chunk
            if wanted {
                do {
                    chunk = try pipe.empty()
                } catch {
                    wanted = false
                    continue
                }
            } else {
                chunk = own ?? ChunkPipe.makeChunk()
                own = chunk
            }
            let position = off_t(offset + done)
            let length = Int(min(Int64(chunk.memory.count), descriptor.size - done))
            let count = try checked("read blob \(descriptor.digest.short)") {
                pread(file, chunk.memory.baseAddress, length, position)
            }
            guard count > 0 else {
                throw ImageError(.corrupt, "blob \(descriptor.digest) ends after \(done) of \(descriptor.size) bytes")
            }
            chunk.count = count
            hash.update(chunk.bytes)
            if copy >= 0, wanted { try write(chunk.bytes, to: copy) }
            done += Int64(count)
            progress.downloaded(done)
            if wanted { pipe.send(chunk) }
        }
        guard hash.finish() == descriptor.digest else {
            throw ImageError(.corrupt, "blob \(descriptor.digest) has other content than its digest says")
        }
        if !wanted { throw ChunkPipe.Cancelled() }
        progress.downloadComplete()
    }

    private func write(_ bytes: UnsafeRawBufferPointer, to file: Int32) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            done += try checked("write blob \(descriptor.digest.short)") {
                Glibc.write(file, bytes.baseAddress! + done, bytes.count - done)
            }
        }
    }

    private func startDecompressing(
        _ decompressor: any Decompressor, from packed: ChunkPipe, to plain: ChunkPipe
    ) throws -> WorkerThread {
        // Used by that thread alone.
        nonisolated(unsafe) let decompressor = decompressor
        return try WorkerThread { [self] in
            do {
                try decompress(decompressor, from: packed, to: plain)
                plain.finish()
            } catch {
                packed.cancel()
                plain.finish(error)
                throw error
            }
        }
    }

    private func decompress(_ decompressor: any Decompressor, from packed: ChunkPipe, to plain: ChunkPipe) throws {
        let hash = SHA256()
        let maximum = limits.unpackedBytes(ofPacked: descriptor.size)
        var consumed: Int64 = 0
        var produced: Int64 = 0
        var output = try plain.empty()
        while let input = try packed.next() {
            var used = 0
            repeat {
                let (count, made) = try decompressor.decompress(
                    UnsafeRawBufferPointer(rebasing: input.bytes[used...]),
                    into: UnsafeMutableRawBufferPointer(rebasing: output.memory[output.count...]))
                used += count
                output.count += made
                if output.count == output.memory.count {
                    produced += Int64(output.count)
                    guard produced <= maximum else {
                        throw DecompressionError("it expands to more than \(maximum) bytes")
                    }
                    hash.update(output.bytes)
                    plain.send(output)
                    output = try plain.empty()
                } else if used == input.count {
                    break
                }
            } while true
            consumed += Int64(input.count)
            progress.extracted(consumed)
            packed.recycle(input)
        }
        try decompressor.finish()
        hash.update(output.bytes)
        plain.send(output)
        let found = hash.finish()
        guard found == diffID else { throw mismatch(found) }
    }

    private func unpack(from pipe: ChunkPipe, into unpacker: LayerUnpacker) throws {
        var held: ChunkPipe.Chunk?
        let reader = TarReader(limits: limits) {
            if let chunk = held { pipe.recycle(chunk) }
            held = nil
            // An empty chunk ends a stream whose length is a multiple of the buffer's.
            while let chunk = try pipe.next() {
                if chunk.count > 0 {
                    held = chunk
                    return chunk.bytes
                }
                pipe.recycle(chunk)
            }
            return nil
        }
        try unpacker.unpack(reader)
        try reader.drain()
    }
}

/// A thread whose end can be waited for.
final class WorkerThread: @unchecked Sendable {
    private let body: @Sendable () throws -> Void
    private var thread = pthread_t()
    /// Written by the thread, read after it was joined.
    private var error: (any Error)?
    private var isJoined = false

    init(_ body: @escaping @Sendable () throws -> Void) throws(SystemError) {
        self.body = body
        let code = pthread_create(
            &thread, nil,
            { argument in
                let worker = Unmanaged<WorkerThread>.fromOpaque(argument!).takeUnretainedValue()
                do { try worker.body() } catch { worker.error = error }
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        if code != 0 { throw SystemError("start a thread", errno: code) }
    }

    /// Waits for the end; only its owner calls this.
    @discardableResult
    func wait() -> (any Error)? {
        if !isJoined {
            pthread_join(thread, nil)
            isJoined = true
        }
        return error
    }

    deinit { wait() }
}
