import ContainerLog
import OCI

/// What a monitor needs beside the OCI `config.json` of its bundle. The daemon writes it as `monitor.json` in the
/// bundle directory (`<exec-root>/containers/<id>/`) before it spawns `mycontainer-runtime monitor --bundle DIR`.
///
/// Every path is absolute and on the host.
public struct LaunchDocument: Codable, Sendable {
    /// The container's id, 64 hex digits.
    public var id: String
    /// Cgroup directory relative to each hierarchy's mount point, for example `/mycontainer-1a2b3c4d/<id>`.
    public var cgroupPath: String
    /// The overlay to mount as root inside the container's mount namespace; nil: `config.json`'s `root.path` as it is.
    public var overlay: Overlay?
    /// Where stdin, stdout and stderr go.
    public var streams: Streams
    /// The log the monitor writes; nil for the log driver `none`.
    public var log: Log?
    /// Whether the pause-style reaper is PID 1 (or a subreaper when the pid namespace is shared).
    public var reaper: Bool
    /// Whether the reaper gives up the capabilities and system calls that it doesn't need; nil: no. Not with a seccomp
    /// profile of the user's own, which may end a process for trying.
    public var confinesReaper: Bool?
    /// A ready BPF seccomp program (an array of `struct sock_filter`) and its SECCOMP_FILTER_FLAG_* bits; used
    /// instead of `config.json`'s `linux.seccomp`, which is then absent.
    public var seccompProgram: SeccompProgram?
    /// Whom to run as, in Docker's form `user[:group]`, names or numbers. The child resolves it inside the container's
    /// root against /etc/passwd and /etc/group before it drops its privileges; it then replaces `process.user`'s uid,
    /// gid and groups, and HOME is set where the environment has none. nil: `process.user` is used as it is.
    public var user: String?
    /// Further supplementary groups (`--group-add`), names or numbers, resolved like `user`.
    public var groups: [String]?
    /// Where the exit record is written; its space is allocated before the start.
    public var exitRecordPath: String

    public struct Overlay: Codable, Sendable {
        /// Read-only layer directories, uppermost first.
        public var lower: [String]
        public var upper: String
        public var work: String
        /// What is written is thrown away at the container's end: overlayfs is spared from syncing it, which at an
        /// unmount means the whole file system that `upper` lies on.
        public var isVolatile: Bool

        public init(lower: [String], upper: String, work: String, isVolatile: Bool = false) {
            self.lower = lower
            self.upper = upper
            self.work = work
            self.isVolatile = isVolatile
        }
    }

    public struct Streams: Codable, Sendable {
        /// stdin stays open for attached clients; otherwise it is /dev/null.
        public var openStdin: Bool
        /// stdin closes when the first attached client that sends stdin goes away.
        public var stdinOnce: Bool
        /// Nanoseconds that an attached client which does not read may hold the container back before it is cut off;
        /// nil: a minute.
        public var slowClientTimeout: Int64?

        public init(openStdin: Bool, stdinOnce: Bool, slowClientTimeout: Int64? = nil) {
            self.openStdin = openStdin
            self.stdinOnce = stdinOnce
            self.slowClientTimeout = slowClientTimeout
        }
    }

    public struct Log: Codable, Sendable {
        public typealias Format = LogFormat

        public var format: Format
        /// The live file; rotated ones are `<path>.1` (newest) … `<path>.<maxFiles-1>`.
        public var path: String
        /// Bytes after which the file rotates; 0 never rotates.
        public var maxSize: Int64
        /// How many files are kept, the live one included.
        public var maxFiles: Int
        /// What `json-file` writes beside each line.
        public var attributes: [String: String]?
        /// Where each line is sent besides.
        public var destination: LogDestination?

        public init(format: Format, path: String, maxSize: Int64, maxFiles: Int) {
            self.format = format
            self.path = path
            self.maxSize = maxSize
            self.maxFiles = maxFiles
        }
    }

    public struct SeccompProgram: Codable, Sendable {
        public var path: String
        public var flags: UInt32
        /// Where the report of an audit is written; nil: the program is in force. Otherwise everything is let through, and
        /// what it would have refused is reported (``SeccompReport``).
        public var auditPath: String?
        /// The socket of the agent that a program which notifies asks, and what is sent to it besides.
        public var listenerPath: String?
        public var listenerMetadata: String?

        public init(
            path: String, flags: UInt32, auditPath: String? = nil, listenerPath: String? = nil,
            listenerMetadata: String? = nil
        ) {
            self.path = path
            self.flags = flags
            self.auditPath = auditPath
            self.listenerPath = listenerPath
            self.listenerMetadata = listenerMetadata
        }
    }

    public init(
        id: String, cgroupPath: String, overlay: Overlay?, streams: Streams, log: Log?, reaper: Bool,
        seccompProgram: SeccompProgram?, user: String? = nil, groups: [String]? = nil, exitRecordPath: String
    ) {
        self.id = id
        self.cgroupPath = cgroupPath
        self.overlay = overlay
        self.streams = streams
        self.log = log
        self.reaper = reaper
        self.seccompProgram = seccompProgram
        self.user = user
        self.groups = groups
        self.exitRecordPath = exitRecordPath
    }
}

/// How a container ended. The file is the truth: the daemon never waits on a container itself.
public struct ExitRecord: Codable, Sendable {
    /// Exit code as a client sees it: the program's, or 128+n when signal n ended it.
    public var exitCode: Int32
    /// The signal that ended the process that the monitor waits for, 0 if that exited. The reaper, as PID 1, can only
    /// exit: with it the signal shows in the exit code (128+n) alone.
    public var signal: Int32
    /// Whether the kernel killed anything in the container's cgroup for memory.
    public var oomKilled: Bool
    /// Names of OOM victims where they are known.
    public var oomVictims: [String]
    /// Nanoseconds since the epoch.
    public var startedAt: Int64
    public var finishedAt: Int64
    /// Why the container never started, if it did not.
    public var failure: StartFailure?

    public init(
        exitCode: Int32, signal: Int32, oomKilled: Bool, oomVictims: [String] = [], startedAt: Int64,
        finishedAt: Int64, failure: StartFailure? = nil
    ) {
        self.exitCode = exitCode
        self.signal = signal
        self.oomKilled = oomKilled
        self.oomVictims = oomVictims
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.failure = failure
    }
}

/// A start (or exec) that failed before the user's program ran.
public struct StartFailure: Codable, Sendable, Error, Equatable {
    /// What was being done: `mount`, `cgroup`, `user`, `chdir`, `seccomp`, `exec` …
    public var stage: String
    /// The errno, 0 where none applies. At stage `exec`: ENOENT is exit code 127, any other is 126.
    public var errno: Int32
    /// One sentence for the user.
    public var message: String

    public init(stage: String, errno: Int32, message: String) {
        self.stage = stage
        self.errno = errno
        self.message = message
    }
}
