import Glibc
import LinuxKernel
import Synchronization

/// Runs `body` on a thread of its own in a network namespace of its own, both gone afterwards: unshare(2) moves only
/// the calling thread.
func inNetworkNamespace(_ body: @escaping @Sendable () throws -> Void) throws {
    final class Work: Sendable {
        let body: @Sendable () throws -> Void
        let result = Mutex<Result<Void, any Error>>(.success(()))
        init(_ body: @escaping @Sendable () throws -> Void) { self.body = body }
    }
    let work = Work(body)
    var thread = pthread_t()
    let created = pthread_create(
        &thread, nil,
        { argument in
            let work = Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue()
            let result = Result {
                try Process.unshare(.network)
                try NetworkInterface.setUp("lo")
                try work.body()
            }
            work.result.withLock { $0 = result }
            return nil
        }, Unmanaged.passRetained(work).toOpaque())
    guard created == 0 else { throw SystemError("pthread_create", errno: created) }
    pthread_join(thread, nil)
    try work.result.withLock { try $0.get() }
}
