import CLinux
import Glibc

/// What a mount may do, as `MOUNT_ATTR_*` bits of mount_setattr(2).
public struct MountAttributes: Sendable, Equatable {
    /// Bits to set.
    public var set: UInt64 = 0
    /// Bits to clear.
    public var clear: UInt64 = 0

    public init(set: UInt64 = 0, clear: UInt64 = 0) {
        self.set = set
        self.clear = clear
    }

    public var isEmpty: Bool { self.set | self.clear == 0 }

    public static let readOnly = CLINUX_MOUNT_ATTR_RDONLY
    public static let noSuid = CLINUX_MOUNT_ATTR_NOSUID
    public static let noDevices = CLINUX_MOUNT_ATTR_NODEV
    public static let noExecution = CLINUX_MOUNT_ATTR_NOEXEC
    public static let accessTime = CLINUX_MOUNT_ATTR__ATIME
    public static let noAccessTime = CLINUX_MOUNT_ATTR_NOATIME
    public static let strictAccessTime = CLINUX_MOUNT_ATTR_STRICTATIME
    public static let noDirectoryAccessTime = CLINUX_MOUNT_ATTR_NODIRATIME
    public static let noSymlinkFollowing = CLINUX_MOUNT_ATTR_NOSYMFOLLOW
}

/// How mount events travel (Documentation/filesystems/sharedsubtree.rst); the values are mount(2)'s `MS_*`.
public enum MountPropagation: UInt64, Sendable {
    case unbindable = 0x2_0000
    case isPrivate = 0x4_0000
    case slave = 0x8_0000
    case shared = 0x10_0000
}

/// The descriptor-based mount API: fsopen(2), open_tree(2), move_mount(2), mount_setattr(2). Linux 5.12 or newer.
public enum Mount {
    /// A detached copy of the mount at `path` (with the mounts below it when `recursive`), relative to `directory`; an
    /// empty path means `directory` itself.
    public static func cloneTree(
        _ path: String, relativeTo directory: Int32 = AT_FDCWD, recursive: Bool, followLinks: Bool = true
    ) throws(SystemError) -> FileDescriptor {
        var flags = CLINUX_OPEN_TREE_CLONE | UInt32(O_CLOEXEC)
        if recursive { flags |= CLINUX_AT_RECURSIVE }
        if path.isEmpty { flags |= CLINUX_AT_EMPTY_PATH }
        if !followLinks { flags |= CLINUX_AT_SYMLINK_NOFOLLOW }
        return FileDescriptor(
            owning: try checked("open_tree \(path)") { clinux_open_tree(directory, path, flags) })
    }

    /// A detached copy of the mount at `path` in the root of process `pid`, whose mount namespace may be another:
    /// open_tree(2) copies only what is mounted in the caller's own, so this steps into the other for the moment. Links
    /// stay within that process's root. Only a single-threaded process can do it (setns(2)).
    public static func cloneTree(_ path: String, ofProcess pid: pid_t) throws(SystemError) -> FileDescriptor {
        let own = try FileDescriptor("/proc/self/ns/mnt", O_RDONLY)
        let directory = try FileDescriptor(".", clinux_o_path() | O_DIRECTORY)
        let other = try FileDescriptor("/proc/\(pid)/ns/mnt", O_RDONLY)
        let root = try FileDescriptor("/proc/\(pid)/root", clinux_o_path() | O_DIRECTORY)
        let target = try RootedPath.locate(path, in: root.raw)
        try Process.enter(other.raw, .mount)
        defer {
            // In a foreign namespace nothing may go on.
            if clinux_setns(own.raw, Int32(truncatingIfNeeded: NamespaceSet.mount.rawValue)) < 0 { abort() }
            fchdir(directory.raw)
        }
        return try cloneTree("", relativeTo: target.raw, recursive: false)
    }

    /// Attaches the detached mount (or moves the attached one) `tree` on `target`, which is an `O_PATH` descriptor or
    /// any other of a directory or file of the same kind.
    public static func attach(_ tree: Int32, on target: Int32) throws(SystemError) {
        try checked("move_mount") {
            clinux_move_mount(
                tree, "", target, "", CLINUX_MOVE_MOUNT_F_EMPTY_PATH | CLINUX_MOVE_MOUNT_T_EMPTY_PATH)
        }
    }

