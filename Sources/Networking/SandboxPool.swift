import LinuxKernel
import Synchronization

/// Keeps a few network namespaces ready, since making one takes longer than everything that is done to it afterwards.
///
/// What is ready isn't pinned: it goes with the daemon, however that ends.
public final class SandboxPool: Sendable {
    /// - Parameters:
    ///   - directory: where sandboxes are pinned, `<exec-root>/netns`; made where it doesn't exist.
    ///   - ready: how many are kept ready; 0: each is made when it is asked for.
    ///   - executor: where more are made; its threads may block.
    public init(provider: any SandboxProvider, directory: String, ready: Int, executor: any TaskExecutor) {
    }

    /// A fresh sandbox, pinned. Blocks its thread for a millisecond when none is ready.
    public func take() async throws(NetworkingError) -> Sandbox {
        throw NetworkingError(.system, "not yet")
    }

    /// Lets go of those that are ready; from here on each is made when it is asked for.
    public func drain() {}

    /// Removes every pin in the directory that isn't among `known`: those of containers that no record names.
    public func removeLeftovers(except known: Set<String>) throws(NetworkingError) {}
}
