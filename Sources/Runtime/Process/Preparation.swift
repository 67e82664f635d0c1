import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// What the runtime makes ready with its own privileges before the child exists: the root's and the bind mounts' trees
/// as detached mounts, the namespaces to join, opened. A child in a new user namespace could not reach all of these.
struct Preparation: ~Copyable {
    /// Namespaces the child is cloned into.
    let created: NamespaceSet
    /// Namespaces it joins, opened.
    let joined: [(kind: NamespaceSet, descriptor: Int32)]
    /// Detached mount of the root filesystem; -1 where the mount namespace isn't new.
    let root: Int32
    /// Detached trees by index of the mount in the configuration.
    let binds: [Int: Int32]
    /// The user namespace among `joined`, where files are shown with its ids.
    let identities: ContainerIdentities?
    private let descriptors: DescriptorSet

    private init(
        created: NamespaceSet, joined: [(kind: NamespaceSet, descriptor: Int32)], root: Int32, binds: [Int: Int32],
        identities: ContainerIdentities?, descriptors: consuming DescriptorSet
    ) {
        self.created = created
        self.joined = joined
        self.root = root
        self.binds = binds
        self.identities = identities
        self.descriptors = descriptors
    }

    static func make(_ launch: borrowing ContainerLaunch) throws(StartFailure) -> Preparation {
        var descriptors = DescriptorSet()
        var (created, joined) = try namespaces(launch.spec.linux?.namespaces ?? [], &descriptors)
        let identities =
            launch.mapsFiles
            ? try ContainerIdentities.settle(launch.spec.linux, &created, &joined, &descriptors) : nil
        var root: Int32 = -1
        var binds: [Int: Int32] = [:]
        if created.contains(.mount) {
            let label = SecurityLabels.mountLabel(launch.spec.linux)
            root = try rootTree(launch, identities, label, &descriptors)
            binds = try bindTrees(launch, identities, label, &descriptors)
            if let identities { try addDevices(launch.spec, identities, label, to: &binds, &descriptors) }
        }
        return Preparation(
            created: created, joined: joined, root: root, binds: binds, identities: identities,
            descriptors: descriptors)
    }

    /// A second descriptor of the root mount, for the caller to keep.
    func duplicateRoot() throws(StartFailure) -> FileDescriptor? {
        guard root >= 0 else { return nil }
        return FileDescriptor(
            owning: try at("rootfs", "cannot keep the root mount") { () throws(SystemError) in
                try checked("dup") { fcntl(root, F_DUPFD_CLOEXEC, 3) }
            })
    }

    static let kinds: [String: NamespaceSet] = [
        "mount": .mount, "pid": .pid, "network": .network, "ipc": .ipc, "uts": .uts, "user": .user,
        "cgroup": .cgroup, "time": .time,
    ]

    private static func namespaces(
        _ namespaces: [RuntimeSpec.Namespace], _ descriptors: inout DescriptorSet
    ) throws(StartFailure) -> (NamespaceSet, [(kind: NamespaceSet, descriptor: Int32)]) {
        var created: NamespaceSet = []
        var joined: [(kind: NamespaceSet, descriptor: Int32)] = []
        var seen: NamespaceSet = []
        for namespace in namespaces {
            guard let kind = kinds[namespace.type] else {
                throw StartFailure(
                    stage: "namespace", errno: EINVAL, message: "unknown namespace type \(namespace.type)")
            }
            guard seen.isDisjoint(with: kind) else {
                throw StartFailure(
                    stage: "namespace", errno: EINVAL, message: "namespace \(namespace.type) is configured twice")
            }
            seen.insert(kind)
            guard let path = namespace.path, !path.isEmpty else {
                created.insert(kind)
                continue
            }
            let descriptor = try at("namespace", "cannot open the \(namespace.type) namespace \(path)") {
                () throws(SystemError) in try FileDescriptor(path, O_RDONLY)
            }
            joined.append((kind, descriptors.adopt(descriptor)))
        }
        return (created, joined)
    }

    private static func rootPath(_ launch: borrowing ContainerLaunch) -> String? {
        guard let path = launch.spec.root?.path, !path.isEmpty else { return nil }
        return path.hasPrefix(bytes: "/") ? path : "\(launch.bundle)/\(path)"
    }

    /// A directory of the host that the root may hide in the container's mount namespace: the root's own, so that hooks
    /// still see the bundle, or the bundle where the root is a stack of layers.
    static func mountPoint(_ launch: borrowing ContainerLaunch) -> String {
        launch.overlay == nil ? rootPath(launch) ?? launch.bundle : launch.bundle
    }

    private static func rootTree(
        _ launch: borrowing ContainerLaunch, _ identities: ContainerIdentities?, _ label: String?,
        _ descriptors: inout DescriptorSet
    ) throws(StartFailure) -> Int32 {
        if let overlay = launch.overlay {
            if let identities, identities.mapsFiles {
                return descriptors.adopt(try MappedOverlay.detached(overlay, identities, label: label))
            }
            if let made = launch.mountedOverlay {
                return descriptors.adopt(
                    try at("rootfs", "cannot use the root mount") { () throws(SystemError) in
                        FileDescriptor(owning: try checked("dup") { fcntl(made, F_DUPFD_CLOEXEC, 3) })
                    })
            }
            return descriptors.adopt(try OverlayMount.detached(overlay, label: label))
        }
        guard let rootPath = rootPath(launch) else {
            throw StartFailure(stage: "rootfs", errno: EINVAL, message: "the configuration has no root.path")
        }
        let tree = try at("rootfs", "cannot use \(rootPath) as the container's root") { () throws(SystemError) in
            let tree = try Mount.cloneTree(rootPath, recursive: true)
            // Neither may the container's mounts appear on the host, nor the host's later ones in here.
            try Mount.change(tree.raw, propagation: .isPrivate, recursive: true)
            var status = stat()
            try checked("stat") { fstat(tree.raw, &status) }
            if status.st_mode & S_IFMT != S_IFDIR { throw SystemError("stat", errno: ENOTDIR) }
            return tree
        }
        return descriptors.adopt(tree)
    }

