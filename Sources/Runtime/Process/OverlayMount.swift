import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol

/// The stack of read-only layers with a writable directory on top (Documentation/filesystems/overlayfs.rst).
enum OverlayMount {
    /// The kernel's own limit, OVL_MAX_STACK in fs/overlayfs/params.h.
    static let maximumLayers = 500

    /// A detached mount of the stack.
    /// - Parameter label: the SELinux label of everything in it, nil for those on the disk.
    static func detached(
        _ overlay: LaunchDocument.Overlay, label: String?
    ) throws(StartFailure) -> FileDescriptor {
        guard overlay.lower.count <= maximumLayers else {
            throw StartFailure(
                stage: "overlay", errno: E2BIG,
                message: "the image has \(overlay.lower.count) layers and overlayfs stacks at most \(maximumLayers): "
                    + "flatten the image")
        }
        // Before, layers are one option of limited length.
        guard LaunchDocument.Overlay.isSupported else { return try byShortNames(overlay, label) }
        do {
            return try overlay.mounted(label: label)
        } catch {
            throw failure(error)
        }
    }

    private static func failure(_ error: SystemError) -> StartFailure {
        StartFailure(
            stage: "overlay", errno: error.errno, message: "cannot stack the image's layers: \(error)")
    }

    /// Linux before 6.7: the layers are named by short links in a directory of our own beside the work directory, which
    /// is the working directory meanwhile, since the option's value is limited: 255 bytes by fsconfig(2), about a
    /// page by mount(2).
    private static func byShortNames(
        _ overlay: LaunchDocument.Overlay, _ label: String?
    ) throws(StartFailure) -> FileDescriptor {
        let names = overlay.lower.indices.map { String($0, radix: 36) }
        let parent = overlay.work.split(byte: "/").dropLast().reduce(into: "") { $0 += "/\($1)" }
        let directory = "\(parent)/.stack-\(getpid())"
        let before = try at("overlay", "cannot name the layers") { () throws(SystemError) in
            let before = try FileDescriptor(".", O_RDONLY | O_DIRECTORY)
            try checked("mkdir \(directory)") { mkdir(directory, 0o700) }
            return before
        }
        let links = Array(zip(names, overlay.lower)) + [("U", overlay.upper), ("W", overlay.work)]
        defer {
            for (name, _) in links { unlink("\(directory)/\(name)") }
            fchdir(before.raw)
            rmdir(directory)
        }
        try at("overlay", "cannot name the layers") { () throws(SystemError) in
            try checked("chdir \(directory)") { chdir(directory) }
            for (name, target) in links { try checked("symlink \(name)") { symlink(target, name) } }
        }
        let lower = names.joined(separator: ":")
        if lower.utf8.count >= 256 {
            // Quoted: a label has commas.
            let context = label.map { ",context=\"\($0)\"" } ?? ""
            return try mounted(
                "lowerdir=\(lower),upperdir=U,workdir=W" + LaunchDocument.Overlay.pinned.map { ",\($0)=\($1)" }.joined()
                    + context)
        }
        do throws(SystemError) {
            let context = try FilesystemContext("overlay")
            try context.set("lowerdir", lower)
            try context.set("upperdir", "U")
            try context.set("workdir", "W")
            return try overlay.finish(context, label: label)
        } catch {
            throw failure(error)
        }
    }

    /// mount(2) has to attach what it mounts.
    private static func mounted(_ options: String) throws(StartFailure) -> FileDescriptor {
        try at("overlay", "cannot make a directory for the stack") { () throws(SystemError) in
            try checked("mkdir m") { mkdir("m", 0o700) }
        }
        defer { rmdir("m") }
        return try inPrivateNamespace { () throws(StartFailure) in
            try at("overlay", "cannot stack the image's layers") { () throws(SystemError) in
                try checked("mount overlay") { mount("overlay", "m", "overlay", 0, options) }
                return try Mount.cloneTree("m", recursive: false)
            }
        }
    }

    /// Makes a mount in a child with a mount namespace of its own, which sends it back detached.
    static func inPrivateNamespace(
        _ make: () throws(StartFailure) -> FileDescriptor
    ) throws(StartFailure) -> FileDescriptor {
        try ChildMaker.make(.mount) { () throws(StartFailure) in
            try at("overlay", "cannot leave the host's mounts alone") { () throws(SystemError) in
                try Mount.setPropagation("/", .slave)
            }
            return try make()
        }
    }
}
