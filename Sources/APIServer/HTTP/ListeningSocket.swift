import Glibc
import LinuxKernel

/// A unix socket on which the daemon listens.
public struct ListeningSocket: Sendable {
    /// Owned by the server that is started on it.
    let descriptor: Int32
    public let path: String?
    /// The socket file's identity, so that only our own is removed at the end.
    private let identity: Identity?

    /// The change time tells a file from a later one that got the same inode number.
    private struct Identity: Equatable {
        let device: dev_t
        let inode: ino_t
        let seconds: Int
        let nanoseconds: Int

        init?(_ path: String) {
            var status = stat()
            guard lstat(path, &status) == 0 else { return nil }
            device = status.st_dev
            inode = status.st_ino
            seconds = status.st_ctim.tv_sec
            nanoseconds = status.st_ctim.tv_nsec
        }
    }

    /// Why there is no socket, as a sentence.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// Makes a socket of mode 0660 that belongs to root and `group`, and listens.
    ///
    /// A file left behind by a daemon that is gone is replaced; one that is answered is not.
    ///
    /// - Parameter group: a group id; nil leaves root's.
    public static func bind(_ path: String, group: gid_t?) throws(Failure) -> ListeningSocket {
        guard path.hasPrefix(bytes: "/") else { throw Failure(description: "the socket path \(path) is not absolute") }
        let slash = path.lastIndex(byte: "/")!
        let directory = slash == path.startIndex ? "/" : String(path[..<slash])
        let name = String(path[path.utf8.index(after: slash)...])
        do {
            try makeDirectories(directory)
            let parent = try FileDescriptor(directory, O_RDONLY | O_DIRECTORY)
            // sun_path holds 107 bytes; through the directory's descriptor any path is short.
            let short = path.utf8.count < 108 ? path : "/proc/self/fd/\(parent.raw)/\(name)"
            guard short.utf8.count < 108 else {
                throw Failure(
                    description: "cannot listen on \(path): its name is too long; with its directory it has to stay "
                        + "below 108 bytes, or below 90 by itself (unix(7)): choose a shorter one with --host")
            }
            try removeStale(short, path)
            let socket = try socketDescriptor()
            // The mode of the socket's inode becomes that of the file: no moment at which others can connect. (A umask
            // would be the whole process's.)
            try checked("fchmod") { fchmod(socket.raw, 0o600) }
            _ = try withAddress(short) { address, length in
                try checked("bind \(path)") { Glibc.bind(socket.raw, address, length) }
            }
            if let group { try checked("chown \(path)") { chown(short, 0, group) } }
            try checked("chmod \(path)") { chmod(short, 0o660) }
            try checked("listen on \(path)") { Glibc.listen(socket.raw, backlog) }
            return ListeningSocket(descriptor: socket.release(), path: path, identity: Identity(short))
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(description: "cannot listen on \(path): \(error)")
        }
    }

    /// Clients that may wait to be accepted, as with dockerd; net.core.somaxconn counts too. Further ones are refused.
    private static let backlog: Int32 = 4096

    func listen() throws {
        try checked("listen") { Glibc.listen(descriptor, ListeningSocket.backlog) }
    }

    /// Sockets that systemd opened for us (sd_listen_fds(3)); empty when it did not.
    public static func inherited() -> [ListeningSocket] {
        guard let pid = getenv("LISTEN_PID").flatMap({ Int32(String(cString: $0)) }), pid == getpid(),
            let count = getenv("LISTEN_FDS").flatMap({ Int32(String(cString: $0)) }), count > 0, count < 64
        else { return [] }
        unsetenv("LISTEN_PID")
        unsetenv("LISTEN_FDS")
        return (3..<3 + count).map { descriptor in
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            return ListeningSocket(descriptor: descriptor, path: nil, identity: nil)
        }
    }

    /// Removes the socket's file, if it is still this socket's.
    func removeFile() {
        guard let path, let identity, Identity(path) == identity else { return }
        unlink(path)
    }

    private static func removeStale(_ short: String, _ path: String) throws {
        var status = stat()
        guard lstat(short, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw Failure(description: "\(path) exists and is not a socket; remove it or choose another --host")
        }
        let probe = try socketDescriptor()
        let answered = withAddress(short) { connect(probe.raw, $0, $1) == 0 }
        if answered {
            throw Failure(description: "another daemon answers on \(path); stop it or choose another --host")
        }
        try checked("remove the stale socket \(path)") { unlink(short) }
    }

    private static func makeDirectories(_ path: String) throws {
        var status = stat()
        if stat(path, &status) == 0 { return }
        if let slash = path.lastIndex(byte: "/"), slash != path.startIndex {
            try makeDirectories(String(path[..<slash]))
        }
        try checked("make directory \(path)") { mkdir(path, 0o755) == 0 || errno == EEXIST ? 0 : -1 }
    }

    private static func socketDescriptor() throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            owning: try checked("make a socket") {
                socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            })
    }

    private static func withAddress<Result>(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
    ) rethrows -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { room in
            room.copyBytes(from: path.utf8.prefix(room.count - 1))
        }
        return try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                try body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