    private static func bindTrees(
        _ launch: borrowing ContainerLaunch, _ identities: ContainerIdentities?, _ label: String?,
        _ descriptors: inout DescriptorSet
    ) throws(StartFailure) -> [Int: Int32] {
        var trees: [Int: Int32] = [:]
        let sharedRoot = launch.spec.linux?.rootfsPropagation?.hasSuffix("shared") ?? false
        for (index, mount) in (launch.spec.mounts ?? []).enumerated() {
            let options = MountOptions(mount.options ?? [])
            guard options.bind || mount.type == "bind" else { continue }
            guard let source = mount.source, !source.isEmpty else {
                throw StartFailure(
                    stage: "mount", errno: EINVAL, message: "the mount on \(mount.destination) has no source")
            }
            let path = source.hasPrefix(bytes: "/") ? source : "\(launch.bundle)/\(source)"
            let tree = try at("mount", "cannot bind \(path) to \(mount.destination)") { () throws(SystemError) in
                if let subpath = mount.subpath {
                    try part(subpath, of: path, recursive: options.recursiveBind)
                } else if let (pid, inside) = foreign(path) {
                    try Mount.cloneTree(inside, ofProcess: pid)
                } else {
                    try Mount.cloneTree(path, recursive: options.recursiveBind)
                }
            }
            // Before it may become read-only or show other ids.
            if let relabeling = options.relabeling { try SecurityLabels.relabel(tree.raw, path, relabeling, label) }
            try at("mount", "cannot bind \(path) to \(mount.destination)") { () throws(SystemError) in
                if let propagation = options.propagation {
                    try Mount.change(tree.raw, propagation: propagation, recursive: options.recursivePropagation)
                } else if !sharedRoot {
                    try Mount.change(tree.raw, propagation: .slave, recursive: true)
                }
                // One call each and only where needed: rbind of a tree with a locked flag refuses to clear it.
                if !options.recursiveAttributes.isEmpty {
                    try Mount.change(tree.raw, options.recursiveAttributes, recursive: true)
                }
                if !options.attributes.isEmpty { try Mount.change(tree.raw, options.attributes) }
            }
            if let identities, options.mapIdentities, mount.uidMappings == nil {
                if identities.mapsFiles { try identities.map(tree.raw, path, recursive: options.mapRecursively) }
            } else if options.mapIdentities || mount.uidMappings != nil {
                try mapIdentities(of: tree.raw, mount, options, launch.spec)
            }
            trees[index] = descriptors.adopt(tree)
        }
        return trees
    }

    /// The container's /dev, made here with its nodes: inside a user namespace none can be made, and the host's own would
    /// belong to nobody.
    private static func addDevices(
        _ spec: RuntimeSpec, _ identities: ContainerIdentities, _ label: String?, to binds: inout [Int: Int32],
        _ descriptors: inout DescriptorSet
    ) throws(StartFailure) {
        for (index, mount) in (spec.mounts ?? []).enumerated()
        where mount.type == "tmpfs" && mount.destination == "/dev" {
            binds[index] = descriptors.adopt(
                try Devices.filesystem(spec, MountOptions(mount.options ?? []), identities, label: label))
        }
    }

    /// A detached copy of what is at `subpath` in the directory `source`, whose content is a container's to change: found
    /// and mounted through one descriptor, so that a link put in its place meanwhile changes nothing (CVE-2022-23648).
    private static func part(_ subpath: String, of source: String, recursive: Bool) throws(SystemError)
        -> FileDescriptor
    {
        let directory = try FileDescriptor(source, clinux_o_path() | O_DIRECTORY)
        let place = try RootedPath.locate(subpath, in: directory.raw, followLinks: false)
        return try Mount.cloneTree("", relativeTo: place.raw, recursive: recursive)
    }

    /// The process and the path in its root that `/proc/<pid>/root/<path>` names: the way a container is given the
    /// /dev/shm of the one whose IPC namespace it joins.
    private static func foreign(_ path: String) -> (pid_t, String)? {
        let parts = path.split(byte: "/", maxSplits: 3)
        guard parts.count == 4, parts[0] == "proc", parts[2] == "root", let pid = pid_t(parts[1]) else { return nil }
        return (pid, String(parts[3]))
    }

    /// An id-mapped mount (runtime-spec config.md, `uidMappings` of a mount): ids on disk are shifted as seen inside.
    private static func mapIdentities(
        of tree: Int32, _ mount: RuntimeSpec.Mount, _ options: MountOptions, _ spec: RuntimeSpec
    ) throws(StartFailure) {
        let uids = mount.uidMappings ?? spec.linux?.uidMappings ?? []
        let gids = mount.gidMappings ?? spec.linux?.gidMappings ?? []
        guard !uids.isEmpty, !gids.isEmpty else {
            throw StartFailure(
                stage: "mount", errno: EINVAL,
                message: "the id-mapped mount on \(mount.destination) has no uidMappings and gidMappings")
        }
        let namespace = try UserNamespace.make(uids: uids, gids: gids)
        try at("mount", "cannot map the ids of the mount on \(mount.destination)") { () throws(SystemError) in
            try Mount.mapIdentities(tree, userNamespace: namespace.raw, recursive: options.mapRecursively)
        }
    }
}
