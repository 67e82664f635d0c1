import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Where the standard streams of a container's process come from.
public enum Stdio: Sendable {
    /// Descriptors of the caller that become 0, 1 and 2. The caller keeps its own copies and closes them.
    case descriptors(input: Int32, output: Int32, error: Int32)
    /// A pseudo-terminal of the container's own devpts, with its initial size in characters; its master comes back in
    /// the result. A size of 0×0 leaves the kernel's default.
    case terminal(width: UInt16, height: UInt16)
}

/// All that the start of a container's first process needs.
public struct ContainerLaunch: Sendable {
    /// The container's configuration; `process` is required.
    public var spec: RuntimeSpec
    /// The bundle directory, absolute: relative paths of the configuration are relative to it. It becomes the caller's
    /// working directory.
    public var bundle: String
    /// Mounted as the container's root; nil: `spec.root.path`.
    public var overlay: LaunchDocument.Overlay?
    /// The overlay's detached mount where somebody has made it already; the caller's.
    public var mountedOverlay: Int32?
    public var cgroup: CgroupPlacement
    public var stdio: Stdio
    /// Used instead of `spec.linux.seccomp`; nil: compiled from it, no filter where that is absent too.
    public var seccomp: SeccompFilter?
    /// Whether the pause-style reaper becomes the container's first process.
    public var reaper: Bool
    /// Whom to run as where names have to be looked up in the container's root; nil: `spec.process.user` as it is.
    public var identity: IdentityRequest?
    /// Number of descriptors from 3 on that stay open in the user's process (`--preserve-fds`).
    public var preservedDescriptors: Int32
    /// Use `MS_MOVE` and `chroot` instead of `pivot_root`: for a host whose root is an initramfs.
    public var noPivot: Bool
    /// Keep the caller's session keyring.
    public var noNewKeyring: Bool
    /// Create the working directory in the root filesystem if it is absent, as dockerd does for WORKDIR. In either case
    /// the process's cwd is verified to be inside the root (CVE-2024-21626).
    public var createWorkingDirectory: Bool
    /// Two FIFOs (both opened read-write) between `create` and `start`; nil: go straight on.
    public var gate: StartGate?
    /// Runs the configuration's createContainer and startContainer hooks, which are told this; nil: no hooks.
    public var hooks: HookContext?
    /// The files of a container in a user namespace are on disk as they would be without one: they are shown to it with
    /// its ids (id-mapped mounts), and what it needs of the host's privileges is done for it beforehand.
    public var mapsFiles: Bool
    /// Whether the reaper gives up what it doesn't need. The container's seccomp filter has to allow that.
    public var confinesReaper: Bool
    /// Called in the runtime's namespaces with the host pid of the container's first process when its namespaces exist
    /// and before its root is changed: the place for network devices and the `prestart` and `createRuntime` hooks.
    public var prepared: (@Sendable (pid_t) throws(StartFailure) -> Void)?

    public init(
        spec: RuntimeSpec, bundle: String, overlay: LaunchDocument.Overlay? = nil,
        cgroup: CgroupPlacement = .inherited, stdio: Stdio, seccomp: SeccompFilter? = nil, reaper: Bool = false,
        identity: IdentityRequest? = nil, preservedDescriptors: Int32 = 0, noPivot: Bool = false,
        noNewKeyring: Bool = false,
        createWorkingDirectory: Bool = false, gate: StartGate? = nil,
        hooks: HookContext? = nil, mapsFiles: Bool = false, confinesReaper: Bool = false,
        prepared: (@Sendable (pid_t) throws(StartFailure) -> Void)? = nil
    ) {
        self.spec = spec
        self.bundle = bundle
        self.overlay = overlay
        self.cgroup = cgroup
        self.stdio = stdio
        self.seccomp = seccomp
        self.reaper = reaper
        self.identity = identity
        self.preservedDescriptors = preservedDescriptors
        self.noPivot = noPivot
        self.noNewKeyring = noNewKeyring
        self.createWorkingDirectory = createWorkingDirectory
        self.gate = gate
        self.hooks = hooks
        self.mapsFiles = mapsFiles
        self.confinesReaper = confinesReaper
        self.prepared = prepared
    }
}

