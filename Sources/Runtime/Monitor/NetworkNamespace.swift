import Glibc
import LinuxKernel
import MonitorProtocol

/// Enters network namespaces for the daemon, whose threads can't, and opens there what it configures them through.
enum NetworkNamespace {
    /// A new namespace (which `owner` owns, or this process's user namespace), or the one pinned at `path`, and what the
    /// daemon needs of it.
    static func open(
        _ path: String?, owner: NamespaceOwner? = nil
    ) throws(StartFailure) -> NetworkNamespaceDescriptors {
        let owned = try owner.map { (owner) throws(StartFailure) in
            try UserNamespace.makeNetwork(ownedBy: owner).release()
        }
        defer { if let owned { close(owned) } }
        let sentence = path.map { "cannot open the network namespace \($0)" } ?? "cannot make a network namespace"
        return try at("network namespace", sentence) { () throws(SystemError) in
            try inside { () throws(SystemError) in
                if let path {
                    let pinned = try FileDescriptor(path, O_RDONLY)
                    try Process.enter(pinned.raw, .network)
                } else if let owned {
                    try Process.enter(owned, .network)
                } else {
                    try Process.unshare(.network)
                }
                if path == nil { try prepare() }
                return try openDescriptors(namespaceIsNew: path == nil)
            }
        }
    }

    /// A new namespace with nothing but loopback, which is up.
    static func make() throws(SystemError) -> FileDescriptor {
        try inside { () throws(SystemError) in
            try Process.unshare(.network)
            try NetworkInterface.setUp("lo")
            return try FileDescriptor("/proc/self/ns/net", O_RDONLY)
        }
    }

    /// Runs `body`, which goes to another namespace. The process is back in its own afterwards, however this ends: where
    /// the way back fails the process does too, rather than fork monitors into somebody's namespace.
    private static func inside<Result: ~Copyable>(
        _ body: () throws(SystemError) -> Result
    ) throws(SystemError) -> Result {
        let own = try FileDescriptor("/proc/self/ns/net", O_RDONLY)
        defer {
            do throws(SystemError) {
                try Process.enter(own.raw, .network)
            } catch {
                Diagnostics.say("the zygote can't return to its network namespace: \(error)")
                exit(1)
            }
        }
        return try body()
    }

    /// Loopback up, with ::1 where there is IPv6; on other interfaces IPv6 is off until somebody wants it, so that they
    /// make no addresses of their own by which containers could reach each other past the rules.
    private static func prepare() throws(SystemError) {
        try NetworkInterface.setUp("lo")
        if let setting = try? FileDescriptor("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY) {
            try checked("disable IPv6 by default") { write(setting.raw, "1", 1) }
        }
    }

    private static func openDescriptors(namespaceIsNew: Bool) throws(SystemError) -> NetworkNamespaceDescriptors {
        var descriptors = NetworkNamespaceDescriptors()
        descriptors.put(.namespace, try FileDescriptor("/proc/self/ns/net", O_RDONLY))
        descriptors.put(.netlink, try NetlinkSocket.open())
        if let settings = try? FileDescriptor("/proc/sys/net/ipv6/conf", O_RDONLY | O_DIRECTORY) {
            descriptors.put(.ipv6Settings, settings)
        }
        try ResolverEndpoint.open(into: &descriptors, namespaceIsNew: namespaceIsNew)
        return descriptors
    }
}
