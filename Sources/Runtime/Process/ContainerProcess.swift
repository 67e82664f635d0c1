import LinuxKernel
import MonitorProtocol
import OCI

/// Starts processes in containers.
///
/// Only for single-threaded programs: the child goes on running Swift after `clone3`. The calls block until the user's
/// program has been executed (or, with a gate, until everything up to that is done), which is when the setup socket
/// reports end of file; a failure names its stage and errno and leaves no process behind.
public enum ContainerProcess {
    /// Starts a container's first process: namespaces, cgroup, root filesystem, identity and limits as configured.
    public static func start(_ launch: ContainerLaunch) throws(StartFailure) -> StartedProcess {
        throw StartFailure(stage: "start", errno: 0, message: "not there yet")
    }

    /// Starts another process in a running container.
    public static func exec(_ entry: ContainerEntry) throws(StartFailure) -> StartedProcess {
        throw StartFailure(stage: "exec", errno: 0, message: "not there yet")
    }
}
