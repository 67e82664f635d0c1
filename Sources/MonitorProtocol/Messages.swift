import ContainerLog
import OCI

/// The conversation between the daemon and a container's monitor.
///
/// Transport: a `SOCK_SEQPACKET` unix socket; one packet is one JSON document (at most 256 KiB), descriptors travel
/// beside it as `SCM_RIGHTS`. The first connection is inherited by the monitor as descriptor 3, with requests already
/// queued in it, so that a start costs no extra round trip; later ones are made to `<bundle>/monitor.sock`. Several
/// connections may be open at once; events go to all of them. Requests on one connection are carried out in order.
public enum MonitorProtocol {
    /// Spoken by this build. A daemon speaks to monitors of this version and the one before.
    public static let version = 1
    public static let socketName = "monitor.sock"
    public static let lockName = "monitor.lock"
    public static let launchDocumentName = "monitor.json"
    public static let inheritedSocket: Int32 = 3
    public static let maximumPacket = 256 << 10
}

/// What the daemon asks. `sequence` comes back in the reply.
public struct MonitorRequest: Codable, Sendable {
    public var sequence: UInt64
    public var body: Body

    public enum Body: Codable, Sendable {
        /// First on every connection. Reply: `.hello`.
        case hello(version: Int)
        /// Carries one descriptor: a stream socket. The monitor writes the container's output to it (raw for a
        /// terminal, otherwise in Docker's frames: stream byte, three zeros, big-endian length) and reads stdin from
        /// it; end of file is end of stdin. It is closed when the output has ended. Reply: `.attached`.
        case attach(Attach)
        /// Start the user's process. Reply: `.started` or `.failed`.
        case start
        /// Send a signal to the user's process (not to the reaper). Reply: `.done` or `.failed`.
        case signal(Int32)
        /// Terminal size; `exec` nil means the container's own terminal.
        case resize(exec: String?, width: UInt16, height: UInt16)
        /// Start another process in the container, streams as for `attach` over one descriptor (none: detached).
        /// Reply: `.started` or `.failed`; later the event `.execExited`.
        case exec(Exec)
        /// Reply `.rootfs` carries one descriptor: the container's root mount (O_PATH).
        case rootfs
        /// Give up before `start`: the monitor removes what it made and exits.
        case abandon
    }

    public struct Attach: Codable, Sendable {
        public var stdin: Bool
        public var stdout: Bool
        public var stderr: Bool

        public init(stdin: Bool, stdout: Bool, stderr: Bool) {
            self.stdin = stdin
            self.stdout = stdout
            self.stderr = stderr
        }
    }

    public struct Exec: Codable, Sendable {
        public var id: String
        public var process: RuntimeSpec.Process
        public var attach: Attach
        /// Resolved inside the container's root like `LaunchDocument.user`; nil: `process.user` as it is.
        public var user: String?
        /// Resolved like `LaunchDocument.groups`.
        public var groups: [String]?
        /// Where the exec's exit record is written.
        public var exitRecordPath: String
        /// Run without the container's seccomp filter (`--privileged`).
        public var unconfined: Bool
        /// It is a health check: its output comes with the event of its end, and its time is limited.
        public var check: Check?

        public init(
            id: String, process: RuntimeSpec.Process, attach: Attach, user: String? = nil, groups: [String]? = nil,
            exitRecordPath: String, unconfined: Bool = false, check: Check? = nil
        ) {
            self.id = id
            self.process = process
            self.attach = attach
            self.user = user
            self.groups = groups
            self.exitRecordPath = exitRecordPath
            self.unconfined = unconfined
            self.check = check
        }
    }

    /// What is special about a health check. The monitor keeps the time, so that a check ends even where no daemon lives.
    public struct Check: Codable, Sendable {
        /// Nanoseconds after which the process is killed with everything that it started.
        public var timeout: Int64
        /// Bytes of output (both streams) that are kept.
        public var maximumOutput: Int

        public init(timeout: Int64, maximumOutput: Int) {
            self.timeout = timeout
            self.maximumOutput = maximumOutput
        }
    }

    public init(sequence: UInt64, body: Body) {
        self.sequence = sequence
        self.body = body
    }
}

/// What the monitor says: replies (with the request's `sequence`) and events (`sequence` 0).
public struct MonitorMessage: Codable, Sendable {
    public var sequence: UInt64
    public var body: Body

    public enum Body: Codable, Sendable {
        // Replies.
        case hello(Status)
        case attached(LogPosition?)
        case started(pid: Int32, startedAt: Int64)
        case done
        case rootfs
        case failed(StartFailure)
        // Events.
        case execExited(id: String, ExitRecord, check: CheckOutcome?)
        /// The kernel killed something for memory; the container may go on.
        case outOfMemory
        /// The user's process ended, output is flushed, the record is on disk, cgroup and monitor are about to go.
        case exited(ExitRecord)
    }

    /// What a health check brought beside its exit code.
    public struct CheckOutcome: Codable, Sendable {
        public var timedOut: Bool
        /// The beginning of what it printed.
        public var output: String
        /// Whether there was more.
        public var isCut: Bool

        public init(timedOut: Bool, output: String, isCut: Bool) {
            self.timedOut = timedOut
            self.output = output
            self.isCut = isCut
        }
    }

    /// What a daemon learns when it (re)connects.
    public struct Status: Codable, Sendable {
        public var version: Int
        public var id: String
        public var state: State
        /// Host pid of PID 1, 0 before the start.
        public var pid: Int32
        /// Host pid of the user's process (differs from `pid` when the reaper is PID 1).
        public var userPid: Int32
        public var startedAt: Int64
        /// Ids of the exec processes that run.
        public var execs: [String: Int32]

        public init(
            version: Int, id: String, state: State, pid: Int32, userPid: Int32, startedAt: Int64,
            execs: [String: Int32]
        ) {
            self.version = version
            self.id = id
            self.state = state
            self.pid = pid
            self.userPid = userPid
            self.startedAt = startedAt
            self.execs = execs
        }
    }

    public enum State: String, Codable, Sendable { case ready, running, exited }

    /// A point in the log: everything before it was written when the attachment began, nothing after it was.
    public typealias LogPosition = ContainerLog.LogPosition

    public init(sequence: UInt64, body: Body) {
        self.sequence = sequence
        self.body = body
    }
}
