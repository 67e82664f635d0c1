import OCI
import Synchronization

/// Who is making which layer, so that two pulls of the same content do the work once.
final class LayerClaims: Sendable {
    /// The making of one layer, for those who wait for it.
    final class Flight: Sendable {
        private struct State {
            var succeeded: Bool?
            var waiting: [CheckedContinuation<Bool, Never>] = []
        }

        private let state = Mutex(State())

        /// Waits for the end.
        /// - Returns: whether the layer is in the store now.
        func wait() async -> Bool {
            await withCheckedContinuation { continuation in
                let result = state.withLock { state -> Bool? in
                    if state.succeeded == nil { state.waiting.append(continuation) }
                    return state.succeeded
                }
                if let result { continuation.resume(returning: result) }
            }
        }

        fileprivate func finish(_ succeeded: Bool) {
            let waiting = state.withLock { state in
                state.succeeded = succeeded
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume(returning: succeeded) }
        }
    }

    private let flights = Mutex<[Digest: Flight]>([:])

    /// Takes every layer that is neither there nor being made. All at once: who holds claims never takes more, so waits
    /// can't form a ring.
    func claim(
        _ chain: [Digest], exists: (Digest) -> Bool
    ) -> (mine: Set<Digest>, others: [(chainID: Digest, flight: Flight)]) {
        flights.withLock { flights in
            var mine: Set<Digest> = []
            var others: [(Digest, Flight)] = []
            for chainID in chain where !exists(chainID) {
                if let flight = flights[chainID] {
                    others.append((chainID, flight))
                } else {
                    flights[chainID] = Flight()
                    mine.insert(chainID)
                }
            }
            return (mine, others)
        }
    }

    /// Ends claims.
    func finish(_ claimed: Set<Digest>, succeeded: Bool) {
        let ended = flights.withLock { flights in claimed.compactMap { flights.removeValue(forKey: $0) } }
        for flight in ended { flight.finish(succeeded) }
    }
}
