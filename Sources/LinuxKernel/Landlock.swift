import CLinux
import Glibc

/// A wall around the calling thread that it can't take down (landlock(7)): which files it may still reach, whatever its
/// user and capabilities are. What was opened before stays usable.
public struct Landlock: ~Copyable {
    /// LANDLOCK_ACCESS_FS_* of linux/landlock.h.
    public struct Rights: OptionSet, Sendable {
        public let rawValue: UInt64
        public init(rawValue: UInt64) { self.rawValue = rawValue }

        public static let writeFile = Rights(rawValue: 1 << 1)
        public static let readFile = Rights(rawValue: 1 << 2)
        public static let readDirectory = Rights(rawValue: 1 << 3)
        public static let removeDirectory = Rights(rawValue: 1 << 4)
        public static let removeFile = Rights(rawValue: 1 << 5)
        public static let makeDirectory = Rights(rawValue: 1 << 7)
        public static let makeFile = Rights(rawValue: 1 << 8)
        static let refer = Rights(rawValue: 1 << 13)
        public static let truncate = Rights(rawValue: 1 << 14)
        static let deviceIoctl = Rights(rawValue: 1 << 15)

        /// All of the first version (Linux 5.13).
        static let first = Rights(rawValue: (1 << 13) - 1)
    }

    /// LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP.
    private static let network: UInt64 = 3

    private let ruleset: FileDescriptor
    private let handled: Rights

    private init(ruleset: consuming FileDescriptor, handled: Rights) {
        self.ruleset = ruleset
        self.handled = handled
    }

    /// Everything is refused until it is allowed; nil where the kernel has no Landlock, or it is turned off.
    public static func make() throws(SystemError) -> Landlock? {
        let version = clinux_landlock_version()
        guard version > 0 else { return nil }
        var rights = Rights.first
        if version >= 2 { rights.insert(.refer) }
        if version >= 3 { rights.insert(.truncate) }
        if version >= 5 { rights.insert(.deviceIoctl) }
        let ruleset = try checked("landlock_create_ruleset") {
            clinux_landlock_create(rights.rawValue, version >= 4 ? Landlock.network : 0)
        }
        return Landlock(ruleset: FileDescriptor(owning: ruleset), handled: rights)
    }

    /// Allows rights for a file, or for a directory and all below. What isn't there needs no rule.
    public func allow(_ path: String, _ rights: Rights) throws(SystemError) {
        do throws(SystemError) {
            let place = try FileDescriptor(path, clinux_o_path())
            try checked("landlock_add_rule \(path)") {
                clinux_landlock_allow(ruleset.raw, place.raw, rights.intersection(handled).rawValue)
            }
        } catch {
            if error.errno != ENOENT { throw error }
        }
    }

    /// Irrevocable, for the calling thread and what it forks. Needs no-new-privileges.
    public func restrict() throws(SystemError) {
        try checked("landlock_restrict_self") { clinux_landlock_restrict(ruleset.raw) }
    }
}
