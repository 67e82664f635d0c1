import Glibc
import LinuxKernel
import NIOCore
import NIOPosix
import Synchronization

/// One `-p`: a port of a container, and where on the host it is wanted.
public struct PortRequest: Hashable, Sendable {
    public var transport: TransportProtocol
    /// nil: every address, IPv4 and IPv6 (where the host has it). A network's `host_binding_ipv4` other than 0.0.0.0
    /// goes here when the user named none.
    public var hostAddress: IPAddress?
    /// nil: a free one of the kernel's ephemeral range. Of a range, the first that is free.
    public var hostPorts: ClosedRange<UInt16>?
    public var containerPort: UInt16
    public var containerIPv4: IPAddress?
    public var containerIPv6: IPAddress?
    /// The name of the bridge that the container is on.
    public var bridge: String

    public init(
        transport: TransportProtocol, hostAddress: IPAddress? = nil, hostPorts: ClosedRange<UInt16>? = nil,
        containerPort: UInt16, containerIPv4: IPAddress?, containerIPv6: IPAddress? = nil, bridge: String
    ) {
        self.transport = transport
        self.hostAddress = hostAddress
        self.hostPorts = hostPorts
        self.containerPort = containerPort
        self.containerIPv4 = containerIPv4
        self.containerIPv6 = containerIPv6
        self.bridge = bridge
    }
}

/// The host's ports that containers have. A port is held by a bound socket, so that a program of the host that has it
/// already, or wants it later, hears of it.
public final class HostPorts: Sendable {
    private let books = Mutex(PortBooks())
    private let group: any EventLoopGroup
    private let relaysAll: Bool

    /// - Parameters:
    ///   - group: runs the relays. Sockets are made in the network namespace of the calling thread and, for a relay's
    ///     connections to containers, in the one of the group's threads: it must be the same.
    ///   - relaysAll: also what the kernel could translate, because no firewall of ours tells it to.
    public init(group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, relaysAll: Bool = false) {
        self.group = group
        self.relaysAll = relaysAll
    }

    /// Reserves all that is requested, or nothing.
    ///
    /// - Returns: a reservation for each request, in their order.
    /// - Throws: `.conflict` with Docker's texts when a port is taken by another container or by a program of the host,
    ///   `.invalid` for a host address of a family that the container lacks.
    public func reserve(_ requests: [PortRequest]) throws(NetworkingError) -> [PortReservation] {
        var made: [PortReservation] = []
        do {
            for request in requests { made.append(try reserve(request)) }
        } catch {
            made.forEach { $0.release() }
            throw error
        }
        return made
    }

    /// Takes over ports that running containers have since an earlier daemon. It always succeeds: a port that a program
    /// of the host got meanwhile is held without a socket, since the kernel's translation goes first anyway.
    public func restore(_ ports: [PublishedPort]) -> PortReservation {
        books.withLock { books in
            for port in ports { books.take(port.transport, port.hostPort, [port.hostAddress]) }
        }
        return PortReservation(self, ports.map { HeldPort(port: $0, socket: try? HostSocket(bound: $0)) })
    }

    private func reserve(_ request: PortRequest) throws(NetworkingError) -> PortReservation {
        guard !relaysAll || request.transport != .sctp else {
            throw NetworkingError(
                .invalid,
                "port \(request.containerPort)/sctp can't be published: the daemon was started with --iptables=false, and "
                    + "without rules of the firewall only TCP and UDP are relayed")
        }
        let addresses = request.targets().map(\.host)
        guard !addresses.isEmpty else {
            let asked = request.hostAddress.map { " to \($0)" } ?? ""
            throw NetworkingError(
                .invalid,
                "port \(request.containerPort)/\(request.transport.rawValue) can't be published\(asked):"
                    + " the container has no address of that family on its networks")
        }
        let candidates = request.hostPorts ?? EphemeralPorts.range()
        let isChosen = request.hostPorts == nil
        let excluded = isChosen ? EphemeralPorts.excluded() : []
        let isSingle = candidates.count == 1
        var start = isChosen ? books.withLock { $0.nextEphemeral(in: candidates) } : candidates.lowerBound
        var failure: NetworkingError?
        for _ in candidates {
            let port = start
            start = start == candidates.upperBound ? candidates.lowerBound : start + 1
            if excluded.contains(where: { $0.contains(port) }) { continue }
            let free = books.withLock { $0.takeIfFree(request.transport, port, addresses) }
            guard free else {
                if isSingle {
                    throw NetworkingError(
                        .conflict,
                        "Bind for \(PublishedPort.text(addresses[0], port)) failed: port is already allocated")
                }
                continue
            }
            do {
                var held: [HeldPort] = []
                for target in request.targets() {
                    let published = PublishedPort(
                        transport: request.transport, hostAddress: target.host, hostPort: port,
                        containerAddress: target.container, containerPort: request.containerPort,
                        bridge: request.bridge)
                    held.append(HeldPort(port: published, socket: try HostSocket(bound: published)))
                }
                if isChosen { books.withLock { $0.lastEphemeral = port } }
                return PortReservation(self, held)
            } catch {
                books.withLock { $0.release(request.transport, port, addresses) }
                failure = error
                // Only a port that is in use makes another one worth trying.
                if isSingle || error.kind != .conflict { throw error }
            }
        }
        throw failure ?? NetworkingError(.conflict, "all ports are allocated")
    }

    fileprivate func release(_ port: PublishedPort) {
        books.withLock { $0.release(port.transport, port.hostPort, [port.hostAddress]) }
    }

    fileprivate func makeRelay(_ held: HeldPort) throws(NetworkingError) -> PortRelay? {
        guard relaysAll || held.port.isRelayed, let socket = held.socket else { return nil }
        return try PortRelay(held.port, socket, group: group)
    }
}

struct HeldPort: Sendable {
    let port: PublishedPort
    let socket: HostSocket?
}

/// Ports of the host that are held for one container, until ``release()`` or until this object goes.
public final class PortReservation: Sendable {
    private struct State {
        var held: [HeldPort]
        var relays: [PublishedPort: PortRelay] = [:]
    }

    private let owner: HostPorts
    private let state: Mutex<State>

    fileprivate init(_ owner: HostPorts, _ held: [HeldPort]) {
        self.owner = owner
        state = Mutex(State(held: held))
    }

    deinit { release() }

    /// What is held, one entry a host address.
    public var ports: [PublishedPort] { state.withLock { $0.held.map(\.port) } }

    /// Starts the relays for what the kernel's translation can't carry. To be called when the container's addresses are
    /// set up and ``Firewall/publish(_:)`` is done: until then connections find a port that doesn't answer.
    ///
    /// - Throws: `.system` when there are no threads or descriptors left.
    public func activate() throws(NetworkingError) {
        try state.withLock { state throws(NetworkingError) in
            for held in state.held where state.relays[held.port] == nil {
                state.relays[held.port] = try owner.makeRelay(held)
            }
        }
    }

    /// Gives the ports back and ends the relays with their connections. Does nothing the second time.
    public func release() { release(where: { _ in true }) }

    /// Gives some of the ports back.
    public func release(where isReleased: (PublishedPort) -> Bool) {
        let (gone, relays) = state.withLock { state in
            let gone = state.held.filter { isReleased($0.port) }
            state.held.removeAll { isReleased($0.port) }
            return (gone, gone.compactMap { state.relays.removeValue(forKey: $0.port) })
        }
        relays.forEach { $0.stop() }
        for held in gone {
            held.socket?.close()
            owner.release(held.port)
        }
    }
}
