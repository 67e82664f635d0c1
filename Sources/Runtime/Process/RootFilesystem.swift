import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Assembles the container's root filesystem in the child, in its own mount namespace and before `pivot_root`.
///
/// The image under the root is hostile: every target is resolved by the kernel inside the root and mounted on through
/// its descriptor (CVE-2021-30465, CVE-2023-27561, CVE-2025-31133).
struct RootFilesystem {
    let spec: RuntimeSpec
    /// The root mount.
    let root: Int32
    /// Detached trees for bind mounts by index of the mount.
    let binds: [Int: Int32]
    /// Whether the process is in a new user namespace, where device nodes can't be made.
    let userNamespace: Bool
    /// Where the cgroup hierarchies are on the host.
    let cgroup: CgroupPlacement
    /// The host's /proc, opened before anything of the container's could be in its place.
    let hostProc: Int32
    /// The SELinux label of what is mounted here; nil for none.
    let label: String?
    /// Root of the container's own devpts instance, where it mounts one; -1 else.
    private(set) var devpts: Int32 = -1
    /// Roots of the procfs and sysfs that were mounted here, by destination: `proc`, `sys`.
    private(set) var kernelMounts: [String: Int32] = [:]
    /// The root of /dev, where that is to be read-only once everything is in it; -1 else.
    private var devices: Int32 = -1

    init(
        spec: RuntimeSpec, root: Int32, binds: [Int: Int32], userNamespace: Bool, cgroup: CgroupPlacement,
        hostProc: Int32, label: String?
    ) {
        self.spec = spec
        self.root = root
        self.binds = binds
        self.userNamespace = userNamespace
        self.cgroup = cgroup
        self.hostProc = hostProc
        self.label = label
    }

    mutating func assemble() throws(StartFailure) {
        let mounts = spec.mounts ?? []
        try refuseLinkedDirectories(mounts)
        var deviceMount = false
        for (index, mount) in mounts.enumerated() {
            let destination = normalized(mount.destination)
            if destination == "dev" && (binds[index] == nil || mount.type == "tmpfs") { deviceMount = true }
            try self.mount(mount, destination, tree: binds[index])
        }
        if deviceMount || !mounts.contains(where: { normalized($0.destination) == "dev" }) {
            try Devices(spec: spec, root: root, userNamespace: userNamespace).make()
        }
    }

    /// A destination without leading, trailing and doubled slashes; empty for the root itself.
    private func normalized(_ path: String) -> String {
        path.split(byte: "/").filter { $0 != "." }.joined(separator: "/")
    }

    /// `/proc`, `/sys`, `/dev` and `/etc` of an image have to be real directories (or absent) when something is mounted
    /// on or below them (CVE-2023-27561, CVE-2023-28642).
    private func refuseLinkedDirectories(_ mounts: [RuntimeSpec.Mount]) throws(StartFailure) {
        var checked: [Substring] = []
        for mount in mounts {
            guard let first = mount.destination.split(byte: "/").first,
                first == "proc" || first == "sys" || first == "dev" || first == "etc", !checked.contains(first)
            else { continue }
            checked.append(first)
            var status = stat()
            if fstatat(root, String(first), &status, AT_SYMLINK_NOFOLLOW) < 0 { continue }
            guard status.st_mode & S_IFMT == S_IFDIR else {
                throw StartFailure(
                    stage: "mount", errno: ENOTDIR,
                    message: "/\(first) in the container's root is not a directory (a link or a file): "
                        + "refusing to mount on it")
            }
        }
    }

    private mutating func mount(
        _ mount: RuntimeSpec.Mount, _ destination: String, tree: Int32?
    ) throws(StartFailure) {
        let options = MountOptions(mount.options ?? [])
        if let tree { return try attachBind(mount, destination, tree) }
        let type = mount.type ?? "none"
        if type == "cgroup" || type == "cgroup2" {
            return try CgroupMount(cgroup: cgroup, root: root).mount(on: destination, options)
        }
        // Kernel filesystems go on ordinary directories only: a link would put them where the image wants.
        let kernelFilesystem = type != "tmpfs" && !destination.isEmpty
        let target = try at("mount", "cannot make the mount point \(mount.destination)") { () throws(SystemError) in
            let looksLikeItsPlace = type == "tmpfs" && !options.data.contains { $0.hasPrefix("mode=") }
            return try makeMountPoint(
                destination, forTemporary: looksLikeItsPlace, followLinks: !kernelFilesystem)
        }
        if type != "proc" { try refuseProcfs(target.raw, mount.destination) }
        let mounted = try at("mount", "cannot mount \(type) on \(mount.destination)") { () throws(SystemError) in
            try filesystem(type, mount, options, on: target.raw)
        }
        if options.copyUp {
            try at("mount", "cannot copy \(mount.destination) into its tmpfs") { () throws(SystemError) in
                try CopyUp.copy(from: target.raw, to: mounted.raw)
            }
        }
        try at("mount", "cannot mount \(type) on \(mount.destination)") { () throws(SystemError) in
            if type == "mqueue" { try labelQueues(mounted.raw) }
            if options.copyUp && options.attributes.set & MountAttributes.readOnly != 0 && destination != "dev" {
                try Mount.change(mounted.raw, MountAttributes(set: MountAttributes.readOnly))
            }
            if let propagation = options.propagation {
                try Mount.change(mounted.raw, propagation: propagation, recursive: options.recursivePropagation)
            }
            try Mount.attach(mounted.raw, on: target.raw)
        }
        // They stay open: for the console, for what is to be hidden, for what is sealed. exec closes them.
        switch type {
        case "devpts": devpts = (consume mounted).release()
        case "proc", "sysfs": kernelMounts[destination] = (consume mounted).release()
        case _ where destination == "dev" && options.attributes.set & MountAttributes.readOnly != 0:
            devices = (consume mounted).release()
        default: break
        }
    }

