import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The user namespace that a container is going to join, and what it means for the files that are shown to it.
///
/// The namespace is there before the container's first process: mounts are mapped by it, and what takes privileges over
/// the host is done before it is entered.
struct ContainerIdentities {
    let maps: IdentityMaps
    /// The user namespace, opened.
    let namespace: Int32
    /// The host's ids of root inside.
    let root: (uid: uid_t, gid: gid_t)
    /// Whether files have to be shown with other ids than they have on disk.
    var mapsFiles: Bool { !maps.isIdentity }

    init(maps: IdentityMaps, namespace: Int32) throws(StartFailure) {
        guard let root = maps.root else {
            throw StartFailure(
                stage: "user namespace", errno: EINVAL,
                message: "the user namespace has no root: map a range of the host's ids to the container's from 0 on")
        }
        self.maps = maps
        self.namespace = namespace
        self.root = root
    }

    /// Settles where the container's user namespace comes from, and moves it to what is joined: another container's by
    /// path, the one that owns the network namespace, or a new one. nil without one.
    static func settle(
        _ linux: RuntimeSpec.Linux?, _ created: inout NamespaceSet,
        _ joined: inout [(kind: NamespaceSet, descriptor: Int32)], _ descriptors: inout DescriptorSet
    ) throws(StartFailure) -> ContainerIdentities? {
        let maps = IdentityMaps(uids: linux?.uidMappings ?? [], gids: linux?.gidMappings ?? [])
        if let user = joined.first(where: { $0.kind == .user }) {
            return try ContainerIdentities(maps: maps, namespace: user.descriptor)
        }
        guard created.contains(.user) else { return nil }
        let network = joined.first { $0.kind == .network }?.descriptor
        let namespace = try network.flatMap { (network) throws(StartFailure) in try UserNamespace.owner(of: network) }
        let descriptor =
            if let namespace { descriptors.adopt(FileDescriptor(owning: namespace)) } else {
                descriptors.adopt(try UserNamespace.make(uids: maps.uids, gids: maps.gids))
            }
        created.remove(.user)
        joined.append((.user, descriptor))
        return try ContainerIdentities(maps: maps, namespace: descriptor)
    }

    /// Shows a detached mount's files with the container's ids.
    /// - Parameter path: what it shows, for the sentence.
    func map(_ tree: Int32, _ path: String, recursive: Bool = false) throws(StartFailure) {
        do throws(SystemError) {
            try Mount.mapIdentities(tree, userNamespace: namespace, recursive: recursive)
        } catch {
            throw StartFailure(
                stage: "user namespace", errno: error.errno,
                message: error.errno == EINVAL
                    ? "the ids of \(path) can't be mapped into the container's user namespace: its file system, or one "
                        + "mounted below it, has no id-mapped mounts in this kernel (tmpfs has since Linux 6.3, overlayfs "
                        + "never): run the container with --userns host, or keep the files on ext4, xfs or btrfs"
                    : "cannot map the ids of \(path) into the container's user namespace: \(error)")
        }
    }

    /// Gives the streams that the container's process will have to root inside: once in the namespace nobody could,
    /// and a program couldn't reopen them (`/dev/stdout`).
    func takeOver(_ stdio: Stdio) {
        guard case .descriptors(let input, let output, let error) = stdio else { return }
        for descriptor in [input, output, error] {
            var status = stat()
            // Pipes alone: other things are somebody else's too.
            guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else { continue }
            fchown(descriptor, root.uid, root.gid)
        }
    }
}
