import Glibc
import LinuxKernel
import MonitorProtocol

/// Starts `mycontainer-runtime monitor` processes.
///
/// The daemon has many threads, so nothing of it runs between fork and exec: `posix_spawn` only.
final class MonitorLauncher: Sendable {
    /// What is executed: the runtime's path, or a descriptor of it on a detached read-only mount.
    private let executable: String
    private let mount: OwnedDescriptor?

    /// `runtimePath` is looked at once: a container that could write to the runtime through `/proc/<pid>/exe` would
    /// own the host (CVE-2019-5736), so it is executed from a detached mount that can't be written. Where the kernel
    /// refuses that (before 5.12, no CAP_SYS_ADMIN), it is executed by its path.
    init(runtimePath: String) throws(EngineError) {
        guard access(runtimePath, X_OK) == 0 else {
            throw EngineError(
                .internal,
                "the runtime \(runtimePath) can't be executed: \(String(cString: strerror(errno))); "
                    + "install mycontainer-runtime beside mycontainerd or name it with --runtime")
        }
        if let clone = try? Mount.cloneTree(runtimePath, recursive: false),
            (try? Mount.change(clone.raw, MountAttributes(set: MountAttributes.readOnly))) != nil
        {
            mount = OwnedDescriptor(clone)
            executable = "/proc/self/fd/\(mount!.raw)"
        } else {
            mount = nil
            executable = runtimePath
        }
    }

    /// POSIX_SPAWN_SETSID of spawn.h, which hides it without _GNU_SOURCE.
    private static let setSession: Int16 = 0x80

    /// Spawns the monitor of the container whose bundle is `bundle`, with `channel` as its descriptor 3.
    /// Returns its pid, which the caller reaps.
    func spawn(bundle: String, channel: Int32) throws(EngineError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // dup2 to itself would keep close-on-exec elsewhere; posix_spawn clears it (POSIX.1-2024).
        posix_spawn_file_actions_adddup2(&actions, channel, MonitorProtocol.inheritedSocket)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(
            &actions, 2, "\(bundle)/monitor.log", O_WRONLY | O_CREAT | O_APPEND, 0o600)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | MonitorLauncher.setSession)

        let arguments = ["mycontainer-runtime", "monitor", "--bundle", bundle]
        let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SWIFT_BACKTRACE=enable=no"]
        var pid: pid_t = 0
        let result = withCStrings(arguments) { argv in
            withCStrings(environment) { envp in
                posix_spawn(&pid, executable, &actions, &attributes, argv, envp)
            }
        }
        guard result == 0 else {
            throw EngineError(
                SystemError("posix_spawn \(executable)", errno: result), while: "start the container's monitor")
        }
        return pid
    }
}

/// Calls `body` with a NULL-terminated array of C strings.
func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
}
