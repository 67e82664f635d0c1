import LinuxKernel
import Networking

/// What a daemon that starts makes of the networks that it finds.
extension Engine {
    /// Takes up the networks of the containers that run, and removes what nobody has.
    func adoptNetworks() {
        var runs: [(container: Container, run: NetworkRun)] = []
        for container in registry.all where container.lifecycle.isRunning {
            guard let state = NetworkState.read(from: paths.bundle(container.id)) else { continue }
            runs.append((container, adopted(container, state)))
        }
        var users: [NetworkRecord: Int] = [:]
        for (_, run) in runs {
            for endpoint in run.state.endpoints {
                if let network = networks.network(endpoint.network) { users[network, default: 0] += 1 }
            }
        }
        do {
            try hostNetworks.adopt(users, published: Set(runs.flatMap(\.run.state.ports)))
        } catch {
            log("the networks of running containers could not be taken up: \(error)")
        }
        for (container, run) in runs { takeUp(container, run) }
        let links = runs.flatMap(\.run.state.endpoints).compactMap(\.attachment.hostName) + users.keys.map(\.interface)
        hostNetworks.removeLeftovers(links: Set(links), sandboxes: Set(runs.map(\.run.state.sandbox)))
    }

    /// The run as this daemon holds it: its addresses and ports are taken again.
    private func adopted(_ container: Container, _ state: NetworkState) -> NetworkRun {
        var run = NetworkRun()
        run.state = state
        let settings = networks(of: container.record)
        run.hasFixedAddress = state.endpoints.contains { settings[$0.networkName]?.hasFixedAddress ?? false }
        for endpoint in state.endpoints {
            for address in endpoint.addresses {
                do {
                    _ = try hostNetworks.addresses.withLock { addresses throws(NetworkingError) in
                        try addresses.allocate(
                            in: endpoint.network, isIPv6: address.isIPv6, preferred: address.address)
                    }
                } catch {
                    log("container \(container.id) has the address \(address), which can't be its own: \(error)")
                }
            }
        }
        if !state.ports.isEmpty { run.reservations = [hostNetworks.ports.restore(state.ports)] }
        do {
            run.sandbox = try hostNetworks.sandbox(at: state.sandbox)
        } catch {
            log("the network namespace of container \(container.id) can't be opened: \(error)")
        }
        return run
    }

    private func takeUp(_ container: Container, _ run: NetworkRun) {
        let record = container.record
        do {
            for reservation in run.reservations { try reservation.activate() }
            try serveNames(record, run, resolvConf(record, run.state).resolver)
        } catch {
            log("container \(container.id): \(error)")
        }
        container.setNetwork(run)
        // It may have ended in the meantime.
        if !container.lifecycle.isRunning { leaveNetworks(container) }
    }
}
