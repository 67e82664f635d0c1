import NIOCore
import NIOPosix

/// Carries in the daemon what the kernel's translation can't: see ``PublishedPort/isRelayed``. The container sees the
/// host's address, not the client's.
final class PortRelay: Sendable {
    private let server: any Channel
    private let channels = RelayChannels()

    init(_ port: PublishedPort, _ socket: HostSocket, group: any EventLoopGroup) throws(NetworkingError) {
        do {
            let container = try SocketAddress(ipAddress: "\(port.containerAddress)", port: Int(port.containerPort))
            let descriptor = try socket.open()
            switch port.transport {
            case .tcp: server = try StreamRelay.start(descriptor, to: container, channels, group)
            case .udp: server = try DatagramRelay.start(descriptor, to: container, channels, group)
            case .sctp: preconditionFailure("SCTP is never relayed")
            }
        } catch {
            throw NetworkingError(.system, "the relay of \(port) can't be started: \(error)")
        }
    }

    /// Ends it with its connections. When it returns the port is free to be bound again; only on an event loop, which
    /// can't wait for itself, that comes a moment later.
    func stop() {
        channels.closeAll()
        let closed = server.close()
        if MultiThreadedEventLoopGroup.currentEventLoop == nil { try? closed.wait() }
    }
}
