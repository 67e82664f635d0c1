import Glibc

/// Carries a byte stream from one thread to another in a fixed number of buffers, which go round: memory stays flat
/// however long the stream is, and a fast side waits for the slow one.
final class ChunkPipe: @unchecked Sendable {
    /// A buffer, filled up to `count`. Owned by whoever holds it.
    final class Chunk: @unchecked Sendable {
        let memory: UnsafeMutableRawBufferPointer
        var count = 0

        fileprivate init(capacity: Int) {
            memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 4096)
        }

        var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

        deinit { memory.deallocate() }
    }

    /// The other side has gone; whoever gets this stops quietly, since the reason is known elsewhere.
    struct Cancelled: Error {}

    static let chunkBytes = 256 << 10

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // All below is touched under the mutex.
    private var free: [Chunk]
    private var full: [Chunk] = []
    private var end: Result<Void, any Error>?
    private var isCancelled = false

    static func makeChunk() -> Chunk { Chunk(capacity: chunkBytes) }

    init(chunks: Int = 8) {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
        free = (0..<chunks).map { _ in Chunk(capacity: ChunkPipe.chunkBytes) }
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    // MARK: The writing side

    /// An empty buffer to fill.
    func empty() throws(Cancelled) -> Chunk {
        lock()
        defer { unlock() }
        while free.isEmpty && !isCancelled { wait() }
        if isCancelled { throw Cancelled() }
        let chunk = free.removeLast()
        chunk.count = 0
        return chunk
    }

    func send(_ chunk: Chunk) {
        lock()
        full.insert(chunk, at: 0)
        unlock()
    }

    /// Ends the stream: the reader gets nil, or `error`, after what was sent.
    func finish(_ error: (any Error)? = nil) {
        lock()
        if end == nil { end = error.map { .failure($0) } ?? .success(()) }
        unlock()
    }

    // MARK: The reading side

    /// The next filled buffer, to be given back by ``recycle(_:)``; nil at the end of the stream.
    func next() throws -> Chunk? {
        lock()
        defer { unlock() }
        while full.isEmpty && end == nil { wait() }
        if let chunk = full.popLast() { return chunk }
        try end?.get()
        return nil
    }

    func recycle(_ chunk: Chunk) {
        lock()
        free.append(chunk)
        unlock()
    }

    /// Tells the writing side that nobody reads any more.
    func cancel() {
        lock()
        isCancelled = true
        unlock()
    }

    private func lock() { pthread_mutex_lock(mutex) }

    private func unlock() {
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    private func wait() { pthread_cond_wait(changed, mutex) }
}

/// Runs blocking work on threads of its own: Swift's cooperative threads must not block.
enum BlockingWork {
    /// Runs `body` on a new thread and waits for it without blocking the caller's.
    static func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            start { continuation.resume(with: Swift.Result { try body() }) }
        }
    }

    /// Starts `body` on a new thread that nobody waits for.
    static func start(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let box = Unmanaged.passRetained(Box(body))
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, box.toOpaque())
        pthread_attr_destroy(&attributes)
        if code != 0 {
            // No thread to be had (a pids limit): slower, but it works.
            box.release()
            body()
        }
    }

    private final class Box: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
