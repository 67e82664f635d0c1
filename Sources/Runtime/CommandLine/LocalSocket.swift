import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol

/// Stream sockets in the file system that others listen on.
enum LocalSocket {
    static func connect(to path: String) throws(SystemError) -> FileDescriptor {
        let socket = FileDescriptor(
            owning: try checked("socket") {
                Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            })
        let slash = path.lastIndex(byte: "/")
        let directory = slash.map { String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.utf8.index(after: $0)...]) } ?? path
        try withShortAddress(directory: directory, name: name) { (address, length) throws(SystemError) in
            try checked("connect to \(path)") { Glibc.connect(socket.raw, address, length) }
        }
        return socket
    }

    /// Hands a descriptor over, with some bytes that say what it is: a terminal's master (`--console-socket`), a pidfd
    /// (`--pidfd-socket`), a seccomp listener (`listenerPath`).
    static func send(_ descriptor: Int32, to path: String, payload: String) throws(CommandError) {
        do throws(SystemError) {
            let socket = try connect(to: path)
            try checked("send to \(path)") {
                clinux_send_with_fd(socket.raw, payload, payload.utf8.count, descriptor)
            }
        } catch {
            throw CommandError("cannot hand over a descriptor: \(error)")
        }
    }
}
