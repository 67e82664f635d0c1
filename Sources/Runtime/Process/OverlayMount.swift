import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol

/// The stack of read-only layers with a writable directory on top (Documentation/filesystems/overlayfs.rst).
enum OverlayMount {
    /// The kernel's own limit, OVL_MAX_STACK in fs/overlayfs/params.h.
    static let maximumLayers = 500

    /// What would make the upper directory depend on more than itself, so that a commit's diff would lie.
    private static let pinned = [
        ("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off"),
    ]

    /// A detached mount of the stack.
    static func detached(_ overlay: LaunchDocument.Overlay) throws(StartFailure) -> FileDescriptor {
        guard overlay.lower.count <= maximumLayers else {
            throw StartFailure(
                stage: "overlay", errno: E2BIG,
                message: "the image has \(overlay.lower.count) layers and overlayfs stacks at most \(maximumLayers): "
                    + "flatten the image")
        }
        do {
            return try appending(overlay)
        } catch {
            // lowerdir+ came with Linux 6.7; before, layers are one option of limited length.
            guard error.errno == EINVAL, KernelVersion.running < KernelVersion(6, 7) else {
                throw failure(error)
            }
        }
        do {
            return try byShortNames(overlay)
        } catch {
            throw failure(error)
        }
    }

    private static func failure(_ error: SystemError) -> StartFailure {
        StartFailure(
            stage: "overlay", errno: error.errno, message: "cannot stack the image's layers: \(error)")
    }

    private static func appending(_ overlay: LaunchDocument.Overlay) throws(SystemError) -> FileDescriptor {
        let context = try FilesystemContext("overlay")
        for layer in overlay.lower { try context.set("lowerdir+", layer) }
        try context.set("upperdir", overlay.upper)
        try context.set("workdir", overlay.work)
        for (key, value) in pinned { try context.set(key, value) }
        return try context.mount()
    }

    /// Linux before 6.7: the layers are named by short links in a directory of our own beside the work directory, which
    /// is the working directory meanwhile, since the option's value is limited: 255 bytes by fsconfig(2), about a
    /// page by mount(2).
    private static func byShortNames(_ overlay: LaunchDocument.Overlay) throws(SystemError) -> FileDescriptor {
        let names = overlay.lower.indices.map { String($0, radix: 36) }
        let parent = overlay.work.split(separator: "/").dropLast().reduce(into: "") { $0 += "/\($1)" }
        let directory = "\(parent)/.stack-\(getpid())"
        try checked("mkdir \(directory)") { mkdir(directory, 0o700) }
        defer { rmdir(directory) }
        let before = try FileDescriptor(".", O_RDONLY | O_DIRECTORY)
        try checked("chdir \(directory)") { chdir(directory) }
        defer { fchdir(before.raw) }
        let links = Array(zip(names, overlay.lower)) + [("U", overlay.upper), ("W", overlay.work)]
        defer { for (name, _) in links { unlink(name) } }
        for (name, target) in links { try checked("symlink \(name)") { symlink(target, name) } }
        let lower = names.joined(separator: ":")
        if lower.utf8.count < 256 {
            let context = try FilesystemContext("overlay")
            try context.set("lowerdir", lower)
            try context.set("upperdir", "U")
            try context.set("workdir", "W")
            for (key, value) in pinned { try context.set(key, value) }
            return try context.mount()
        }
        let options = "lowerdir=\(lower),upperdir=U,workdir=W" + pinned.map { ",\($0)=\($1)" }.joined()
        return try inPrivateNamespace(options)
    }

    /// mount(2) has to attach what it mounts: a child does that in a mount namespace of its own and sends a detached
    /// copy back.
    private static func inPrivateNamespace(_ options: String) throws(SystemError) -> FileDescriptor {
        try checked("mkdir m") { mkdir("m", 0o700) }
        defer { rmdir("m") }
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try checked("socketpair") { socketpair(AF_UNIX, type, 0, &ends) }
        let ours = FileDescriptor(owning: ends[0])
        let theirs = FileDescriptor(owning: ends[1])
        switch try Process.clone(.mount) {
        case .child:
            var number: Int32 = 0
            do {
                try Mount.setPropagation("/", .slave)
                try checked("mount overlay") { mount("overlay", "m", "overlay", 0, options) }
                let tree = try Mount.cloneTree("m", recursive: false)
                _ = clinux_send_with_fd(theirs.raw, &number, 4, tree.raw)
                _exit(0)
            } catch {
                number = error.errno
                _ = clinux_send_with_fd(theirs.raw, &number, 4, -1)
                _exit(1)
            }
        case .parent(_, let pidfd):
            var number: Int32 = EIO
            var tree: Int32 = -1
            var pid: pid_t = 0
            let count = clinux_receive_with_fd(ours.raw, &number, 4, &tree, &pid)
            _ = try Process.wait(pidfd: pidfd.raw)
            guard count == 4, tree >= 0 else { throw SystemError("mount overlay", errno: number) }
            return FileDescriptor(owning: tree)
        }
    }
}
