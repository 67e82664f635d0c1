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
        var jobs: [UnownedJob] = []
        /// Index of the next job in `jobs`; the array is compacted when it has run dry.
        var next = 0
        var threads = 0
        /// Threads that wait, the one that has waited shortest last: it is the next to be woken, since its stack and heap
        /// are still in the processor's cache, and those that a burst needed and nothing else does come to their end.
        var idle: [UnsafeMutablePointer<Sleeper>] = []
    }

    /// A thread that waits.
    private struct Sleeper {
        var condition = pthread_cond_t()
        var isWoken = false
    }

    /// Seconds after which a surplus thread that found nothing to do ends.
    private static let linger = 2
    /// Threads that stay however idle.
    private static let kept = 4

    init(maximum: Int) {
        self.maximum = maximum
        shared = .allocate(capacity: 1)
        shared.initialize(to: Shared())
        pthread_mutex_init(&shared.pointee.mutex, nil)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(&shared.pointee.mutex)
        shared.pointee.jobs.append(job)
        var spawn = false
        if let sleeper = shared.pointee.idle.popLast() {
            sleeper.pointee.isWoken = true
            pthread_cond_signal(&sleeper.pointee.condition)
        } else if shared.pointee.threads < maximum {
            shared.pointee.threads += 1
            spawn = true
        }
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
        let sleeper = UnsafeMutablePointer<Sleeper>.allocate(capacity: 1)
        sleeper.initialize(to: Sleeper())
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&sleeper.pointee.condition, &attributes)
        pthread_condattr_destroy(&attributes)
        while let job = nextJob(sleeper) { job.runSynchronously(on: executor) }
        pthread_cond_destroy(&sleeper.pointee.condition)
        sleeper.deallocate()
        pthread_mutex_lock(&shared.pointee.mutex)
        let isLast = shared.pointee.threads == WorkerPool.kept
        pthread_mutex_unlock(&shared.pointee.mutex)
        // It has been quiet for a while: what a burst has left in every thread's heap goes back to the kernel.
        if isLast { clinux_malloc_trim() }
    }

    /// Waits for a job; nil when this thread has lingered long enough.
    private func nextJob(_ sleeper: UnsafeMutablePointer<Sleeper>) -> UnownedJob? {
        pthread_mutex_lock(&shared.pointee.mutex)
        defer { pthread_mutex_unlock(&shared.pointee.mutex) }
        while shared.pointee.next == shared.pointee.jobs.count {
            sleeper.pointee.isWoken = false
            shared.pointee.idle.append(sleeper)
            wait(sleeper)
            if sleeper.pointee.isWoken { continue }
            shared.pointee.idle.removeAll { $0 == sleeper }
            if shared.pointee.threads > WorkerPool.kept {
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

    /// Waits to be woken; until ``linger`` has passed where the thread is a surplus one.
    private func wait(_ sleeper: UnsafeMutablePointer<Sleeper>) {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        deadline.tv_sec += WorkerPool.linger
        while !sleeper.pointee.isWoken {
            if shared.pointee.threads <= WorkerPool.kept {
                pthread_cond_wait(&sleeper.pointee.condition, &shared.pointee.mutex)
            } else if pthread_cond_timedwait(&sleeper.pointee.condition, &shared.pointee.mutex, &deadline) == ETIMEDOUT
            {
                return
            }
        }
    }

    deinit {
        // Threads hold the pool while they run, so none is left here.
        pthread_mutex_destroy(&shared.pointee.mutex)
        shared.deinitialize(count: 1)
        shared.deallocate()
    }
}

extension WorkerPool: @unchecked Sendable {}
