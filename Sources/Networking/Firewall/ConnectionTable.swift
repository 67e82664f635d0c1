import CLinux
import Glibc
import LinuxKernel

/// The kernel's connection table, where it must forget so that a port's rules hold. The first packet of a connection
/// decides where all the others go; with UDP it lasts for as long as someone sends.
///
/// Best effort: without it such a client has to pause, or to come from another port.
struct ConnectionTable: Sendable {
    /// nil where the kernel doesn't tell.
    private let connections: NetlinkSocket?
    private let routes: NetlinkSocket?

    init() {
        connections = try? NetlinkSocket(family: .netfilter)
        routes = try? NetlinkSocket()
    }

    /// Forgets who tried before the ports were published: the kernel takes it for talk with the host itself.
    func forgetEarly(_ ports: Set<PublishedPort>) {
        var locals: Set<IPAddress>?
        forget(ports) { connection, port in
            guard connection.responder == connection.destination,
                port.hostAddress.isUnspecified || port.hostAddress == connection.destination
            else { return false }
            // What is only passed on to somebody else's port of this number is none of ours.
            if locals == nil { locals = localAddresses() }
            return connection.destination.isLoopback || locals!.contains(connection.destination)
        }
    }

    /// Forgets datagrams' senders who would go on to reach whoever has the container's address next.
    func forgetLate(_ ports: Set<PublishedPort>) {
        forget(ports.filter { $0.transport == .udp }) { $0.responder == $1.containerAddress }
    }

    private func forget(_ ports: Set<PublishedPort>, where isMeant: (TrackedConnection, PublishedPort) -> Bool) {
        guard let connections else { return }
        for port in ports where port.isTranslated {
            let transport = [TransportProtocol.tcp: IPPROTO_TCP, .udp: IPPROTO_UDP, .sctp: IPPROTO_SCTP][
                port.transport]!
            let filter = ConnectionFilter(
                isIPv6: port.hostAddress.isIPv6, transport: UInt8(transport), port: port.hostPort)
            try? connections.forgetConnections(filter) { isMeant($0, port) }
        }
    }

    private func localAddresses() -> Set<IPAddress> {
        Set(((try? routes?.addresses()) ?? []).map(\.address.address))
    }
}
