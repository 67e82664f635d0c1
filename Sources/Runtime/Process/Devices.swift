import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The nodes and links of the container's /dev (runtime-spec config-linux.md, "Default Devices" and "Devices").
struct Devices {
    let spec: RuntimeSpec
    let root: Int32
    let userNamespace: Bool

    static let standard: [RuntimeSpec.Device] =
        [
            ("/dev/null", 3), ("/dev/zero", 5), ("/dev/full", 7), ("/dev/random", 8), ("/dev/urandom", 9),
        ].map { RuntimeSpec.Device(path: $0.0, type: "c", major: 1, minor: $0.1, fileMode: 0o666) } + [
            RuntimeSpec.Device(path: "/dev/tty", type: "c", major: 5, minor: 0, fileMode: 0o666)
        ]

    private static let links = [
        ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"),
    ]

    func make() throws(StartFailure) {
        let directory = try at("devices", "cannot make /dev") { () throws(SystemError) in
            try RootedPath.ensure("dev", in: root, kind: .directory, followLinks: false)
        }
        let configured = spec.linux?.devices ?? []
        for device in Self.standard where !configured.contains(where: { $0.path == device.path }) {
            try make(device, directory.raw)
        }
        for device in configured { try make(device, directory.raw) }
        for (name, target) in Self.links {
            if symlinkat(target, directory.raw, name) < 0 && errno != EEXIST {
                throw StartFailure(stage: "devices", errno: errno, message: "cannot make the link /dev/\(name)")
            }
        }
    }

    /// A detached tmpfs with the nodes of /dev, made by the host's root for a container in a user namespace, whose own
    /// root everything in it belongs to: which devices can be opened is what the cgroup's device rules say.
    static func filesystem(
        _ spec: RuntimeSpec, _ options: MountOptions, _ identities: ContainerIdentities, label: String?
    ) throws(StartFailure) -> FileDescriptor {
        try at("devices", "cannot make the container's /dev") { () throws(SystemError) in
            let context = try FilesystemContext("tmpfs")
            for option in options.data { try context.set(option: option) }
            try context.set("uid", String(identities.root.uid))
            try context.set("gid", String(identities.root.gid))
            try context.set(label: label)
            let tree = try context.mount(attributes: options.attributes.set)
            let configured = spec.linux?.devices ?? []
            for device in standard where !configured.contains(where: { $0.path == device.path }) {
                try add(device, to: tree.raw, identities)
            }
            for device in configured { try add(device, to: tree.raw, identities) }
            return tree
        }
    }

    private static func add(
        _ device: RuntimeSpec.Device, to tree: Int32, _ identities: ContainerIdentities
    ) throws(SystemError) {
        let parts = device.path.split(byte: "/").map(String.init)
        guard parts.count >= 2, parts[0] == "dev", !parts.contains(".."), let kind = kinds[device.type] else { return }
        var parent = try FileDescriptor(".", O_RDONLY | O_DIRECTORY, relativeTo: tree)
        for name in parts[1..<(parts.count - 1)] {
            if mkdirat(parent.raw, name, 0o755) == 0 {
                try checked("chown") { fchownat(parent.raw, name, identities.root.uid, identities.root.gid, 0) }
            } else if errno != EEXIST {
                throw SystemError.current("mkdir \(name)")
            }
            parent = try FileDescriptor(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, relativeTo: parent.raw)
        }
        let name = parts[parts.count - 1]
        // The later of two for one path, as outside of a user namespace.
        unlinkat(parent.raw, name, 0)
        try checked("mknod \(device.path)") { mknodat(parent.raw, name, kind | 0o600, number(of: device)) }
        let uid = identities.maps.hostUser(device.uid ?? 0) ?? identities.root.uid
        let gid = identities.maps.hostGroup(device.gid ?? 0) ?? identities.root.gid
        try checked("chown") { fchownat(parent.raw, name, uid, gid, AT_SYMLINK_NOFOLLOW) }
        try checked("chmod") { fchmodat(parent.raw, name, mode_t(device.fileMode ?? 0o666) & 0o7777, 0) }
    }

    private static let kinds: [String: mode_t] = ["c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO]

    private static func number(of device: RuntimeSpec.Device) -> dev_t {
        clinux_makedev(UInt32(clamping: device.major ?? 0), UInt32(clamping: device.minor ?? 0))
    }

    private func make(_ device: RuntimeSpec.Device, _ directory: Int32) throws(StartFailure) {
        let parts = device.path.split(byte: "/")
        guard let name = parts.last.map(String.init), name != "..", device.path.hasPrefix(bytes: "/") else {
            throw StartFailure(stage: "devices", errno: EINVAL, message: "\(device.path) is no path for a device")
        }
        try at("devices", "cannot make the device \(device.path)") { () throws(SystemError) in
            if parts.count == 2 && parts[0] == "dev" { return try node(device, name, directory) }
            let parent = try RootedPath.ensure(parts.dropLast().joined(separator: "/"), in: root, kind: .directory)
            try node(device, name, parent.raw)
        }
    }

    private func node(_ device: RuntimeSpec.Device, _ name: String, _ parent: Int32) throws(SystemError) {
        guard let kind = Devices.kinds[device.type] else {
            throw SystemError("device type \(device.type)", errno: EINVAL)
        }
        let number = Devices.number(of: device)
        let mode = mode_t(device.fileMode ?? 0o666) & 0o7777
        if userNamespace && kind != S_IFIFO {
            var status = stat()
            // Made beforehand.
            if fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == kind,
                status.st_rdev == number
            {
                return
            }
            return try bindFromHost(device, name, parent)
        }
        if mknodat(parent, name, kind | mode, number) < 0 {
            if errno == EPERM { return try bindFromHost(device, name, parent) }
            guard errno == EEXIST else { throw SystemError.current("mknod") }
            // What is there already has to be that very device (CVE-2025-31133).
            var status = stat()
            try checked("stat") { fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) }
            guard status.st_mode & S_IFMT == kind, kind == S_IFIFO || status.st_rdev == number else {
                throw SystemError("something else is in its place", errno: EEXIST)
            }
            return
        }
        let uid = device.uid ?? 0
        let gid = device.gid ?? 0
        if uid != 0 || gid != 0 {
            try checked("chown") { fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) }
        }
    }

    /// Where nodes can't be made the host's own node is bound; its identity is verified through the descriptor.
    private func bindFromHost(_ device: RuntimeSpec.Device, _ name: String, _ parent: Int32) throws(SystemError) {
        let tree = try Mount.cloneTree(device.path, recursive: false)
        var status = stat()
        try checked("stat") { fstat(tree.raw, &status) }
        guard status.st_rdev == Devices.number(of: device) else {
            throw SystemError("the host's node is another device", errno: ENODEV)
        }
        let file = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o644)
        if file >= 0 { close(file) } else if errno != EEXIST { throw SystemError.current("create") }
        let target = try FileDescriptor(name, clinux_o_path() | O_NOFOLLOW, relativeTo: parent)
        try Mount.change(tree.raw, propagation: .isPrivate)
        try Mount.attach(tree.raw, on: target.raw)
    }
}
