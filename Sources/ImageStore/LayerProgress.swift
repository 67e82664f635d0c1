import Glibc
import OCI
import Synchronization

/// Tells of one layer's way in Docker's words, at most ten times a second and from one thread at a time.
final class LayerProgress: Sendable {
    private struct State {
        var lastSent: Int64 = 0
        var isDownloaded = false
        var isDone = false
    }

    private let id: String
    private let total: Int64
    private let handler: ImageProgressHandler
    private let state = Mutex(State())

    private static let interval: Int64 = 100_000_000

    init(_ layer: Descriptor, handler: @escaping ImageProgressHandler) {
        id = layer.digest.short
        total = layer.size
        self.handler = handler
    }

    func send(_ status: String) {
        handler(ImageProgress(status: status, id: id, isLayer: true))
    }

    /// - Parameter bytes: of the blob, as it is stored.
    func downloaded(_ bytes: Int64) {
        step(bytes, "Downloading") { !$0.isDownloaded }
    }

    func downloadComplete() {
        state.withLock { state in
            state.isDownloaded = true
            state.lastSent = 0
            handler(ImageProgress(status: "Download complete", id: id, isLayer: true))
        }
    }

    /// - Parameter bytes: of the blob that have been decompressed.
    func extracted(_ bytes: Int64) {
        step(bytes, "Extracting") { $0.isDownloaded }
    }

    private func step(_ bytes: Int64, _ status: String, when isDue: (State) -> Bool) {
        state.withLock { state in
            let now = monotonicNanoseconds()
            guard isDue(state), now - state.lastSent >= LayerProgress.interval else { return }
            state.lastSent = now
            handler(ImageProgress(status: status, id: id, isLayer: true, current: bytes, total: total))
        }
    }
}

func monotonicNanoseconds() -> Int64 { clockNanoseconds(CLOCK_MONOTONIC) }

/// Nanoseconds since 1970.
func wallClockNanoseconds() -> Int64 { clockNanoseconds(CLOCK_REALTIME) }

private func clockNanoseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