/// Whom to run as, in Docker's terms: to be resolved against the container's own /etc/passwd and /etc/group.
public struct IdentityRequest: Sendable {
    /// `user[:group]`, names or numbers; nil: `process.user`'s uid and gid.
    public var user: String?
    /// Further supplementary groups, names or numbers.
    public var groups: [String]

    public init(user: String?, groups: [String] = []) {
        self.user = user
        self.groups = groups
    }
}

/// What stands between OCI `create` and `start`: the container's process reads a byte from `command` before it executes
/// the user's program, and reports to `status`, which it closes by executing it.
public struct StartGate: Sendable {
    public var command: Int32
    public var status: Int32

    public init(command: Int32, status: Int32) {
        self.command = command
        self.status = status
    }
}

/// Another process for a running container.
public struct ContainerEntry {
    /// What to run.
    public var process: RuntimeSpec.Process
    /// The container's configuration: its namespaces and seccomp policy.
    public var spec: RuntimeSpec
    /// A pidfd of the container's first process.
    public var target: Int32
    /// Host pid of the same process.
    public var targetPid: pid_t
    public var cgroup: CgroupPlacement
    public var stdio: Stdio
    /// Used instead of `spec.linux.seccomp`.
    public var seccomp: SeccompFilter?
    /// Run without any filter (`docker exec --privileged`).
    public var unconfined: Bool
    /// Resolved in the container's root like `ContainerLaunch.identity`.
    public var identity: IdentityRequest?
    public var preservedDescriptors: Int32
    public var noNewKeyring: Bool
    /// As ``ContainerLaunch/mapsFiles``.
    public var mapsFiles: Bool
    /// Called with the process's host pid once it exists. It becomes the child of the caller's parent then, who has to
    /// wait for it, in case of failure too.
    public var forParent: ((pid_t) -> Void)?

    public init(
        process: RuntimeSpec.Process, spec: RuntimeSpec, target: Int32, targetPid: pid_t,
        cgroup: CgroupPlacement = .inherited, stdio: Stdio, seccomp: SeccompFilter? = nil, unconfined: Bool = false,
        identity: IdentityRequest? = nil, preservedDescriptors: Int32 = 0, noNewKeyring: Bool = false,
        mapsFiles: Bool = false
    ) {
        self.process = process
        self.spec = spec
        self.target = target
        self.targetPid = targetPid
        self.cgroup = cgroup
        self.stdio = stdio
        self.seccomp = seccomp
        self.unconfined = unconfined
        self.identity = identity
        self.preservedDescriptors = preservedDescriptors
        self.noNewKeyring = noNewKeyring
        self.mapsFiles = mapsFiles
    }
}

/// A process that was started: a child of the caller, to be waited for by it.
public struct StartedProcess: ~Copyable, Sendable {
    /// Host pid of the child: the container's PID 1, the reaper, or the process of an exec.
    public let pid: pid_t
    /// Host pid of the user's process: differs from `pid` when the reaper is in between.
    public let userPid: pid_t
    /// Refers to `pid`.
    public let pidfd: FileDescriptor
    /// The container's root mount (`O_PATH`); nil for an exec and for a joined mount namespace.
    public var root: FileDescriptor?
    /// The pseudo-terminal's master where one was asked for.
    public var terminal: FileDescriptor?
    /// The seccomp listener where the filter notifies.
    public var seccompListener: FileDescriptor?

    init(
        pid: pid_t, userPid: pid_t, pidfd: consuming FileDescriptor, root: consuming FileDescriptor?,
        terminal: consuming FileDescriptor?, seccompListener: consuming FileDescriptor?
    ) {
        self.seccompListener = seccompListener
        self.pid = pid
        self.userPid = userPid
        self.pidfd = pidfd
        self.root = root
        self.terminal = terminal
    }
}
