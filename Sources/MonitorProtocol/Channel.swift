import FoundationEssentials
import Glibc
import LinuxKernel
import OCI

/// Why a packet could not be sent or received.
public enum ChannelError: Error, Sendable, CustomStringConvertible {
    /// The other side closed its end. Nothing more will come, and nothing more arrives there.
    case closed
    /// Non-blocking: nothing to receive, or no room to send. Wait for the descriptor and try again.
    case wouldBlock
    /// A packet longer than ``MonitorProtocol/maximumPacket``.
    case tooLarge(bytes: Int)
    /// The packet was received whole and thrown away; the channel can still be used. `sequence` is that of the
    /// packet where it could be read, so that the refusal can be a reply.
    case malformed(String, sequence: UInt64?)
    /// Somebody other than root or this process's own user connected.
    case peerRefused(uid: UInt32)
    case system(SystemError)

    public var description: String {
        switch self {
        case .closed: "the other side closed the connection"
        case .wouldBlock: "the socket is not ready"
        case .tooLarge(let bytes):
            "a message of \(bytes) bytes is longer than the \(MonitorProtocol.maximumPacket) that a packet may have"
        case .malformed(let why, _): "a message could not be understood: \(why)"
        case .peerRefused(let uid): "refused a connection from uid \(uid): only root may control a container"
        case .system(let error): error.description
        }
    }
}

/// One end of a conversation between a daemon and a monitor: a connected `SOCK_SEQPACKET` unix socket on which every
/// packet is one JSON document with at most one descriptor beside it.
///
/// The same end works blocking (`blocking: true`, a thread of the daemon) and non-blocking (an epoll loop); the socket
/// itself stays in blocking mode, each call says what it wants. One thread may receive while another sends.
public struct MonitorChannel: ~Copyable, Sendable {
    private let socket: FileDescriptor

    /// For `epoll_ctl`, `poll` and handing the end to a child. Stays owned by the channel.
    public var rawDescriptor: Int32 { socket.raw }

    /// Whether a packet (or the end) waits to be received.
    public var hasPacket: Bool {
        var state = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
        return poll(&state, 1, 0) > 0
    }

