import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The container's view of its own cgroups at `/sys/fs/cgroup`, read-only unless asked otherwise (CVE-2022-0492).
///
/// On a host with one v2 hierarchy that is a cgroup2 filesystem, whose root the cgroup namespace makes the container's
/// own group. On a hybrid host it is, as with runc, a tmpfs with a directory per v1 hierarchy, each a bind mount of the
/// container's group in it, and `unified` for v2.
struct CgroupMount {
    let cgroup: CgroupPlacement
    let root: Int32

    func mount(on destination: String, _ options: MountOptions) throws(StartFailure) {
        try at("mount", "cannot mount the cgroups on /\(destination)") { () throws(SystemError) in
            let target = try RootedPath.ensure(destination, in: root, kind: .directory, followLinks: false)
            if cgroup.legacy.isEmpty {
                let mounted = try unified(options)
                try Mount.attach(mounted.raw, on: target.raw)
            } else {
                try hybrid(on: target.raw, options)
            }
        }
    }

    /// A user namespace can mount the hierarchy as its own cgroup namespace has it, not as the host's has: that one is
    /// bound.
    private func unified(_ options: MountOptions) throws(SystemError) -> FileDescriptor {
        do throws(SystemError) {
            return try FilesystemContext("cgroup2").mount(attributes: options.attributes.set)
        } catch {
            guard error.errno == EPERM, let source = cgroup.unifiedMountPoint else { throw error }
            let tree = try Mount.cloneTree(source, recursive: false)
            try Mount.change(tree.raw, MountAttributes(set: options.attributes.set), propagation: .isPrivate)
            return tree
        }
    }

    private func hybrid(on target: Int32, _ options: MountOptions) throws(SystemError) {
        let context = try FilesystemContext("tmpfs")
        try context.set("mode", "755")
        let mounted = try context.mount(
            attributes: MountAttributes.noSuid | MountAttributes.noDevices | MountAttributes.noExecution)
        try Mount.attach(mounted.raw, on: target)
        for hierarchy in cgroup.legacy {
            guard let name = hierarchy.mountPoint.split(byte: "/").last.map(String.init) else { continue }
            try bind(hierarchy.mountPoint + cgroup.path, on: name, in: mounted.raw, options)
            // `cpu` is a link to `cpu,cpuacct`, as systemd lays it out.
            let controllers = name.split(byte: ",")
            if controllers.count > 1 {
                for controller in controllers {
                    try checked("symlink \(controller)") { symlinkat(name, mounted.raw, String(controller)) }
                }
            }
        }
        if let unified = cgroup.unifiedMountPoint {
            try bind(unified + cgroup.path, on: "unified", in: mounted.raw, options)
        }
        if options.attributes.set & MountAttributes.readOnly != 0 {
            try Mount.change(mounted.raw, MountAttributes(set: MountAttributes.readOnly))
        }
    }

    private func bind(
        _ path: String, on name: String, in directory: Int32, _ options: MountOptions
    ) throws(SystemError) {
        let tree = try Mount.cloneTree(path, recursive: false)
        let attributes =
            options.attributes.set | MountAttributes.noSuid | MountAttributes.noDevices | MountAttributes.noExecution
        try Mount.change(tree.raw, MountAttributes(set: attributes), propagation: .isPrivate)
        try checked("mkdir \(name)") { mkdirat(directory, name, 0o755) }
        let target = try FileDescriptor(name, clinux_o_path() | O_NOFOLLOW, relativeTo: directory)
        try Mount.attach(tree.raw, on: target.raw)
    }
}
