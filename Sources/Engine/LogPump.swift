import ContainerLog
import LinuxKernel
import Synchronization

/// Reads a container's log on a thread of its own and hands it out in chunks, no faster than they are taken.
enum LogPump {
    /// Bytes gathered before a chunk is handed out, if more is there at once.
    private static let chunk = 32 << 10

    /// - Parameters:
    ///   - details: put before each line.
    ///   - finish: returns when the container has ended and its log is complete; a follower ends then.
    static func stream(
        path: String, format: LogFormat, options: LogReadOptions, isTerminal: Bool, timestamps: Bool, details: String?,
        finish: (@Sendable () async -> Void)?
    ) throws(SystemError) -> LogStream {
        let reader = try LogReader(path: path, format: format, options: options)
        let follows = options.follow
        let handover = Handover()
        let control = reader.control
        let box = ReaderBox(reader)
        try DetachedThread.start(stackSize: 512 << 10) {
            let reader = box.take()
            var gathered: [UInt8] = []
            do {
                while let entry = try reader.next() {
                    append(
                        entry, to: &gathered, isTerminal: isTerminal, timestamps: timestamps, details: details)
                    // A follower can't know whether the next call waits, so it hands out each entry.
                    if follows || gathered.count >= chunk {
                        if !handover.put(gathered) { return }
                        gathered = []
                    }
                }
                if !gathered.isEmpty, !handover.put(gathered) { return }
                handover.end(nil)
            } catch {
                handover.end(error)
            }
        }
        let watcher = finish.map { finish in
            Task {
                await finish()
                control.finish()
            }
        }
        let owner = StreamOwner {
            handover.cancel()
            control.cancel()
            watcher?.cancel()
        }
        return LogStream(isTerminal: isTerminal) {
            try await withTaskCancellationHandler {
                defer { withExtendedLifetime(owner) {} }
                return try await handover.take()
            } onCancel: {
                handover.cancel()
                control.cancel()
            }
        }
    }

    private static func append(
        _ entry: LogEntry, to output: inout [UInt8], isTerminal: Bool, timestamps: Bool, details: String?
    ) {
        guard let details, !entry.continuesLine else {
            entry.append(to: &output, framed: !isTerminal, timestamps: timestamps)
            return
        }
        // The timestamp comes first, so the details go between it and the content: only the content is extended.
        var detailed = entry
        detailed.content = Array(details.utf8) + entry.content
        detailed.append(to: &output, framed: !isTerminal, timestamps: timestamps)
    }
}

/// Gives a value that is not Sendable to one other thread.
private final class ReaderBox: @unchecked Sendable {
    private var reader: LogReader?

    init(_ reader: LogReader) { self.reader = reader }

    func take() -> LogReader {
        defer { reader = nil }
        return reader!
    }
}

/// Runs `end` with its last reference.
private final class StreamOwner: Sendable {
    private let end: @Sendable () -> Void

    init(_ end: @escaping @Sendable () -> Void) { self.end = end }

    deinit { end() }
}

/// One chunk at a time from a thread to a task; the thread waits until it has been taken.
private final class Handover: Sendable {
    private struct State {
        var chunks: [[UInt8]] = []
        var end: Result<Void, any Error>?
        var cancelled = false
        var taker: CheckedContinuation<[UInt8]?, any Error>?
    }

    private let state = Mutex(State())
    private let space = BlockingSignal()
    /// Chunks that may wait to be taken.
    private static let capacity = 4

    /// Blocks while the taker is behind; false when nobody will take any more.
    func put(_ chunk: [UInt8]) -> Bool {
        while true {
            enum Outcome { case stored, full, gone }
            var taker: CheckedContinuation<[UInt8]?, any Error>?
            let outcome = state.withLock { state -> Outcome in
                if state.cancelled { return .gone }
                if let waiting = state.taker {
                    taker = waiting
                    state.taker = nil
                    return .stored
                }
                guard state.chunks.count < Handover.capacity else { return .full }
                state.chunks.append(chunk)
                return .stored
            }
            taker?.resume(returning: chunk)
            switch outcome {
            case .stored: return true
            case .gone: return false
            case .full: space.wait()
            }
        }
    }

    func end(_ error: (any Error)?) {
        let taker = state.withLock { state in
            state.end = error.map { .failure($0) } ?? .success(())
            defer { state.taker = nil }
            return state.taker
        }
        if let error { taker?.resume(throwing: error) } else { taker?.resume(returning: nil) }
    }

    func take() async throws -> [UInt8]? {
        try await withCheckedThrowingContinuation { continuation in
            let ready = state.withLock { state -> Result<[UInt8]?, any Error>? in
                if !state.chunks.isEmpty { return .success(state.chunks.removeFirst()) }
                if state.cancelled { return .failure(CancellationError()) }
                switch state.end {
                case .success: return .success(nil)
                case .failure(let error): return .failure(error)
                case nil:
                    state.taker = continuation
                    return nil
                }
            }
            space.signal()
            if let ready { continuation.resume(with: ready) }
        }
    }

    func cancel() {
        let taker = state.withLock { state in
            state.cancelled = true
            defer { state.taker = nil }
            return state.taker
        }
        space.signal()
        taker?.resume(throwing: CancellationError())
    }
}
