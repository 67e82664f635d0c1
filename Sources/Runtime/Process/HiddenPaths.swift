import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol

/// `maskedPaths` and `readonlyPaths` (runtime-spec config-linux.md).
///
/// Sources are ours, not the container's: /dev/null is opened on the host and its identity verified (CVE-2025-31133),
/// and all masked directories share one empty read-only tmpfs. Targets are used through their descriptors, and what is
/// below /proc or /sys is looked for in the very file systems that were mounted: whoever shares the root may by now have
/// put something else in the place of /proc, and would put it back with nothing masked (CVE-2025-52881).
struct HiddenPaths {
    let root: Int32
    /// Roots of the procfs and sysfs in the root, by destination without a leading slash.
    let kernelMounts: [String: Int32]
    /// The SELinux label of the empty directory.
    let label: String?

    func hide(_ masked: [String]) throws(StartFailure) {
        var sources = DescriptorSet()
        var null: Int32 = -1
        var empty: Int32 = -1
        for path in masked {
            let source = try at("mask", "cannot mask \(path)") { () throws(SystemError) -> FileDescriptor? in
                guard let target = try existing(path) else { return nil }
                var status = stat()
                try checked("stat") { fstat(target.raw, &status) }
                let isDirectory = status.st_mode & S_IFMT == S_IFDIR
                let known = isDirectory ? empty : null
                // The first use attaches the source itself: kernels before 6.15 copy attached mounts only.
                let tree =
                    known >= 0
                    ? try Mount.cloneTree("", relativeTo: known, recursive: false)
                    : isDirectory ? try emptyDirectory() : try Self.hostNull()
                try Mount.attach(tree.raw, on: target.raw)
                if known >= 0 { return nil }
                if isDirectory { empty = tree.raw } else { null = tree.raw }
                return tree
            }
            if let source { sources.adopt(source) }
        }
    }

    func makeReadOnly(_ paths: [String]) throws(StartFailure) {
        for path in paths {
            try at("read-only path", "cannot make \(path) read-only") { () throws(SystemError) in
                guard let target = try existing(path) else { return }
                let tree = try Mount.cloneTree("", relativeTo: target.raw, recursive: true)
                try Mount.change(tree.raw, MountAttributes(set: MountAttributes.readOnly))
                try Mount.attach(tree.raw, on: target.raw)
            }
        }
    }

    private func existing(_ path: String) throws(SystemError) -> FileDescriptor? {
        let parts = path.split(byte: "/", maxSplits: 1)
        do {
            if parts.count == 2, let mount = kernelMounts[String(parts[0])] {
                return try RootedPath.locate(String(parts[1]), in: mount)
            }
            return try RootedPath.locate(path, in: root)
        } catch {
            if error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw error
        }
    }

    private func emptyDirectory() throws(SystemError) -> FileDescriptor {
        let context = try FilesystemContext("tmpfs")
        try context.set("nr_blocks", "1")
        try context.set("nr_inodes", "1")
        try context.set("mode", "755")
        try context.set(label: label)
        return try context.mount(
            attributes: MountAttributes.readOnly | MountAttributes.noSuid | MountAttributes.noDevices
                | MountAttributes.noExecution)
    }

    private static func hostNull() throws(SystemError) -> FileDescriptor {
        let tree = try Mount.cloneTree("/dev/null", recursive: false)
        var status = stat()
        try checked("stat") { fstat(tree.raw, &status) }
        guard status.st_mode & S_IFMT == S_IFCHR, status.st_rdev == clinux_makedev(1, 3) else {
            throw SystemError("the host's /dev/null is not the null device", errno: ENODEV)
        }
        try Mount.change(tree.raw, propagation: .isPrivate)
        return tree
    }
}
