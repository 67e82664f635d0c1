import EngineAPI
import Synchronization

/// Sends the progress of a long operation as JSON lines.
///
/// The operation never waits for the client: while one does not read, a newer report about the same thing replaces the
/// older, so that what waits is bounded by the number of layers.
final class ProgressStream: Sendable {
    private let waiting = Mutex<[ProgressMessage]>([])
    private let signal: AsyncStream<Void>.Continuation

    private init(_ signal: AsyncStream<Void>.Continuation) { self.signal = signal }

    /// Runs the operation. What it throws before the first message becomes an ordinary refusal; after that it is the
    /// stream's last line, since the status has been sent.
    static func run(
        to stream: ResponseStream,
        _ operation: @escaping @Sendable (@escaping @Sendable (ProgressMessage) -> Void) async throws -> Void
    ) async throws {
        let (signals, signal) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let progress = ProgressStream(signal)
        let worker = Task {
            defer { signal.finish() }
            try await operation { progress.report($0) }
        }
        var hasWritten = false
        try await withTaskCancellationHandler {
            do {
                for await _ in signals {
                    for message in progress.take() {
                        try await stream.writeLine(message)
                        hasWritten = true
                    }
                }
                try await worker.value
            } catch {
                worker.cancel()
                guard hasWritten else { throw error }
                try await stream.writeLine(ProgressMessage(error: Failure(error).message))
            }
            for message in progress.take() { try await stream.writeLine(message) }
        } onCancel: {
            worker.cancel()
        }
    }

    private func report(_ message: ProgressMessage) {
        waiting.withLock { waiting in
            if message.progressDetail != nil,
                let index = waiting.lastIndex(where: { $0.id == message.id }), waiting[index].status == message.status
            {
                waiting[index] = message
            } else {
                waiting.append(message)
            }
        }
        signal.yield()
    }

    private func take() -> [ProgressMessage] {
        waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
    }
}
