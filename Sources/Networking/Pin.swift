import Glibc
import LinuxKernel

/// A namespace that is kept by a bind mount of it on a file (namespaces(7)).
enum Pin {
    static func make(_ namespace: Int32, _ path: String) throws(SystemError) {
        _ = try FileDescriptor(path, O_RDONLY | O_CREAT | O_EXCL, mode: 0o600)
        do throws(SystemError) {
            try checked("mount \(path)") {
                mount("/proc/self/fd/\(namespace)", path, nil, UInt(MS_BIND), nil)
            }
        } catch {
            unlink(path)
            throw error
        }
    }

    /// No error where it is gone.
    static func remove(_ path: String) throws(SystemError) {
        // Several mounts may be stacked, or none be there when the daemon died in between.
        while umount2(path, Int32(MNT_DETACH)) == 0 {}
        if unlink(path) != 0, errno != ENOENT { throw SystemError.current("unlink \(path)") }
    }
}
