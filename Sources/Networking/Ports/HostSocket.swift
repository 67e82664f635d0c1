import Glibc
import LinuxKernel
import Synchronization

/// A socket that holds one port of the host. Nothing reaches it until ``open()``.
final class HostSocket: Sendable {
    /// -1 when closed.
    private let descriptor: Mutex<Int32>

    /// - Throws: `.conflict` with Docker's text when the port is in use.
    init(bound port: PublishedPort) throws(NetworkingError) {
        do {
            descriptor = Mutex(try HostSocket.make(port))
        } catch {
            // A kernel without SCTP translates it all the same. Then there is no program to collide with either.
            if port.transport == .sctp, error.errno == EPROTONOSUPPORT || error.errno == ESOCKTNOSUPPORT {
                descriptor = Mutex(-1)
                return
            }
            let reason = error.reason.prefix(1).lowercased() + error.reason.dropFirst()
            throw NetworkingError(
                error.errno == EADDRINUSE ? .conflict : .system, "failed to bind host port for \(port): \(reason)")
        }
    }

    deinit { close() }

    func close() {
        descriptor.withLock { descriptor in
            // A process that is being started may hold a copy until it executes: nobody is to connect to that one.
            if descriptor >= 0 {
                shutdown(descriptor, Int32(SHUT_RDWR))
                Glibc.close(descriptor)
            }
            descriptor = -1
        }
    }

    /// A descriptor of the same socket for its relay to own, which from now on receives.
    func open() throws(SystemError) -> Int32 {
        try descriptor.withLock { descriptor throws(SystemError) in
            let copy = try checked("duplicate a socket") { fcntl(descriptor, F_DUPFD_CLOEXEC, 3) }
            var ignored = Int32(0)
            setsockopt(copy, SOL_SOCKET, SO_DETACH_FILTER, &ignored, 4)
            return copy
        }
    }

    private static func make(_ port: PublishedPort) throws(SystemError) -> Int32 {
        let family = port.hostAddress.isIPv6 ? AF_INET6 : AF_INET
        let isDatagram = port.transport == .udp
        let type = Int32((isDatagram ? SOCK_DGRAM : SOCK_STREAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let transport = [TransportProtocol.tcp: IPPROTO_TCP, .udp: IPPROTO_UDP, .sctp: IPPROTO_SCTP][port.transport]!
        let socket = FileDescriptor(
            owning: try checked("socket") { Glibc.socket(family, type, Int32(transport)) })
        var yes = Int32(1)
        let size = socklen_t(MemoryLayout<Int32>.size)
        // Connections of an earlier relay may linger in TIME_WAIT.
        if port.transport == .tcp { setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &yes, size) }
        if family == AF_INET6 { setsockopt(socket.raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &yes, size) }
        // Before it is bound, so that nothing ever queues: what comes while no rule leads it on (the container starts,
        // the ruleset was flushed) is dropped, and its sender tries again. A refused connection would not be.
        try dropAll(socket.raw)
        try bind(socket.raw, port)
        // With SO_REUSEADDR a port is taken only when someone listens.
        if !isDatagram { try checked("listen") { listen(socket.raw, 4096) } }
        return socket.release()
    }

    private static func bind(_ socket: Int32, _ port: PublishedPort) throws(SystemError) {
        let bytes = port.hostAddress.bytes
        try checked("bind") {
            if port.hostAddress.isIPv6 {
                var address = sockaddr_in6()
                address.sin6_family = sa_family_t(AF_INET6)
                address.sin6_port = port.hostPort.bigEndian
                withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: bytes) }
                return bind(socket, &address)
            }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.hostPort.bigEndian
            withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: bytes) }
            return bind(socket, &address)
        }
    }

    private static func bind<Address>(_ socket: Int32, _ address: inout Address) -> Int32 {
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(socket, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
    }

    /// A classic BPF program of one instruction, `ret #0`: the kernel drops what arrives. See filter.rst of the kernel's
    /// networking documentation.
    private static func dropAll(_ socket: Int32) throws(SystemError) {
        // struct sock_filter { __u16 code; __u8 jt, jf; __u32 k; }
        var instruction: (UInt16, UInt8, UInt8, UInt32) = (0x06, 0, 0, 0)
        try checked("attach a socket filter") {
            withUnsafeMutablePointer(to: &instruction) { pointer in
                // struct sock_fprog { unsigned short len; struct sock_filter *filter; }
                var program: (UInt16, UnsafeMutableRawPointer) = (1, UnsafeMutableRawPointer(pointer))
                return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, 16)
            }
        }
    }
}

extension PortRequest {
    /// Where the port leads from and to: at one host address, or at every one of both families.
    func targets() -> [(host: IPAddress, container: IPAddress)] {
        var targets: [(host: IPAddress, container: IPAddress)] = []
        if hostAddress.map({ !$0.isIPv6 }) ?? true, let containerIPv4 {
            targets.append((hostAddress ?? .anyIPv4, containerIPv4))
        }
        // A container without IPv6 is reached over IPv6 through a relay.
        if hostAddress?.isIPv6 ?? HostSocket.hasIPv6(), let container = containerIPv6 ?? containerIPv4,
            transport != .sctp || container.isIPv6
        {
            targets.append((hostAddress ?? .anyIPv6, container))
        }
        return targets
    }
}

extension HostSocket {
    /// Whether ::1 can be bound: not where IPv6 is off (`ipv6.disable=1`, `disable_ipv6`).
    static func hasIPv6() -> Bool {
        let raw = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { return false }
        let probe = FileDescriptor(owning: raw)
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        withUnsafeMutableBytes(of: &address.sin6_addr) { $0[15] = 1 }
        return bind(probe.raw, &address) == 0
    }
}
