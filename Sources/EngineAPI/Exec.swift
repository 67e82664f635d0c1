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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("User", &user)
        try fields("Privileged", &privileged)
        try fields("Tty", &tty)
        try fields("ConsoleSize", &consoleSize, .omitEmpty)
        try fields("AttachStdin", &attachStdin)
        try fields("AttachStderr", &attachStderr)
        try fields("AttachStdout", &attachStdout)
        try fields("DetachKeys", &detachKeys)
        try fields("Env", &env)
        try fields("WorkingDir", &workingDir)
        try fields.words("Cmd", &cmd)
        try fields("Detach", &detach)
    }
}

/// The answer to requests that only make something: `{"Id": …}`.
public struct IDResponse: WireObject {
    public var id = ""

    public init() {}

    public init(id: String) { self.id = id }

    public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("Id", &id) }
}

/// The body of `POST /exec/{id}/start`.
public struct ExecStartRequest: WireObject {
    public var detach = false
    public var tty = false
    /// Rows, columns.
    public var consoleSize: [UInt]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Detach", &detach)
        try fields("Tty", &tty)
        try fields("ConsoleSize", &consoleSize, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("ID", &id)
        try fields("Running", &running)
        try fields("ExitCode", &exitCode)
        try fields("ProcessConfig", &processConfig)
        try fields("OpenStdin", &openStdin)
        try fields("OpenStderr", &openStderr)
        try fields("OpenStdout", &openStdout)
        try fields("CanRemove", &canRemove)
        try fields("ContainerID", &containerID)
        // A byte slice in Go, so base64; empty in practice.
        try fields("DetachKeys", &detachKeys)
        try fields("Pid", &pid)
    }

    public struct ProcessConfig: WireObject {
        public var tty = false
        public var entrypoint = ""
        public var arguments: [String] = []
        public var privileged: Bool?
        public var user = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("tty", &tty)
            try fields("entrypoint", &entrypoint)
            try fields("arguments", &arguments)
            try fields("privileged", &privileged, .omitEmpty)
            try fields("user", &user, .omitEmpty)
        }
    }
}
