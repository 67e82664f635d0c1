import Glibc
import LinuxKernel
import Synchronization

/// Keeps a few network namespaces ready, since making one takes longer than everything that is done to it afterwards.
///
/// What is ready isn't pinned: it goes with the daemon, however that ends.
public final class SandboxPool: Sendable {
    private let provider: any SandboxProvider
    private let directory: String
    private let executor: any TaskExecutor
    private let state: Mutex<State>

    private struct State {
        /// How many are kept ready.
        var wanted: Int
        var ready: [ReadySandbox] = []
        var isRefilling = false
    }

    /// Holds descriptors, which an array can't.
    private final class ReadySandbox: Sendable {
        private let descriptors: Mutex<SandboxDescriptors?>
        init(_ descriptors: consuming SandboxDescriptors) { self.descriptors = Mutex(consume descriptors) }
        func take() -> SandboxDescriptors? { descriptors.withLock { $0.take() } }
    }

    /// - Parameters:
    ///   - directory: where sandboxes are pinned, `<exec-root>/netns`; made where it doesn't exist.
    ///   - ready: how many are kept ready; 0: each is made when it is asked for.
    ///   - executor: where more are made; its threads may block.
    public init(provider: any SandboxProvider, directory: String, ready: Int, executor: any TaskExecutor) {
        self.provider = provider
        self.directory = directory
        self.executor = executor
        state = Mutex(State(wanted: ready))
        mkdir(directory, 0o700)
        refill()
    }

    /// A fresh sandbox, pinned. Blocks its thread for a millisecond when none is ready; one that a container's user
    /// namespace is to own never is. Whoever takes one calls ``refill()`` when there is time; after the last one it happens
    /// at once.
    public func take(owner: NamespaceOwner? = nil) async throws(NetworkingError) -> Sandbox {
        let (ready, isEmpty) = state.withLock { state in
            (owner == nil ? state.ready.popLast() : nil, state.ready.isEmpty)
        }
        if isEmpty { refill() }
        let descriptors: SandboxDescriptors
        if let ready, let taken = ready.take() {
            descriptors = taken
        } else {
            descriptors = try provider.make(owner: owner)
        }
        let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        let name = String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return try Sandbox(pinning: descriptors, at: "\(directory)/\(name)")
    }

    /// Lets go of those that are ready; from here on each is made when it is asked for.
    public func drain() {
        state.withLock { state in
            state.wanted = 0
            state.ready = []
        }
    }

    /// Removes every pin in the directory that isn't among `known`: those of containers that no record names.
    public func removeLeftovers(except known: Set<String>) throws(NetworkingError) {
        for name in (try? FileNames.list(at: directory)) ?? [] {
            let path = "\(directory)/\(String(decoding: name, as: UTF8.self))"
            if known.contains(path) { continue }
            do throws(SystemError) {
                try Pin.remove(path)
            } catch {
                throw NetworkingError(.system, "the network namespace \(path) can't be removed: \(error.reason)")
            }
        }
    }

    /// Makes what is missing, elsewhere. One at a time: namespaces are made under one lock of the kernel's anyway.
    public func refill() {
        let isMine = state.withLock { state in
            guard !state.isRefilling, state.ready.count < state.wanted else { return false }
            state.isRefilling = true
            return true
        }
        guard isMine else { return }
        Task.detached(executorPreference: executor) { [self] in
            while true {
                // Whoever takes one next is told why it can't be made.
                let made = try? ReadySandbox(provider.make(owner: nil))
                let goesOn = state.withLock { state in
                    if let made, state.ready.count < state.wanted { state.ready.append(made) }
                    state.isRefilling = made != nil && state.ready.count < state.wanted
                    return state.isRefilling
                }
                if !goesOn { return }
            }
        }
    }
}
