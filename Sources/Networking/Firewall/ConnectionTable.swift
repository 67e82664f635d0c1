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
        let numbers = [TransportProtocol.tcp: IPPROTO_TCP, .udp: IPPROTO_UDP, .sctp: IPPROTO_SCTP]
        for isIPv6 in [false, true] {
            for (transport, number) in numbers {
                let group = ports.filter {
                    $0.isTranslated && $0.hostAddress.isIPv6 == isIPv6 && $0.transport == transport
                }
                guard let first = group.first else { continue }
                let byNumber = Dictionary(grouping: group, by: \.hostPort)
                // The table is read once, however many ports there are.
                let filter = ConnectionFilter(
                    isIPv6: isIPv6, transport: UInt8(number), port: byNumber.count == 1 ? first.hostPort : nil)
                try? connections.forgetConnections(filter) { connection in
                    byNumber[connection.port]?.contains { isMeant(connection, $0) } ?? false
                }
            }
        }
    }

    private func localAddresses() -> Set<IPAddress> {
        Set(((try? routes?.addresses()) ?? []).map(\.address.address))
    }
}
