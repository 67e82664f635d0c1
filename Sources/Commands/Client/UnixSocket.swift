import Glibc
import LinuxKernel

/// A connected, blocking unix stream socket.
struct UnixSocket: ~Copyable {
    let descriptor: FileDescriptor

    /// Connects to the daemon.
    ///
    /// - Throws: `CommandFailure` with a sentence that says what to do: start the daemon, or get permission.
    init(connectingTo host: Host) throws(CommandFailure) {
        let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if raw < 0 { throw CommandFailure("cannot make a socket: \(goReason(errno))") }
        do {
            try UnixSocket.connect(raw, to: host)
        } catch {
            close(raw)
            throw error
        }
        descriptor = FileDescriptor(owning: raw)
    }

    private static func connect(_ raw: Int32, to host: Host) throws(CommandFailure) {
        // sockaddr_un holds 107 bytes: a longer path is reached through a descriptor of its directory.
        var directory: Int32 = -1
        defer { if directory >= 0 { close(directory) } }
        var path = host.path
        if path.utf8.count > 107, let slash = path.lastIndex(byte: "/") {
            directory = open(String(path[..<slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if directory < 0 { throw UnixSocket.failure(host, errno) }
            path = "/proc/self/fd/\(directory)\(path[slash...])"
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { buffer in
            guard path.utf8.count < buffer.count else { return false }
            buffer.copyBytes(from: path.utf8)
            return true
        }
        if !fits { throw CommandFailure("the socket's name in \(host.path) is too long") }
        let result = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result != 0 { throw UnixSocket.failure(host, errno) }
    }

    private static func failure(_ host: Host, _ code: Int32) -> CommandFailure {
        switch code {
        case ENOENT, ECONNREFUSED:
            CommandFailure(
                "Cannot connect to the mycontainer daemon at \(host.display). Is the daemon running? "
                    + "Start it with 'systemctl start mycontainer', or 'mycontainerd' as root.")
        case EACCES, EPERM:
            CommandFailure(
                "permission denied while trying to connect to the mycontainer daemon at \(host.display): "
                    + "run this as root or as a member of the group that the socket belongs to")
        default:
            CommandFailure("cannot connect to the mycontainer daemon at \(host.display): \(goReason(code))")
        }
    }
}
