/// The body of `POST /containers/{id}/exec`.
public struct ExecCreateRequest: WireObject {
    public var user = ""
    public var privileged = false
    public var tty = false
    /// Rows, columns.
    public var consoleSize: [UInt]?
    public var attachStdin = false
    public var attachStderr = false
    public var attachStdout = false
    public var detachKeys = ""
    public var env: [String]?
    public var workingDir = ""
    public var cmd: [String]?
    public var detach = false

    public init() {}

    public static let fields = Fields<Self> {
        $0("User", \.user)
        $0("Privileged", \.privileged)
        $0("Tty", \.tty)
        $0("ConsoleSize", \.consoleSize, .omitEmpty)
        $0("AttachStdin", \.attachStdin)
        $0("AttachStderr", \.attachStderr)
        $0("AttachStdout", \.attachStdout)
        $0("DetachKeys", \.detachKeys)
        $0("Env", \.env)
        $0("WorkingDir", \.workingDir)
        $0.words("Cmd", \.cmd)
        $0("Detach", \.detach)
    }
}

/// The answer to requests that only make something: `{"Id": …}`.
public struct IDResponse: WireObject {
    public var id = ""

    public init() {}

    public init(id: String) { self.id = id }

    public static let fields = Fields<Self> { $0("Id", \.id) }
}

/// The body of `POST /exec/{id}/start`.
public struct ExecStartRequest: WireObject {
    public var detach = false
    public var tty = false
    /// Rows, columns.
    public var consoleSize: [UInt]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Detach", \.detach)
        $0("Tty", \.tty)
        $0("ConsoleSize", \.consoleSize, .omitEmpty)
    }
}

/// An exec process: `GET /exec/{id}/json`.
public struct ExecInspect: WireObject {
    public var id = ""
    public var running = false
    /// nil until it ended.
    public var exitCode: Int?
    public var processConfig = ProcessConfig()
    public var openStdin = false
    public var openStderr = false
    public var openStdout = false
    public var canRemove = false
    public var containerID = ""
    public var detachKeys = ""
    public var pid = 0

    public init() {}

    public static let fields = Fields<Self> {
        $0("ID", \.id)
        $0("Running", \.running)
        $0("ExitCode", \.exitCode)
        $0("ProcessConfig", \.processConfig)
        $0("OpenStdin", \.openStdin)
        $0("OpenStderr", \.openStderr)
        $0("OpenStdout", \.openStdout)
        $0("CanRemove", \.canRemove)
        $0("ContainerID", \.containerID)
        // A byte slice in Go, so base64; empty in practice.
        $0("DetachKeys", \.detachKeys)
        $0("Pid", \.pid)
    }

    public struct ProcessConfig: WireObject {
        public var tty = false
        public var entrypoint = ""
        public var arguments: [String] = []
        public var privileged: Bool?
        public var user = ""

        public init() {}

        public static let fields = Fields<Self> {
            $0("tty", \.tty)
            $0("entrypoint", \.entrypoint)
            $0("arguments", \.arguments)
            $0("privileged", \.privileged, .omitEmpty)
            $0("user", \.user, .omitEmpty)
        }
    }
}
