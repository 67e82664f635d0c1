import CLinux
import Glibc
import LinuxKernel

/// Puts this program out of the container's reach (CVE-2019-5736): the container can see it as `/proc/<pid>/exe` until
/// the user's program is executed, and could open it for writing afterwards.
enum ProtectedExecutable {
    /// Executes the program anew from a detached read-only mount of itself, unless it is on a read-only mount already.
    /// Where the host doesn't allow that, it goes on as it is.
    static func ensure() throws(CommandError) {
        guard let own = try? FileDescriptor("/proc/self/exe", clinux_o_path()), clinux_is_read_only(own.raw) == 0,
            let tree = try? Mount.cloneTree("/proc/self/exe", recursive: false),
            (try? Mount.change(tree.raw, MountAttributes(set: MountAttributes.readOnly), propagation: .isPrivate))
                != nil
        else { return }
        var argv: [UnsafeMutablePointer<CChar>?] = Swift.CommandLine.arguments.map { strdup($0) }
        argv.append(nil)
        clinux_execveat(tree.raw, "", argv, environ, Int32(CLINUX_AT_EMPTY_PATH))
    }
}
