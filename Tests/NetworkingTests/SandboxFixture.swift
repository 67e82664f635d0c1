import Glibc
import LinuxKernel
import ThreadSupport

@testable import Networking

/// A host to make networks on: a thread with network and mount namespaces of its own, which end with it. unshare(2)
/// moves only the calling thread.
final class TestHost: Sendable {
    let directory: String

    private init(directory: String) { self.directory = directory }

    /// Runs `body` as on that host.
    static func run(_ body: @escaping @Sendable (TestHost) throws -> Void) throws {
        var template = Array("/tmp/networking-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        let host = TestHost(directory: String(decoding: template.dropLast().map(UInt8.init), as: UTF8.self))
        defer {
            for number in 0..<16 { unlink("\(host.directory)/\(number)") }
            rmdir(host.directory)
        }
        try OwnThread.run {
            try Process.unshare([.network, .mount])
            try checked("mount") { mount(nil, "/", nil, UInt(MS_REC | MS_PRIVATE), nil) }
            try NetworkInterface.setUp("lo")
            try body(host)
        }
    }

    func sandbox(_ number: Int) throws -> Sandbox {
        try Sandbox(pinning: ThreadProvider().make(owner: nil), at: "\(directory)/\(number)")
    }

    /// Runs `body` in the sandbox's namespace, then comes back.
    func inside<Result>(_ sandbox: Sandbox, _ body: () throws -> Result) throws -> Result {
        let own = try FileDescriptor("/proc/thread-self/ns/net", O_RDONLY)
        try sandbox.use { (open) throws(NetworkingError) in
            do throws(SystemError) {
                try Process.enter(open.namespace.raw, .network)
            } catch {
                throw NetworkingError(.system, "\(error)")
            }
        }
        defer { try! Process.enter(own.raw, .network) }
        return try body()
    }

    static func sysctl(_ name: String) -> String? { Sysctl.read(name) }

    /// Unanswered questions for a neighbour end in 30 ms instead of three seconds.
    static func askNeighboursQuickly(_ interface: String) throws {
        try Sysctl.write("ipv4/neigh/\(interface)/retrans_time_ms", "10", "neighbours")
    }
}

/// What the zygote does, on the calling thread.
struct ThreadProvider: SandboxProvider {
    func make(owner: NamespaceOwner?) throws(NetworkingError) -> SandboxDescriptors {
        try inNamespace { () throws(SystemError) in
            try Process.unshare(.network)
            try NetworkInterface.setUp("lo")
            let setting = try FileDescriptor("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY)
            try checked("write") { write(setting.raw, "1", 1) }
        }
    }

    func open(path: String) throws(NetworkingError) -> SandboxDescriptors {
        try inNamespace { () throws(SystemError) in
            let pinned = try FileDescriptor(path, O_RDONLY)
            try Process.enter(pinned.raw, .network)
        }
    }

    private func inNamespace(_ enter: () throws(SystemError) -> Void) throws(NetworkingError) -> SandboxDescriptors {
        do throws(SystemError) {
            let own = try FileDescriptor("/proc/thread-self/ns/net", O_RDONLY)
            try enter()
            defer { try! Process.enter(own.raw, .network) }
            return SandboxDescriptors(
                namespace: try FileDescriptor("/proc/thread-self/ns/net", O_RDONLY), netlink: try NetlinkSocket.open(),
                ipv6Settings: try FileDescriptor("/proc/sys/net/ipv6/conf", O_RDONLY | O_DIRECTORY), resolver: nil)
        } catch {
            throw NetworkingError(.system, "\(error)")
        }
    }
}

/// A socket of the calling thread's namespace, UDP unless asked otherwise.
struct InternetSocket: ~Copyable {
    let socket: FileDescriptor
    private let isIPv6: Bool

    init(ipv6: Bool = false, type: __socket_type = SOCK_DGRAM) throws {
        isIPv6 = ipv6
        socket = FileDescriptor(
            owning: try checked("socket") {
                Glibc.socket(
                    ipv6 ? AF_INET6 : AF_INET, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
            })
        // Long past what any of it takes: a lost packet is a failure, not a hang.
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(socket.raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private func withAddress<Result>(
        _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var bytes = [UInt8](repeating: 0, count: isIPv6 ? 28 : 16)
        withUnsafeBytes(of: UInt16(isIPv6 ? AF_INET6 : AF_INET)) { bytes.replaceSubrange(0..<2, with: $0) }
        withUnsafeBytes(of: port.bigEndian) { bytes.replaceSubrange(2..<4, with: $0) }
        let start = isIPv6 ? 8 : 4
        bytes.replaceSubrange(start..<(start + address.bytes.count), with: address.bytes)
        return bytes.withUnsafeBytes {
            body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }

    func bind(_ address: IPAddress, _ port: UInt16) throws {
        try checked("bind \(address)") { withAddress(address, port) { Glibc.bind(socket.raw, $0, $1) } }
    }

    func connect(_ address: IPAddress, _ port: UInt16) throws {
        try checked("connect \(address)") { withAddress(address, port) { Glibc.connect(socket.raw, $0, $1) } }
    }

    func send(_ text: String) throws {
        try checked("send") { Glibc.send(socket.raw, text, text.utf8.count, 0) }
    }

    func receive() throws -> String {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = try checked("receive") { recv(socket.raw, &bytes, bytes.count, 0) }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
