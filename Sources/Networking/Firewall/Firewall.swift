import Glibc
import LinuxKernel
import Synchronization

/// What happened to our table by someone else's hand.
public enum FirewallEvent: Sendable {
    /// It was deleted or emptied (`nft flush ruleset`, a firewall's reload), and holds again.
    case restored
    /// It was deleted or emptied, and the kernel refuses it.
    case failed(NetworkingError)
}

/// The nftables table of this daemon, `inet mycontainer-<instance>`: translation of published ports, masquerading and
/// the walls between networks.
///
/// Each call is one transaction in the kernel. The table as it should be is kept here too, so that it can be made again
/// at any time. Calls block for about a millisecond; any thread may make them. All of them act on the network namespace
/// in which ``init(instance:)`` ran.
public final class Firewall: Sendable {
    private struct State: ~Copyable {
        let nftables: Nftables
        var networks: [String: FirewallNetwork] = [:]
        var ports: Set<PublishedPort> = []
        var links: Set<LinkedPort> = []
        /// How many ports want an element: several ports of a host may lead to one routed port.
        var uses: [RulesetElement: Int] = [:]
        var isInstalled = false
    }

    let ruleset: Ruleset
    let taskName: String
    private let state: Mutex<State>
    private let connections: ConnectionTable
    private let watcher = Mutex<FirewallWatcher?>(nil)

    /// Changes nothing yet.
    ///
    /// - Parameter instance: the daemon's instance id, 8 hex digits.
    /// - Throws: `.system` with a sentence that says what to do when the kernel has no nftables or forbids it.
    public init(instance: String) throws(NetworkingError) {
        ruleset = Ruleset(instance: instance)
        taskName = String("mynft-\(instance)".prefix(15))
        state = Mutex(State(nftables: try Nftables(taskName: taskName)))
        connections = ConnectionTable()
    }

    /// Makes the whole table, in place of any that is there. The user's own table is made when it is missing.
    public func install(_ new: FirewallState) throws(NetworkingError) {
        for network in new.networks { try Ruleset.check(network) }
        try state.withLock { state throws(NetworkingError) in
            state.networks = Dictionary(new.networks.map { ($0.bridge, $0) }) { _, last in last }
            state.ports = new.ports
            state.links = new.links
            try reinstall(&state)
        }
    }

    /// Makes a network's chains, or makes them anew when they differ. Published ports stay.
    ///
    /// - Throws: `.invalid` for an interface name that nftables has no way to write.
    public func addNetwork(_ network: FirewallNetwork) throws(NetworkingError) {
        try Ruleset.check(network)
        try state.withLock { state throws(NetworkingError) in
            let old = state.networks[network.bridge]
            if old == network, state.isInstalled { return }
            state.networks[network.bridge] = network
            do throws(NetworkingError) {
                // The gateway mode says which elements a published port has: rare, and simplest made anew.
                if old != nil { return try reinstall(&state) }
                try change(&state) {
                    ruleset.addition(of: network) + ruleset.addition(of: ruleset.elements(of: network))
                }
            } catch {
                // One that the kernel refuses must not stand in the way of the others.
                state.networks[network.bridge] = old
                countUses(&state)
                throw error
            }
        }
    }

