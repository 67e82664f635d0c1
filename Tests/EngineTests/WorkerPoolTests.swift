import Glibc
import Synchronization
import Testing

@testable import Engine

@Suite struct WorkerPoolTests {
    /// Where threads wait until all are there.
    private final class Barrier: @unchecked Sendable {
        private var barrier = pthread_barrier_t()

        init(_ count: UInt32) { pthread_barrier_init(&barrier, nil, count) }

        func wait() { pthread_barrier_wait(&barrier) }

        deinit { pthread_barrier_destroy(&barrier) }
    }

    private final class Counts: Sendable {
        let running = Atomic(0)
        let most = Atomic(0)
        let done = Atomic(0)
    }

    /// Runs `count` jobs on the pool and waits for all.
    private func run(_ count: Int, on pool: WorkerPool, _ body: @escaping @Sendable () -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<count { group.addTask(executorPreference: pool) { body() } }
        }
    }

    /// Threads sleep and are woken between the rounds; a job that nobody was woken for would keep its round from ending.
    @Test func jobsThatBlockRunBesideEachOther() async {
        let pool = WorkerPool(maximum: 8)
        for count in [8, 1, 5, 8, 2, 8] {
            let barrier = Barrier(UInt32(count))
            await run(count, on: pool) { barrier.wait() }
        }
    }

    @Test func moreJobsThanThreadsWaitTheirTurn() async {
        let pool = WorkerPool(maximum: 3)
        let counts = Counts()
        await run(2000, on: pool) {
            let now = counts.running.add(1, ordering: .relaxed).newValue
            counts.most.max(now, ordering: .relaxed)
            sched_yield()
            counts.running.subtract(1, ordering: .relaxed)
            counts.done.add(1, ordering: .relaxed)
        }
        #expect(counts.done.load(ordering: .relaxed) == 2000)
        #expect(counts.most.load(ordering: .relaxed) <= 3)
    }
}
