import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// Threads of the engine's own, on which its asynchronous functions run.
///
/// The engine makes short blocking calls all the time (SQLite, mkdir, posix_spawn). On Swift's cooperative pool, one
/// thread a core, they would stall every other task; here a blocked thread only costs its stack. Threads are made
/// as they are needed up to `maximum`; what is queued beyond that waits.
final class WorkerPool: TaskExecutor {
    private let maximum: Int
    private let shared: UnsafeMutablePointer<Shared>

    private struct Shared {
        var mutex = pthread_mutex_t()
        var condition = pthread_cond_t()
        var jobs: [UnownedJob] = []
        /// Index of the next job in `jobs`; the array is compacted when it has run dry.
        var next = 0
        var threads = 0
        var idle = 0
    }

    /// Seconds after which a surplus thread that found nothing to do ends.
    private static let linger = 10
    /// Threads that stay however idle.
    private static let kept = 2

    init(maximum: Int) {
        self.maximum = maximum
        shared = .allocate(capacity: 1)
        shared.initialize(to: Shared())
        pthread_mutex_init(&shared.pointee.mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&shared.pointee.condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(&shared.pointee.mutex)
        shared.pointee.jobs.append(job)
        let waiting = shared.pointee.jobs.count - shared.pointee.next
        let spawn = waiting > shared.pointee.idle && shared.pointee.threads < maximum
        if spawn { shared.pointee.threads += 1 }
        pthread_cond_signal(&shared.pointee.condition)
        pthread_mutex_unlock(&shared.pointee.mutex)
        if spawn { startThread() }
    }

    private func startThread() {
        do throws(SystemError) {
            try DetachedThread.start(stackSize: 512 << 10) { self.work() }
        } catch {
            pthread_mutex_lock(&shared.pointee.mutex)
            shared.pointee.threads -= 1
            let none = shared.pointee.threads == 0
            pthread_mutex_unlock(&shared.pointee.mutex)
            precondition(!none, "mycontainerd: \(error)")
        }
    }

    private func work() {
        let executor = asUnownedTaskExecutor()
        while let job = nextJob() { job.runSynchronously(on: executor) }
        pthread_mutex_lock(&shared.pointee.mutex)
        let isLast = shared.pointee.threads == WorkerPool.kept
        pthread_mutex_unlock(&shared.pointee.mutex)
        // It has been quiet for a while: what a burst has left in every thread's heap goes back to the kernel.
        if isLast { clinux_malloc_trim() }
    }

    /// Waits for a job; nil when this thread has lingered long enough.
    private func nextJob() -> UnownedJob? {
        pthread_mutex_lock(&shared.pointee.mutex)
        defer { pthread_mutex_unlock(&shared.pointee.mutex) }
        while shared.pointee.next == shared.pointee.jobs.count {
            var deadline = timespec()
            clock_gettime(CLOCK_MONOTONIC, &deadline)
            deadline.tv_sec += WorkerPool.linger
            shared.pointee.idle += 1
            let result = pthread_cond_timedwait(&shared.pointee.condition, &shared.pointee.mutex, &deadline)
            shared.pointee.idle -= 1
            let empty = shared.pointee.next == shared.pointee.jobs.count
            if result == ETIMEDOUT, empty, shared.pointee.threads > WorkerPool.kept {
                shared.pointee.threads -= 1
                return nil
            }
        }
        let job = shared.pointee.jobs[shared.pointee.next]
        shared.pointee.next += 1
        if shared.pointee.next == shared.pointee.jobs.count {
            shared.pointee.jobs.removeAll(keepingCapacity: true)
            shared.pointee.next = 0
        }
        return job
    }

    deinit {
        // Threads hold the pool while they run, so none is left here.
        pthread_cond_destroy(&shared.pointee.condition)
        pthread_mutex_destroy(&shared.pointee.mutex)
        shared.deinitialize(count: 1)
        shared.deallocate()
    }
}

extension WorkerPool: @unchecked Sendable {}
