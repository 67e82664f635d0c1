import CLinux
import Glibc

/// A thread with a working directory of its own: the others' is one for the whole process (unshare(2), `CLONE_FS`).
public enum PlacedThread {
    private final class Job {
        let work: () -> Void
        init(_ work: @escaping () -> Void) { self.work = work }
    }

    /// Runs `body` in a new thread that stands in `directory`, and waits for its end.
    public static func run<T>(in directory: String, _ body: () throws(SystemError) -> T) throws(SystemError) -> T {
        var outcome: Result<T, SystemError>?
        let failure = withoutActuallyEscaping(body) { body -> Int32 in
            let job = Job {
                do throws(SystemError) {
                    // CLONE_FS of sched.h, which Swift's Glibc leaves out.
                    try checked("unshare the working directory") { clinux_unshare(0x200) }
                    try checked("chdir \(directory)") { chdir(directory) }
                    outcome = .success(try body())
                } catch {
                    outcome = .failure(error)
                }
            }
            return start(job)
        }
        guard failure == 0, let outcome else { throw SystemError("start a thread", errno: failure) }
        return try outcome.get()
    }

    private static func start(_ job: Job) -> Int32 {
        var thread = pthread_t()
        let context = Unmanaged.passUnretained(job)
        let result = pthread_create(
            &thread, nil,
            { context in
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_BLOCK, &all, nil)
                Unmanaged<Job>.fromOpaque(context!).takeUnretainedValue().work()
                return nil
            }, context.toOpaque())
        if result == 0 { pthread_join(thread, nil) }
        return withExtendedLifetime(job) { result }
    }
}
