import Glibc

/// A thread for one piece of work: what that does to its namespaces (unshare(2) and setns(2) move only the calling
/// thread) ends with it.
public enum OwnThread {
    private final class Work {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }

    private final class Outcome<T>: @unchecked Sendable { var result: Result<T, any Error>? }

    /// Runs `body` on a thread of its own and waits for it.
    public static func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) throws -> T {
        let outcome = Outcome<T>()
        let work = Work { outcome.result = Result { try body() } }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Work>.fromOpaque(argument!).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(work).toOpaque())
        precondition(code == 0, "no thread can be started: \(String(cString: strerror(code)))")
        pthread_join(thread, nil)
        return try withExtendedLifetime(work) { try outcome.result!.get() }
    }
}