    /// Changes attributes and propagation of the mount whose root `tree` refers to.
    public static func change(
        _ tree: Int32, _ attributes: MountAttributes = MountAttributes(), propagation: MountPropagation? = nil,
        recursive: Bool = false
    ) throws(SystemError) {
        var request = clinux_mount_attr(
            attr_set: attributes.set, attr_clr: attributes.clear, propagation: propagation?.rawValue ?? 0, userns_fd: 0)
        let flags = CLINUX_AT_EMPTY_PATH | (recursive ? CLINUX_AT_RECURSIVE : 0)
        try checked("mount_setattr") { clinux_mount_setattr(tree, "", flags, &request) }
    }

    /// Changes the propagation of every mount below (and at) `path`.
    public static func setPropagation(_ path: String, _ propagation: MountPropagation) throws(SystemError) {
        var request = clinux_mount_attr(attr_set: 0, attr_clr: 0, propagation: propagation.rawValue, userns_fd: 0)
        try checked("mount_setattr \(path)") {
            clinux_mount_setattr(AT_FDCWD, path, CLINUX_AT_RECURSIVE, &request)
        }
    }

    /// Shifts the ids of a detached mount by the mapping of a user namespace (mount_setattr(2), ID-mapped mounts).
    public static func mapIdentities(
        _ tree: Int32, userNamespace: Int32, recursive: Bool
    ) throws(SystemError) {
        var request = clinux_mount_attr(
            attr_set: CLINUX_MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: UInt64(userNamespace))
        let flags = CLINUX_AT_EMPTY_PATH | (recursive ? CLINUX_AT_RECURSIVE : 0)
        try checked("mount_setattr idmap") { clinux_mount_setattr(tree, "", flags, &request) }
    }

    /// Detaches whatever is mounted at `path` (and all below it) as soon as it is idle.
    public static func detach(_ path: String) throws(SystemError) {
        try checked("umount \(path)") { umount2(path, Int32(MNT_DETACH)) }
    }
}

/// A filesystem under configuration: fsopen(2), fsconfig(2), then `mount`.
public struct FilesystemContext: ~Copyable {
    private let descriptor: FileDescriptor
    private let type: String

    public init(_ type: String) throws(SystemError) {
        self.type = type
        descriptor = FileDescriptor(
            owning: try checked("fsopen \(type)") { clinux_fsopen(type, CLINUX_FSOPEN_CLOEXEC) })
    }

    public func set(_ key: String, _ value: String) throws(SystemError) {
        let result = clinux_fsconfig(descriptor.raw, CLINUX_FSCONFIG_SET_STRING, key, value, 0)
        if result < 0 { throw failure("\(type): option \(key)=\(value)") }
    }

    public func set(_ flag: String) throws(SystemError) {
        let result = clinux_fsconfig(descriptor.raw, CLINUX_FSCONFIG_SET_FLAG, flag, nil, 0)
        if result < 0 { throw failure("\(type): option \(flag)") }
    }

    /// The SELinux label of everything in the filesystem (mount(8), `context`).
    public func set(label: String?) throws(SystemError) {
        if let label { try set("context", label) }
    }

    /// One option in mount(8)'s form: `key=value` or `flag`.
    public func set(option: Substring) throws(SystemError) {
        if let equals = option.firstIndex(byte: "=") {
            try set(String(option[..<equals]), String(option[option.utf8.index(after: equals)...]))
        } else {
            try set(String(option))
        }
    }

    /// Makes the filesystem and a detached mount of it with the given `MOUNT_ATTR_*` bits.
    public func mount(attributes: UInt64 = 0) throws(SystemError) -> FileDescriptor {
        if clinux_fsconfig(descriptor.raw, CLINUX_FSCONFIG_CREATE, nil, nil, 0) < 0 {
            throw failure("mount \(type)")
        }
        let mount = clinux_fsmount(descriptor.raw, CLINUX_FSMOUNT_CLOEXEC, UInt32(attributes))
        if mount < 0 { throw failure("mount \(type)") }
        return FileDescriptor(owning: mount)
    }

    /// The current errno with what the filesystem itself says about it: each read of the context gives one message,
    /// `e ` for errors (Documentation/filesystems/mount_api.rst).
    private func failure(_ operation: String) -> SystemError {
        let number = errno
        var said = ""
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
            while true {
                let count = read(descriptor.raw, buffer.baseAddress!, 511)
                if count <= 2 { break }
                let text = String(
                    decoding: UnsafeRawBufferPointer(buffer)[2..<count].prefix { $0 != 10 }, as: UTF8.self)
                said += said.isEmpty ? " (\(text)" : "; \(text)"
            }
        }
        if !said.isEmpty { said += ")" }
        return SystemError(operation + said, errno: number)
    }
}