    /// Takes over a connected `SOCK_SEQPACKET` socket.
    public init(adopting socket: consuming FileDescriptor) {
        self.socket = socket
        // The default send buffer (212,992 bytes) is less than the largest packet; the kernel doubles what is asked.
        var size = Int32(MonitorProtocol.maximumPacket)
        _ = setsockopt(self.socket.raw, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Two connected ends, both close-on-exec: one for the daemon, one for the monitor that it is about to start.
    /// What is sent on `daemon` before the monitor runs is queued (about 400 KiB), so a start costs no round trip.
    public static func pair() throws(SystemError) -> MonitorChannelPair {
        var ends: [Int32] = [-1, -1]
        try checked("socketpair") {
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
        }
        return MonitorChannelPair(
            daemon: MonitorChannel(adopting: FileDescriptor(owning: ends[0])),
            monitor: MonitorChannel(adopting: FileDescriptor(owning: ends[1])))
    }

    /// Connects to the monitor of the container whose bundle is `directory`. `ENOENT` or `ECONNREFUSED`: none lives.
    public static func connect(bundle directory: String) throws(SystemError) -> MonitorChannel {
        let socket = try newSocket()
        try withShortAddress(directory: directory, name: MonitorProtocol.socketName) {
            (address, length) throws(SystemError) in
            try checked("connect to \(directory)/\(MonitorProtocol.socketName)") {
                Glibc.connect(socket.raw, address, length)
            }
        }
        return MonitorChannel(adopting: socket)
    }

    /// Sends one message. The descriptor is duplicated into the packet, it stays the caller's.
    public func send<Message: Encodable>(
        _ message: Message, descriptor: Int32? = nil, blocking: Bool = true
    ) throws(ChannelError) {
        try send(packet: MonitorChannel.encode(message), descriptor: descriptor, blocking: blocking)
    }

    /// The bytes that ``send(_:descriptor:blocking:)`` would send.
    public static func encode<Message: Encodable>(_ message: Message) throws(ChannelError) -> [UInt8] {
        do {
            return try JSONTextEncoder.encode(message)
        } catch {
            throw .malformed("\(error)", sequence: nil)
        }
    }

    /// Sends an encoded message.
    public func send(packet: [UInt8], descriptor: Int32? = nil, blocking: Bool = true) throws(ChannelError) {
        guard packet.count <= MonitorProtocol.maximumPacket else { throw .tooLarge(bytes: packet.count) }
        do throws(SystemError) {
            try sendPacket(socket.raw, packet, descriptor, flags: blocking ? 0 : Int32(MSG_DONTWAIT))
        } catch {
            throw ChannelError(error)
        }
    }

    /// Receives one message. End of file is the error ``ChannelError/closed``.
    public func receive<Message: Decodable>(
        _ type: Message.Type, blocking: Bool = true
    ) throws(ChannelError) -> ReceivedMessage<Message> {
        let packet = try receivePacket(socket.raw, blocking: blocking)
        do {
            let message = try JSONDecoder().decode(type, from: Data(packet.bytes))
            return ReceivedMessage(message: message, packet: packet)
        } catch {
            let envelope = try? JSONDecoder().decode(Envelope.self, from: Data(packet.bytes))
            throw .malformed("\(error)", sequence: envelope?.sequence)
        }
    }

    /// Receives one packet as it is.
    func nextPacket() throws(ChannelError) -> ReceivedPacket {
        try receivePacket(socket.raw, blocking: true)
    }

    /// Ends the conversation in both directions; a thread blocked in `receive` gets ``ChannelError/closed``.
    public func shutdown() {
        _ = Glibc.shutdown(socket.raw, Int32(SHUT_RDWR))
    }

    /// Gives the socket away.
    public consuming func release() -> FileDescriptor { socket }

    private struct Envelope: Decodable { var sequence: UInt64 }
}

/// Both ends of a fresh conversation.
public struct MonitorChannelPair: ~Copyable, Sendable {
    public var daemon: MonitorChannel
    public var monitor: MonitorChannel

    /// Splits the pair: `use` gets both ends and owns them.
    public consuming func split<Result>(
        _ use: (consuming MonitorChannel, consuming MonitorChannel) throws -> Result
    ) rethrows -> Result {
        try use(daemon, monitor)
    }
}

/// A message and the descriptor that came with it; a descriptor nobody takes is closed.
public struct ReceivedMessage<Message>: ~Copyable {
    public let message: Message
    private var descriptor: FileDescriptor?

    init(message: Message, packet: consuming ReceivedPacket) {
        self.message = message
        descriptor = packet.takeDescriptor()
    }

    /// The descriptor (close-on-exec), once.
    public mutating func takeDescriptor() -> FileDescriptor? {
        descriptor.take()
    }
}

/// Where monitors are reached: `<bundle>/monitor.sock`.
public struct MonitorListener: ~Copyable, Sendable {
    private let socket: FileDescriptor

    public var rawDescriptor: Int32 { socket.raw }

    /// Binds and listens, mode 0600. The caller holds the bundle's lock: a socket left by a dead monitor is replaced.
    public init(bundle directory: String) throws(SystemError) {
        let socket = try newSocket(extraFlags: SOCK_NONBLOCK.rawValue)
        // The mode of the socket's inode becomes that of the file: no moment at which others can connect.
        try checked("fchmod") { fchmod(socket.raw, 0o600) }
        try withShortAddress(directory: directory, name: MonitorProtocol.socketName) {
            (address, length) throws(SystemError) in
            if bind(socket.raw, address, length) == 0 { return }
            guard errno == EADDRINUSE else {
                throw SystemError.current("bind \(directory)/\(MonitorProtocol.socketName)")
            }
            unlink("\(directory)/\(MonitorProtocol.socketName)")
            try checked("bind \(directory)/\(MonitorProtocol.socketName)") { bind(socket.raw, address, length) }
        }
        try checked("listen") { listen(socket.raw, 16) }
        self.socket = socket
    }

    /// Accepts one connection; ``ChannelError/wouldBlock`` when there is none. A peer other than root or the own user
    /// is disconnected (``ChannelError/peerRefused(uid:)``), whatever the file's mode let through.
    public func accept() throws(ChannelError) -> MonitorChannel {
        // accept4(2) is not visible from Swift; the monitor has one thread, so nothing can fork in between.
        let raw = Glibc.accept(socket.raw, nil, nil)
        guard raw >= 0, fcntl(raw, F_SETFD, FD_CLOEXEC) >= 0 else {
            throw ChannelError(SystemError.current("accept"))
        }
        let connection = FileDescriptor(owning: raw)
        // struct ucred: pid, uid, gid (unix(7)).
        var peer: [UInt32] = [0, 0, 0]
        var length = socklen_t(12)
        guard getsockopt(raw, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 else {
            throw ChannelError(SystemError.current("getsockopt SO_PEERCRED"))
        }
        guard peer[1] == 0 || peer[1] == geteuid() else { throw .peerRefused(uid: peer[1]) }
        return MonitorChannel(adopting: connection)
    }
}

extension ChannelError {
    init(_ error: SystemError) {
        switch error.errno {
        case EAGAIN: self = .wouldBlock
        case EPIPE, ECONNRESET, ENOTCONN: self = .closed
        default: self = .system(error)
        }
    }
}
