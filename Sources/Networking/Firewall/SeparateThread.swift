import CLinux
import CNetfilter
import Glibc
import LinuxKernel

/// A thread that has a descriptor table of its own, with nothing in it but the standard streams.
///
/// libnftables waits for its socket with select(2), which ends the process when the descriptor's number is 1,024 or
/// more. A daemon has more descriptors than that; here the socket's number is always small.
///
/// The thread is in the namespaces of the thread that made it. One caller at a time.
final class SeparateThread: @unchecked Sendable {
    private let begin: UnsafeMutablePointer<sem_t>
    private let end: UnsafeMutablePointer<sem_t>
    /// What to do next; nil: end. Handed over by the semaphores.
    private var job: (() -> Void)?

    /// - Parameter name: what the kernel calls the thread, at most 15 bytes.
    init(name: String) throws(NetworkingError) {
        begin = .allocate(capacity: 1)
        end = .allocate(capacity: 1)
        sem_init(begin, 0, 0)
        sem_init(end, 0, 0)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, nil,
            { context in
                let thread = Unmanaged<SeparateThread>.fromOpaque(context!).takeUnretainedValue()
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_BLOCK, &all, nil)
                thread.serve()
                return nil
            }, context.toOpaque())
        guard result == 0 else {
            context.release()
            throw NetworkingError(
                .system, "the firewall's thread can't be started: \(String(cString: strerror(result)))")
        }
        pthread_detach(thread)
        // CLOSE_RANGE_UNSHARE (close_range(2)): the table is copied without what is closed.
        let failure = run { () -> Int32 in
            netfilter_set_task_name(name)
            return clinux_close_range(3, UInt32.max, 2) == 0 ? 0 : errno
        }
        guard failure == 0 else {
            stop()
            throw NetworkingError(
                .system, "the firewall's thread gets no descriptors of its own: \(String(cString: strerror(failure)))")
        }
    }

    /// Runs `body` on the thread and waits for it.
    func run<Result>(_ body: () -> Result) -> Result {
        var result: Result?
        withoutActuallyEscaping({ result = body() }) { body in
            job = body
            sem_post(begin)
            SeparateThread.wait(end)
        }
        return result!
    }

    /// Ends the thread, and with it its descriptors. Nothing may be run any more.
    func stop() {
        job = nil
        sem_post(begin)
    }

    private func serve() {
        while true {
            SeparateThread.wait(begin)
            guard runJob() else { break }
            sem_post(end)
        }
        Unmanaged.passUnretained(self).release()
    }

    /// Holds the job no longer than it runs: its caller goes on when it is told so.
    @inline(never)
    private func runJob() -> Bool {
        guard let job = job.take() else { return false }
        job()
        return true
    }

    private static func wait(_ semaphore: UnsafeMutablePointer<sem_t>) {
        while sem_wait(semaphore) != 0, errno == EINTR {}
    }

    deinit {
        for semaphore in [begin, end] {
            sem_destroy(semaphore)
            semaphore.deallocate()
        }
    }
}
