import Glibc

/// An SELinux security context, `user:role:type[:level]` (selinux(8)).
public struct SecurityContext: Sendable, Equatable, CustomStringConvertible {
    public var user: String
    public var role: String
    public var type: String
    /// Sensitivity and categories, for example `s0:c1,c2`; nil with a policy that has no levels.
    public var level: String?

    /// nil for what is no context. Whether a policy knows it is the kernel's to say (``SELinuxKernel/accepts(_:)``).
    public init?(_ text: some StringProtocol) {
        let parts = String(text).split(byte: ":", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 3, !parts.contains(""), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            return nil
        }
        (user, role, type) = (parts[0], parts[1], parts[2])
        level = parts.count == 4 ? parts[3] : nil
    }

    public var description: String { "\(user):\(role):\(type)" + (level.map { ":" + $0 } ?? "") }

    /// The same without categories: on files, what containers of every category may use.
    public var withoutCategories: SecurityContext {
        var context = self
        if level != nil { context.level = "s0" }
        return context
    }
}

/// SELinux as the kernel tells of it.
public enum SELinuxKernel {
    /// Where selinuxfs is mounted.
    private static let directory = "/sys/fs/selinux"

    /// Whether SELinux is on and has a policy.
    ///
    /// - Parameter proc: a descriptor of the host's /proc, for who stands in a container, where neither that nor selinuxfs is
    ///   at its place.
    public static func isEnabled(proc: Int32? = nil) -> Bool {
        let base = proc == nil ? "/proc/" : ""
        func text(_ name: String, _ limit: Int) -> String {
            guard let file = try? FileDescriptor(base + name, O_RDONLY, relativeTo: proc ?? AT_FDCWD) else { return "" }
            var bytes = [UInt8](repeating: 0, count: limit)
            let count = max(0, read(file.raw, &bytes, limit))
            return String(decoding: bytes[..<count].prefix { $0 != 0 }, as: UTF8.self)
        }
        // Registered only where SELinux was not turned off at boot; before a policy is loaded everything is `kernel`.
        return text("filesystems", 16384).contains("\tselinuxfs\n")
            && SecurityContext(text("self/attr/current", 4096)) != nil
    }

    /// Whether the loaded policy knows a context. Needs selinuxfs at its place.
    public static func accepts(_ context: SecurityContext) -> Bool {
        guard let file = try? FileDescriptor(directory + "/context", O_RDWR) else { return false }
        let text = context.description
        return write(file.raw, text, text.utf8.count) >= 0
    }
}
