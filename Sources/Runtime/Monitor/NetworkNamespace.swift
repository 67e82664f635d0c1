import Glibc
import LinuxKernel
import MonitorProtocol

/// Enters network namespaces for the daemon, whose threads can't, and opens there what it configures them through.
enum NetworkNamespace {
    /// A new namespace, or the one pinned at `path`. The process is back in its own namespace afterwards, however this
    /// ends: where the way back fails the process does too, rather than fork monitors into somebody's namespace.
    static func open(_ path: String?) throws(StartFailure) -> NetworkNamespaceDescriptors {
        let sentence = path.map { "cannot open the network namespace \($0)" } ?? "cannot make a network namespace"
        return try at("network namespace", sentence) { () throws(SystemError) in
            let own = try FileDescriptor("/proc/self/ns/net", O_RDONLY)
            if let path {
                let pinned = try FileDescriptor(path, O_RDONLY)
                try Process.enter(pinned.raw, .network)
            } else {
                try Process.unshare(.network)
            }
            defer {
                do throws(SystemError) {
                    try Process.enter(own.raw, .network)
                } catch {
                    Diagnostics.say("the zygote can't return to its network namespace: \(error)")
                    exit(1)
                }
            }
            if path == nil { try prepare() }
            return try openDescriptors()
        }
    }

    /// Loopback up, with ::1 where there is IPv6; on other interfaces IPv6 is off until somebody wants it, so that they
    /// make no addresses of their own by which containers could reach each other past the rules.
    private static func prepare() throws(SystemError) {
        try NetworkInterface.setUp("lo")
        if let setting = try? FileDescriptor("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY) {
            try checked("disable IPv6 by default") { write(setting.raw, "1", 1) }
        }
    }

    private static func openDescriptors() throws(SystemError) -> NetworkNamespaceDescriptors {
        var descriptors = NetworkNamespaceDescriptors()
        descriptors.put(.namespace, try FileDescriptor("/proc/self/ns/net", O_RDONLY))
        descriptors.put(.netlink, try NetlinkSocket.open())
        if let settings = try? FileDescriptor("/proc/sys/net/ipv6/conf", O_RDONLY | O_DIRECTORY) {
            descriptors.put(.ipv6Settings, settings)
        }
        if let udp = try resolverSocket(SOCK_DGRAM), let tcp = try resolverSocket(SOCK_STREAM) {
            descriptors.put(.resolverUDP, udp)
            descriptors.put(.resolverTCP, tcp)
        }
        return descriptors
    }

    /// A socket at 127.0.0.11:53; nil where something has that address already.
    private static func resolverSocket(_ type: __socket_type) throws(SystemError) -> FileDescriptor? {
        let flags = SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let socket = FileDescriptor(
            owning: try checked("socket") { Glibc.socket(AF_INET, Int32(type.rawValue | flags), 0) })
        // An earlier daemon's connections may linger on the address. UDP has nothing that lingers, and would share it.
        if type == SOCK_STREAM {
            var on: Int32 = 1
            _ = setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(53).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_000B).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0 {
            if errno == EADDRINUSE || errno == EADDRNOTAVAIL { return nil }
            throw SystemError.current("bind 127.0.0.11:53")
        }
        if type == SOCK_STREAM { try checked("listen") { listen(socket.raw, 64) } }
        return socket
    }
}
