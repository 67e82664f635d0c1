import CLinux
import Glibc
import LinuxKernel

/// The container's default PID 1: a pause-style reaper between the kernel and the user's process.
///
/// PID 1 of a pid namespace ignores every signal that it has no handler for (pid_namespaces(7)) and inherits every
/// orphan. Few programs are written for that; this one is, so that `stop` of a program without handlers takes
/// milliseconds and no zombie stays. The contract is that of `docker run --init`.
///
/// It runs inside the wall: the caller has dropped to the container's identity, capabilities and seccomp filter before,
/// and it holds nothing but the container's standard streams. Those it keeps: `/proc/1/fd/1` is a common way to log.
public enum Reaper {
    /// Forks, executes `program` in the child and becomes the reaper. Never returns in the parent.
    ///
    /// The child leads a session of its own, as a container's PID 1 does without a reaper, and with `terminal` takes
    /// descriptor 0 as its controlling terminal: its process group is orphaned, so that Ctrl-Z does not stop a program
    /// that nobody would continue. The caller must not have taken the terminal for its own session.
    ///
    /// - Parameters:
    ///   - statusDescriptor: end of file on its other side means that exec succeeded, so the reaper closes its copy
    ///     (and everything else from 3 on) as soon as it has forked. -1: none.
    ///   - isConfined: whether the reaper then gives up what it doesn't need.
    ///   - forked: called in the reaper, with every descriptor still open.
    ///   - program: reports its pid where that is wanted, and executes the user's program; signals are as after exec.
    /// - Throws: when the fork fails (`EAGAIN`: the pids limit), in the caller. Nothing has changed then but the mask.
    public static func run(
        statusDescriptor: Int32, terminal: Bool, isConfined: Bool = false, forked: () -> Void = {}, program: () -> Never
    ) throws(SystemError) -> Never {
        // In a pid namespace that is not the container's own, orphans come here only when asked for.
        if getpid() != 1 { try Process.becomeSubreaper() }
        // What is dropped makes a process undumpable; then nobody could open /proc/1/fd/1, not even the container's
        // root (proc(5), PR_SET_DUMPABLE). There is nothing here that would have to be hidden.
        try Process.setDumpable(true)

        // The arguments inherited from the monitor tell where the container's files are on the host.
        ProcessTitle.set("mycontainer-init", name: "init")

        // Blocked signals stay pending even for PID 1, which would lose them otherwise.
        var all = sigset_t()
        sigfillset(&all)
        sigprocmask(SIG_BLOCK, &all, nil)

        let child: pid_t
        switch try Process.clone([]) {
        case .child:
            Process.resetSignals()
            setsid()
            if terminal { try? Terminal.becomeControlling(0) }
            program()
        case .parent(let pid, let pidfd):
            _ = consume pidfd
            child = pid
        }
        forked()
        if statusDescriptor >= 0 { close(statusDescriptor) }
        try? Process.closeDescriptors(from: 3)
        chdir("/")
        if isConfined { Confinement.confineReaper() }
        clinux_serve_as_reaper(child)
    }
}
