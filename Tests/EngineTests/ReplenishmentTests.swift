import Synchronization
import Testing

@testable import Engine

@Suite struct ReplenishmentTests {
    private final class Counter: Sendable {
        let value = Atomic(0)

        func await(_ expected: Int) async throws {
            for _ in 0..<60_000 {
                if value.load(ordering: .acquiring) >= expected { return }
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    @Test func isMadeOnceForWhatWasTaken() async throws {
        let counter = Counter()
        let replenish: @Sendable () -> Void = { counter.value.add(1, ordering: .acquiringAndReleasing) }
        let replenishment = Replenishment()
        // Nothing is missing yet.
        replenishment.ended(replenish)
        replenishment.started(replenish)
        replenishment.started(replenish)
        try await counter.await(1)
        // Whatever is planned twice, by a start and by an end, is done once.
        replenishment.started(replenish)
        replenishment.ended(replenish)
        try await counter.await(2)
        try await Task.sleep(for: .milliseconds(100))
        #expect(counter.value.load(ordering: .acquiring) == 2)
    }
}
