import LinuxKernel
import Networking

/// What a daemon that starts makes of the networks that it finds.
extension Engine {
    /// Takes up the networks of the containers that run, and removes what nobody has.
    func adoptNetworks() {
        var runs: [AdoptedRun] = []
        for container in registry.all where container.lifecycle.isRunning {
            guard let state = NetworkState.read(from: paths.bundle(container.id)) else { continue }
            runs.append(adopted(container, state))
        }
        // Containers that the database doesn't know, or can't tell of, but that live: theirs is left alone.
        let strangers = unknownStates()
        let states = runs.map(\.run.state) + strangers
        var users: [NetworkRecord: Int] = [:]
        for state in states {
            for endpoint in state.endpoints {
                if let network = networks.network(endpoint.network) { users[network, default: 0] += 1 }
            }
        }
        do {
            try hostNetworks.adopt(
                users, published: Set(states.flatMap(\.ports)),
                linked: linkedPorts(runs.map { ($0.container.record, $0.run.state) }))
        } catch {
            log("the networks of running containers could not be taken up: \(error)")
        }
        for run in runs { takeUp(run) }
        let links = states.flatMap(\.endpoints).compactMap(\.attachment.hostName) + users.keys.map(\.interface)
        hostNetworks.removeLeftovers(links: Set(links), sandboxes: Set(states.map(\.sandbox)))
    }

    private func unknownStates() -> [NetworkState] {
        var states: [NetworkState] = []
        for name in (try? Files.list(paths.bundles)) ?? [] {
            let bundle = paths.bundle(name)
            guard registry.container(name) == nil, MonitorLock.isHeld(bundle),
                let state = NetworkState.read(from: bundle)
            else { continue }
            lease(state, for: name)
            states.append(state)
        }
        return states
    }

    /// Takes the addresses of a container that runs since an earlier daemon.
    private func lease(_ state: NetworkState, for id: String) {
        for endpoint in state.endpoints {
            for address in endpoint.addresses {
                do {
                    _ = try hostNetworks.addresses.withLock { addresses throws(NetworkingError) in
                        try addresses.allocate(
                            in: endpoint.network, isIPv6: address.isIPv6, preferred: address.address)
                    }
                } catch {
                    log("container \(id) has the address \(address), which can't be its own: \(error)")
                }
            }
        }
    }

    /// A container's networks as an earlier daemon left them.
    private struct AdoptedRun {
        let container: Container
        var run: NetworkRun
        /// Whether a change to its networks was cut short.
        var isTorn = false
    }

    /// The run as this daemon holds it: its addresses and ports are taken again.
    private func adopted(_ container: Container, _ state: NetworkState) -> AdoptedRun {
        var adopted = AdoptedRun(container: container, run: NetworkRun())
        adopted.run.state = state
        let settings = networks(of: container.record)
        adopted.run.hasFixedAddress = state.endpoints.contains { settings[$0.networkName]?.hasFixedAddress ?? false }
        do {
            adopted.run.sandbox = try hostNetworks.sandbox(at: state.sandbox)
        } catch {
            log("the network namespace of container \(container.id) can't be opened: \(error)")
        }
        // To be connected is to be recorded, and to be disconnected too: what is half done is undone.
        for endpoint in state.endpoints where settings[endpoint.networkName] == nil {
            detach(endpoint, from: adopted.run.sandbox, of: container.id)
            adopted.run.state.endpoints.removeAll { $0.id == endpoint.id }
            if endpoint.isGateway { adopted.run.state.ports = [] }
            adopted.isTorn = true
        }
        lease(adopted.run.state, for: container.id)
        let ports = adopted.run.state.ports
        if !ports.isEmpty { adopted.run.reservations = [hostNetworks.ports.restore(ports)] }
        return adopted
    }

    private func takeUp(_ adopted: AdoptedRun) {
        let container = adopted.container
        var run = adopted.run
        let record = container.record
        do {
            if adopted.isTorn {
                container.setNetwork(run)
                try reroute(&run, record, networks(of: record), always: true)
                try settle(run, of: container)
            }
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
