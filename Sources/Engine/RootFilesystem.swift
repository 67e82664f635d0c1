import Glibc
import LinuxKernel
import MonitorProtocol

/// A container's or image's file system as the daemon sees it: a detached overlay mount that no namespace shows, and
/// that goes with its descriptor. Paths in it are resolved inside it.
struct RootFilesystem: ~Copyable {
    let mount: FileDescriptor

    init(mount: consuming FileDescriptor) { self.mount = mount }

    /// An image's layers (uppermost first), read-only.
    static func image(lower: [String]) throws -> RootFilesystem {
        if lower.count == 1 {
            // One directory needs no overlay (which wants two): a read-only clone of it.
            let tree = try Mount.cloneTree(lower[0], recursive: false)
            try Mount.change(tree.raw, MountAttributes(set: MountAttributes.readOnly))
            return RootFilesystem(mount: tree)
        }
        return RootFilesystem(mount: try overlay(lower: lower, upper: nil))
    }

    /// A stopped container's: layers with its own upper directory. Not for a live one: two mounts of one upper
    /// directory are undefined (Documentation/filesystems/overlayfs.rst).
    static func container(lower: [String], upper: String, work: String) throws -> RootFilesystem {
        RootFilesystem(mount: try overlay(lower: lower, upper: (upper, work)))
    }

    private static func overlay(lower: [String], upper: (upper: String, work: String)?) throws -> FileDescriptor {
        if LaunchDocument.Overlay.isSupported { return try mounted(lower.map { ("lowerdir+", $0) }, upper) }
        // One option holds them all.
        return try legacyOverlay(lower: lower, upper: upper)
    }

    private static func mounted(
        _ lower: [(String, String)], _ upper: (upper: String, work: String)?
    ) throws(SystemError) -> FileDescriptor {
        let context = try FilesystemContext("overlay")
        for (option, value) in lower { try context.set(option, value) }
        if let upper {
            try context.set("upperdir", upper.upper)
            try context.set("workdir", upper.work)
        }
        for (option, value) in features { try context.set(option, value) }
        return try context.mount(attributes: MountAttributes.noDevices | MountAttributes.noSuid)
    }

    /// Pinned off: they would change what lies in the upper directory (DECISIONS, "Overlay").
    private static let features = [
        ("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off"),
    ]

    /// fsconfig(2) takes values of at most 255 bytes: directories are named by the numbers of their descriptors, in a
    /// thread that stands where these are names.
    private static func legacyOverlay(
        lower: [String], upper: (upper: String, work: String)?
    ) throws -> FileDescriptor {
        let directories = try lower.map { OwnedDescriptor(try FileDescriptor($0, O_RDONLY | O_DIRECTORY)) }
        let names = directories.map { String($0.raw) }.joined(separator: ":")
        guard names.utf8.count < 256 else {
            throw EngineError.internal(
                "this kernel can't show an image of \(lower.count) layers to the daemon: Linux 6.7 or newer is needed")
        }
        let mount = try PlacedThread.run(in: "/proc/self/fd") { () throws(SystemError) in
            try mounted([("lowerdir", names)], upper).release()
        }
        withExtendedLifetime(directories) {}
        return FileDescriptor(owning: mount)
    }

    /// The mount alone, which goes with its last reference.
    consuming func intoDescriptor() -> OwnedDescriptor { OwnedDescriptor(mount) }

    /// The directory at `path`, links resolved inside; nil where there is none.
    func directory(_ path: String) throws(SystemError) -> FileDescriptor? {
        do throws(SystemError) {
            return try RootedPath.open(path, in: mount.raw, flags: O_RDONLY | O_DIRECTORY)
        } catch {
            if error.errno == ENOENT || error.errno == ENOTDIR || error.errno == ELOOP { return nil }
            throw error
        }
    }
}
