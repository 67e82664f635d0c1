import Glibc
import LinuxKernel

extension LaunchDocument.Overlay {
    /// What would make the upper directory depend on more than itself, so that a commit's diff would lie.
    public static let pinned = [
        ("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off"),
    ]

    /// Whether the kernel takes layers one by one (`lowerdir+`, Linux 6.7). One that doesn't writes a line into its log for
    /// each attempt.
    public static let isSupported = KernelVersion.running >= KernelVersion(6, 7)

    /// A detached mount of the stack, where that is supported.
    /// - Parameter label: the SELinux label of everything in it, nil for those on the disk.
    public func mounted(label: String?) throws(SystemError) -> FileDescriptor {
        let context = try FilesystemContext("overlay")
        for layer in lower { try context.set("lowerdir+", layer) }
        try context.set("upperdir", upper)
        try context.set("workdir", work)
        return try finish(context, label: label)
    }

    /// The options that don't name a directory, and the mount.
    public func finish(_ context: borrowing FilesystemContext, label: String?) throws(SystemError) -> FileDescriptor {
        for (key, value) in Self.pinned { try context.set(key, value) }
        try context.set(label: label)
        if isVolatile { makeVolatile(context) }
        return try context.mount()
    }

    /// Since Linux 5.10; before, everything is synced. The mark of an earlier volatile mount, with which overlayfs refuses
    /// a directory that may lack what was not synced, goes: the container was only restarted, the machine was not.
    private func makeVolatile(_ context: borrowing FilesystemContext) {
        unlink("\(work)/work/incompat/volatile/dirty")
        rmdir("\(work)/work/incompat/volatile")
        rmdir("\(work)/work/incompat")
        try? context.set("volatile")
    }
}
