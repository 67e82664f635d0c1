import LinuxKernel
import ThreadSupport

/// Runs `body` on a thread of its own in a network namespace of its own, both gone afterwards.
func inNetworkNamespace(_ body: @escaping @Sendable () throws -> Void) throws {
    try OwnThread.run {
        try Process.unshare(.network)
        try NetworkInterface.setUp("lo")
        try body()
    }
}
