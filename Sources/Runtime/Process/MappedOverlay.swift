import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol

/// The container's layers for one in a user namespace: lower and upper directories are seen through id-mapped mounts, so
/// that nothing is copied or changed for it and what it writes lies on the disk with the ids that it has inside.
///
/// Two mounts suffice for any number of layers: one of the directory that they are all in, one of the container's own.
enum MappedOverlay {
    static func detached(
        _ overlay: LaunchDocument.Overlay, _ identities: ContainerIdentities, label: String?
    ) throws(StartFailure) -> FileDescriptor {
        let directories = [commonDirectory(overlay.lower), commonDirectory([overlay.upper, overlay.work])]
        let layers = try tree(directories[0], identities).release()
        defer { close(layers) }
        let own = try tree(directories[1], identities).release()
        defer { close(own) }
        // overlayfs makes files of its own (in the work directory, whiteouts) as who mounted it: root inside.
        do throws(SystemError) {
            try FilesystemIdentity.assume(uid: identities.root.uid, gid: identities.root.gid)
        } catch {
            throw StartFailure(stage: "overlay", errno: error.errno, message: "cannot stack the layers: \(error)")
        }
        defer { FilesystemIdentity.restore() }
        // Before 6.15 overlayfs takes no directory of a detached mount.
        guard KernelVersion.running < KernelVersion(6, 15) else {
            return try OverlayMount.detached(
                LaunchDocument.Overlay(
                    lower: overlay.lower.map { path($0, below: directories[0], layers) },
                    upper: path(overlay.upper, below: directories[1], own),
                    work: path(overlay.work, below: directories[1], own), isVolatile: overlay.isVolatile),
                label: label)
        }
        return try OverlayMount.inPrivateNamespace { () throws(StartFailure) in
            // In there the trees stand where they are copies of, so that every path leads through them.
            try at("overlay", "cannot place the layers") { () throws(SystemError) in
                for (tree, directory) in [(layers, directories[0]), (own, directories[1])] {
                    let target = try FileDescriptor(directory, clinux_o_path() | O_DIRECTORY)
                    try Mount.attach(tree, on: target.raw)
                }
            }
            return try OverlayMount.detached(overlay, label: label)
        }
    }

    private static func tree(
        _ directory: String, _ identities: ContainerIdentities
    ) throws(StartFailure) -> FileDescriptor {
        let tree = try at("overlay", "cannot open \(directory)") { () throws(SystemError) in
            try Mount.cloneTree(directory, recursive: false)
        }
        try identities.map(tree.raw, directory)
        return tree
    }

    /// The path of a directory through the descriptor of a mount of one above it.
    private static func path(_ directory: String, below parent: String, _ tree: Int32) -> String {
        "/proc/self/fd/\(tree)" + directory.dropFirst(parent.utf8.count)
    }

    /// The deepest directory that all (absolute, clean) paths are in or are.
    static func commonDirectory(_ paths: [String]) -> String {
        guard var common = paths.first?.split(byte: "/") else { return "/" }
        for path in paths.dropFirst() {
            common = zip(common, path.split(byte: "/")).prefix { $0 == $1 }.map(\.0)
        }
        return "/" + common.joined(separator: "/")
    }
}