    /// Removes a network's chains and published ports. Nothing happens when it is not known.
    public func removeNetwork(bridge: String) throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            guard let network = state.networks[bridge] else { return }
            let ports = state.ports.filter { $0.bridge == bridge }
            let unused = release(&state, ports)
            state.networks[bridge] = nil
            try change(&state) {
                ruleset.removal(of: unused) + ruleset.removal(of: ruleset.elements(of: network))
                    + ruleset.removal(of: network)
            }
        }
    }

    /// Leads ports of the host to ports of containers. Ports that are published already stay as they are.
    public func publish(_ ports: [PublishedPort]) throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            let new = Set(ports).subtracting(state.ports)
            if new.isEmpty { return }
            let elements = claim(&state, new)
            do throws(NetworkingError) {
                try change(&state) { ruleset.addition(of: elements) }
            } catch {
                _ = release(&state, new)
                throw error
            }
            connections.forgetEarly(new)
        }
    }

    /// Takes published ports back. New connections find them closed, and datagrams too; a TCP connection goes on until
    /// one side ends it.
    public func unpublish(_ ports: [PublishedPort]) throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            let old = state.ports.intersection(ports)
            let unused = release(&state, old)
            try change(&state) { ruleset.removal(of: unused) }
            connections.forgetLate(old)
        }
    }

    /// Opens ways between containers that are kept apart.
    public func link(_ links: Set<LinkedPort>) throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            let new = links.subtracting(state.links)
            if new.isEmpty { return }
            state.links.formUnion(new)
            do throws(NetworkingError) {
                try change(&state) { ruleset.addition(of: new.map(ruleset.element)) }
            } catch {
                state.links.subtract(new)
                throw error
            }
        }
    }

    /// Closes every way from and to these addresses, which their containers give back.
    public func unlink(_ addresses: Set<IPAddress>) throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            let old = state.links.filter { addresses.contains($0.client) || addresses.contains($0.server) }
            if old.isEmpty { return }
            state.links.subtract(old)
            try change(&state) { ruleset.removal(of: old.map(ruleset.element)) }
        }
    }

    /// Deletes our table. The user's stays.
    public func remove() throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            state.networks = [:]
            state.ports = []
            state.links = []
            state.uses = [:]
            state.isInstalled = false
            try state.nftables.run("add table inet \(ruleset.table)\ndelete table inet \(ruleset.table)\n")
        }
    }

    /// Makes the table again whenever someone else deletes it or something in it, from now until this object goes.
    ///
    /// - Parameter report: called on a thread of the watcher's own, after each time.
    public func watch(_ report: @escaping @Sendable (FirewallEvent) -> Void) throws(NetworkingError) {
        let made = try FirewallWatcher(table: ruleset.table, taskName: taskName) { [weak self] in
            guard let self, let event = self.restore() else { return }
            report(event)
        }
        watcher.withLock { $0 = made }
    }

    /// nil when there is no table to restore.
    private func restore() -> FirewallEvent? {
        state.withLock { state in
            guard state.isInstalled else { return nil }
            do throws(NetworkingError) {
                try reinstall(&state)
                return .restored
            } catch {
                return .failed(error)
            }
        }
    }

    /// The ruleset as the kernel has it, for `list table`; for tests and reports.
    func listing() throws(NetworkingError) -> String {
        try state.withLock { state throws(NetworkingError) in
            try state.nftables.run("list table inet \(ruleset.table)\n")
        }
    }

    // MARK: Under the lock

    /// Counts what ports need, and returns the elements that are new.
    private func claim(_ state: inout State, _ ports: Set<PublishedPort>) -> [RulesetElement] {
        state.ports.formUnion(ports)
        var new: [RulesetElement] = []
        for element in elements(state.networks, ports) {
            state.uses[element, default: 0] += 1
            if state.uses[element] == 1 { new.append(element) }
        }
        return new
    }

    /// The reverse of ``claim``: returns the elements that nobody needs any more.
    private func release(_ state: inout State, _ ports: Set<PublishedPort>) -> [RulesetElement] {
        state.ports.subtract(ports)
        var unused: [RulesetElement] = []
        for element in elements(state.networks, ports) {
            guard let count = state.uses[element] else { continue }
            state.uses[element] = count > 1 ? count - 1 : nil
            if count == 1 { unused.append(element) }
        }
        return unused
    }

    private func elements(_ networks: [String: FirewallNetwork], _ ports: Set<PublishedPort>) -> [RulesetElement] {
        ports.flatMap { ruleset.elements(of: $0, on: networks[$0.bridge]) }
    }

    /// Makes a small change. Where the kernel refuses it, the table was not as we thought: then the whole is made anew.
    private func change(_ state: inout State, _ script: () -> String) throws(NetworkingError) {
        guard state.isInstalled else { return try reinstall(&state) }
        let script = script()
        if script.isEmpty { return }
        do throws(NetworkingError) {
            try state.nftables.run(script)
        } catch {
            try reinstall(&state)
        }
    }

    private func countUses(_ state: inout State) {
        state.uses = [:]
        for element in elements(state.networks, state.ports) { state.uses[element, default: 0] += 1 }
    }

    private func reinstall(_ state: inout State) throws(NetworkingError) {
        countUses(&state)
        let networks = state.networks.values.sorted { $0.bridge < $1.bridge }
        let all = networks.flatMap(ruleset.elements(of:)) + state.uses.keys + state.links.map(ruleset.element)
        // Deleting what was just added is how a script says "delete if it exists".
        try state.nftables.run(
            """
            add table inet \(ruleset.table)
            delete table inet \(ruleset.table)
            \(ruleset.skeleton(networks))
            \(ruleset.addition(of: all))
            """)
        state.isInstalled = true
        try makeUserTable(&state)
    }

    /// A chain for the administrator's own rules. Whatever is in it stays, even where it is hooked differently.
    private func makeUserTable(_ state: inout State) throws(NetworkingError) {
        let name = Ruleset.userTable
        if (try? state.nftables.run("list chain inet \(name) forward\n")) != nil { return }
        try state.nftables.run(
            """
            table inet \(name) {
                chain forward { type filter hook forward priority filter - 1; policy accept; }
            }
            """)
    }
}
