import Glibc
import LinuxKernel
import MonitorProtocol

/// The sockets that a container reaches as 127.0.0.11:53.
///
/// They are not bound to port 53, which would keep a container from serving names itself on 0.0.0.0:53: nftables rules
/// of the namespace lead there. Where the kernel has no nftables, they are bound to it after all.
enum ResolverEndpoint {
    private static let address: UInt32 = 0x7F00_000B
    private static let port: UInt16 = 53
    /// `nft list table ip mycontainer-names` shows it inside.
    private static let table = "mycontainer-names"
    private static let backlog: Int32 = 64

    /// Adds both sockets, or none where something has the address already.
    static func open(
        into descriptors: inout NetworkNamespaceDescriptors, namespaceIsNew: Bool
    ) throws(SystemError) {
        let redirected = try open(port: 0, into: &descriptors) {
            redirect(udp: $0, tcp: $1, replacing: !namespaceIsNew)
        }
        if redirected { return }
        _ = try open(port: port, into: &descriptors) { _, _ in true }
    }

    private static func open(
        port: UInt16, into descriptors: inout NetworkNamespaceDescriptors, accept: (UInt16, UInt16) -> Bool
    ) throws(SystemError) -> Bool {
        guard let udp = try bound(SOCK_DGRAM, port), let tcp = try bound(SOCK_STREAM, port) else { return false }
        try checked("listen") { listen(tcp.raw, backlog) }
        guard accept(try boundPort(udp.raw), try boundPort(tcp.raw)) else { return false }
        descriptors.put(.resolverUDP, udp)
        descriptors.put(.resolverTCP, tcp)
        return true
    }

    private static func redirect(udp: UInt16, tcp: UInt16, replacing: Bool) -> Bool {
        let rules = PortRewriting(address: .v4(address), port: port, udpPort: udp, tcpPort: tcp)
        guard let socket = try? NetlinkSocket(family: .netfilter) else { return false }
        return (try? rules.install(table: table, replacing: replacing, over: socket)) != nil
    }

    /// A non-blocking socket; nil where something has its address already.
    private static func bound(_ type: __socket_type, _ port: UInt16) throws(SystemError) -> FileDescriptor? {
        let flags = SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let socket = FileDescriptor(
            owning: try checked("socket") { Glibc.socket(AF_INET, Int32(type.rawValue | flags), 0) })
        // An earlier daemon's connections may linger on the address. UDP has nothing that lingers, and would share it.
        if type == SOCK_STREAM {
            var on: Int32 = 1
            _ = setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = address.bigEndian
        let result = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result == 0 { return socket }
        if errno == EADDRINUSE || errno == EADDRNOTAVAIL { return nil }
        throw SystemError.current("bind 127.0.0.11:\(port)")
    }

    private static func boundPort(_ socket: Int32) throws(SystemError) -> UInt16 {
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &name) { (pointer) throws(SystemError) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { (generic) throws(SystemError) in
                _ = try checked("getsockname") { getsockname(socket, generic, &length) }
            }
        }
        return UInt16(bigEndian: name.sin_port)
    }
}
