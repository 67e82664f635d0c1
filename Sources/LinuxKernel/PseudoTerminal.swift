import CLinux
import Glibc

/// A pseudo-terminal pair.
public struct PseudoTerminal: ~Copyable, Sendable {
    public let master: FileDescriptor
    public let slave: FileDescriptor

    /// Opens a pair in the devpts instance whose root directory is `devpts`. The slave comes from the master
    /// (`TIOCGPTPEER`), not from a path that somebody could have replaced (CVE-2025-52565).
    public init(devpts: Int32) throws(SystemError) {
        let master = try FileDescriptor("ptmx", O_RDWR | O_NOCTTY, relativeTo: devpts)
        try checked("unlock pseudo-terminal") { clinux_pty_unlock(master.raw) }
        slave = FileDescriptor(
            owning: try checked("open pseudo-terminal") {
                clinux_pty_peer(master.raw, O_RDWR | O_NOCTTY | O_CLOEXEC)
            })
        self.master = master
    }
}

/// Terminal operations on descriptors.
public enum Terminal {
    /// Size in characters; works on either side of a pair.
    public static func setSize(_ descriptor: Int32, width: UInt16, height: UInt16) throws(SystemError) {
        try checked("set the terminal's size") { clinux_set_window_size(descriptor, width, height) }
    }

    /// Makes the terminal the controlling one of the calling session leader.
    public static func becomeControlling(_ descriptor: Int32) throws(SystemError) {
        try checked("set the controlling terminal") { clinux_set_controlling_terminal(descriptor) }
    }
}

/// Network interfaces of the caller's network namespace.
public enum NetworkInterface {
    /// Sets the interface up, as `ip link set NAME up` does.
    public static func setUp(_ name: String) throws(SystemError) {
        let socket = FileDescriptor(
            owning: try checked("socket") {
                Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            })
        try checked("set \(name) up") { clinux_interface_up(socket.raw, name) }
    }
}
