import Glibc
import LinuxKernel
import OCI

extension ContainerCgroup {
    /// Gives a group that the container sees as its root, and may write to, to the container's user, with the files that
    /// the kernel names for that (runtime-spec config-linux.md, "Cgroup ownership"). Only cgroup v2 can be delegated.
    func delegate(_ spec: RuntimeSpec) throws(SystemError) {
        guard layout.mode == .unified, let mountPoint = layout.unifiedMountPoint,
            spec.linux?.namespaces?.contains(where: { $0.type == "cgroup" && ($0.path ?? "").isEmpty }) ?? false,
            let mount = spec.mounts?.first(where: { $0.type == "cgroup" || $0.type == "cgroup2" }),
            MountOptions(mount.options ?? []).attributes.set & MountAttributes.readOnly == 0
        else { return }
        var owner = spec.process?.user.uid ?? 0
        if let mappings = spec.linux?.uidMappings, !mappings.isEmpty {
            guard let mapping = mappings.first(where: { owner >= $0.containerID && owner - $0.containerID < $0.size })
            else { return }
            owner = mapping.hostID + (owner - mapping.containerID)
        }
        guard owner != 0 else { return }
        let directory = mountPoint + path
        let files = Files.read("/sys/kernel/cgroup/delegate").map { String(decoding: $0, as: UTF8.self) } ?? ""
        for path in [directory] + files.split(separator: "\n").map({ "\(directory)/\($0)" })
        where chown(path, owner, gid_t.max) < 0 && errno != ENOENT {
            throw SystemError.current("give \(path) to uid \(owner)")
        }
    }
}