    /// To be called when nothing more is made in /dev.
    func seal() throws(StartFailure) {
        guard devices >= 0 else { return }
        try at("devices", "cannot make /dev read-only") { () throws(SystemError) in
            try Mount.change(devices, MountAttributes(set: MountAttributes.readOnly))
        }
    }

    /// A mount point that is made for a tmpfs gets the mode that the tmpfs will have on this and later starts: 1777, a
    /// tmpfs's own default and what docker's users see.
    private func makeMountPoint(
        _ destination: String, forTemporary isTemporary: Bool, followLinks: Bool
    ) throws(SystemError) -> FileDescriptor {
        let isNew: Bool
        do throws(SystemError) {
            _ = try RootedPath.locate(destination, in: root, followLinks: followLinks)
            isNew = false
        } catch {
            isNew = error.errno == ENOENT
        }
        let target = try RootedPath.ensure(destination, in: root, kind: .directory, followLinks: followLinks)
        if isNew, isTemporary {
            let directory = try FileDescriptor(".", O_RDONLY | O_DIRECTORY, relativeTo: target.raw)
            try checked("chmod") { fchmod(directory.raw, 0o1777) }
        }
        return target
    }

    private func filesystem(
        _ type: String, _ mount: RuntimeSpec.Mount, _ options: MountOptions, on target: Int32
    ) throws(SystemError) -> FileDescriptor {
        let context = try FilesystemContext(type)
        if let source = mount.source, !source.isEmpty { try context.set("source", source) }
        var mode = false
        for option in options.data {
            // Every devpts is an instance of its own since Linux 4.7.
            if type == "devpts" && option == "newinstance" { continue }
            if option.hasPrefix("mode=") { mode = true }
            // A gid that isn't mapped (tty in a small user namespace) can't own anything.
            if userNamespace && type == "devpts" && option.hasPrefix("gid=") && !isMapped(option.dropFirst(4)) {
                continue
            }
            try context.set(option: option)
        }
        if type == "tmpfs" && !mode {
            // A tmpfs over an existing directory looks like it, as with runc.
            var status = stat()
            try checked("stat") { fstat(target, &status) }
            try context.set("mode", String(status.st_mode & 0o7777, radix: 8))
        }
        if Self.takesLabel(type), !options.data.contains(where: { $0.hasPrefix("context=") }) {
            try context.set(label: label)
        }
        var attributes = options.attributes.set | options.recursiveAttributes.set
        if options.copyUp || normalized(mount.destination) == "dev" { attributes &= ~MountAttributes.readOnly }
        return try context.mount(attributes: attributes)
    }

    /// Whether `context` is the way to label a file system: those of the kernel's own state have the policy's labels, and
    /// message queues exist before they are mounted.
    private static func takesLabel(_ type: String) -> Bool { !["proc", "sysfs", "mqueue"].contains(type) }

    private func labelQueues(_ mounted: Int32) throws(SystemError) {
        guard let label = label.flatMap({ SecurityContext($0) }) else { return }
        try FileLabels.set(label, on: mounted)
    }

    private func isMapped(_ gid: Substring) -> Bool {
        guard let gid = UInt32(gid) else { return true }
        return (spec.linux?.gidMappings ?? []).contains {
            gid >= $0.containerID && UInt64(gid) < UInt64($0.containerID) + UInt64($0.size)
        }
    }

    private func attachBind(
        _ mount: RuntimeSpec.Mount, _ destination: String, _ tree: Int32
    ) throws(StartFailure) {
        try at("mount", "cannot bind \(mount.source ?? "") to \(mount.destination)") { () throws(SystemError) in
            var status = stat()
            try checked("stat") { fstat(tree, &status) }
            let kind: RootedPath.Kind = status.st_mode & S_IFMT == S_IFDIR ? .directory : .file
            if destination.isEmpty { throw SystemError("mount over the root", errno: EINVAL) }
            let target = try RootedPath.ensure(destination, in: root, kind: kind)
            if try FilesystemType.of(target.raw) == FilesystemType.proc, !Self.bindableInProc.contains(destination) {
                throw SystemError("it is inside procfs", errno: EPERM)
            }
            try Mount.attach(tree, on: target.raw)
        }
    }

    /// Mounting over parts of procfs would blind the kernel's own checks (LSM attributes, sysctls: CVE-2019-16884,
    /// CVE-2025-52881); these files are what container managers legitimately replace (lxcfs).
    private static let bindableInProc: Set<String> = [
        "proc/cpuinfo", "proc/diskstats", "proc/meminfo", "proc/stat", "proc/swaps", "proc/uptime", "proc/loadavg",
        "proc/slabinfo", "proc/net/dev", "proc/sys/kernel/ns_last_pid", "proc/sys/crypto/fips_enabled", "proc",
    ]

    private func refuseProcfs(_ target: Int32, _ destination: String) throws(StartFailure) {
        let type = try at("mount", "cannot look at \(destination)") { () throws(SystemError) in
            try FilesystemType.of(target)
        }
        guard type != FilesystemType.proc else {
            throw StartFailure(
                stage: "mount", errno: EPERM, message: "cannot mount on \(destination): it is inside procfs")
        }
    }
}
