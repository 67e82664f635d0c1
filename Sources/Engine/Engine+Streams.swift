import ContainerLog
import EngineAPI
import Glibc
import LinuxKernel
import MonitorProtocol

extension Engine {
    /// Attaches to a running container, or to one that is about to be started.
    public func attachContainer(_ id: String, _ options: AttachOptions) async throws -> Attachment {
        let container = try registry.resolve(id)
        return try await perform { try await self.attach(container, options) }
    }

    private func attach(_ container: Container, _ options: AttachOptions) async throws -> Attachment {
        let record = container.record
        if record.lifecycle.isPaused {
            throw EngineError.conflict("container \(record.id) is paused, unpause the container before attach")
        }
        if record.lifecycle.isRestarting {
            throw EngineError.conflict(
                "container \(record.id) is restarting, wait until the container is running")
        }
        post(record, "attach")
        guard options.stream else {
            let replay = options.logs ? try replay(record, options, until: nil) : nil
            return Attachment(descriptor: nil, isTerminal: record.isTerminal, replay: replay)
        }
        let (own, other) = try StreamPair.make()
        // stdin that the container doesn't keep open is closed for this client too.
        let streams = MonitorRequest.Attach(
            stdin: options.stdin && record.config.openStdin, stdout: options.stdout, stderr: options.stderr)
        let waiting = WaitingAttachment(streams: streams, descriptor: other)
        guard let run = await runToAttach(to: container, waiting) else {
            return Attachment(descriptor: own, isTerminal: record.isTerminal) { self.post(container.record, "detach") }
        }
        let reply = try await run.monitor.request(.attach(streams), descriptor: other.raw)
        withExtendedLifetime(other) {}
        var history: LogStream?
        if options.logs, case .attached(let position) = reply.body {
            history = try replay(record, options, until: position)
        }
        return Attachment(descriptor: own, isTerminal: record.isTerminal, replay: history) {
            self.post(container.record, "detach")
        }
    }

    /// The run that goes on; nil where the container waits for its start, and `waiting` with it.
    private func runToAttach(to container: Container, _ waiting: WaitingAttachment) async -> ActiveRun? {
        while true {
            if container.lifecycle.isRunning, let run = container.activeRun { return run }
            if container.addWaitingAttachment(waiting) { return nil }
            // A start that is under way has taken those who waited: its end decides.
            await container.queue.run {}
        }
    }

    private func replay(
        _ record: ContainerRecord, _ options: AttachOptions, until end: LogPosition?
    ) throws -> LogStream? {
        guard let log = record.document.logFormat else { return nil }
        var read = LogReadOptions()
        read.stdout = options.stdout
        read.stderr = options.stderr
        read.end = end
        return try LogPump.stream(
            path: paths.logFile(record.id), format: LogFormat(rawValue: log.format) ?? .cri, options: read,
            isTerminal: record.isTerminal, timestamps: false, details: nil, finish: nil)
    }

    public func containerLogs(_ id: String, _ options: LogOptions) async throws -> LogStream {
        let container = try registry.resolve(id)
        return try await perform {
            let record = container.record
            guard let log = record.document.logFormat, LogDrivers.isReadable(record.hostConfig.logConfig) else {
                throw EngineError(
                    .notImplemented, "configured logging driver does not support reading")
            }
            guard options.stdout || options.stderr else {
                throw EngineError.invalid("Bad parameters: you must choose at least one stream")
            }
            var read = LogReadOptions()
            read.stdout = options.stdout
            read.stderr = options.stderr
            read.since = options.since
            read.until = options.until
            read.tail = options.tail
            let follows = options.follow && (record.lifecycle.isRunning || record.lifecycle.isStarting)
            read.follow = follows
            let ticket = follows ? container.wait(.notRunning) : nil
            do {
                return try LogPump.stream(
                    path: self.paths.logFile(record.id), format: LogFormat(rawValue: log.format) ?? .cri, options: read,
                    isTerminal: record.isTerminal, timestamps: options.timestamps,
                    details: options.details ? LogDetails.text(record) : nil,
                    finish: ticket.map { ticket in
                        { @Sendable in
                            _ = try? await ticket.value()
                            container.forget(ticket)
                        }
                    })
            } catch {
                if let ticket { container.forget(ticket) }
                throw error
            }
        }
    }

    /// Characters.
    public func resizeContainer(_ id: String, width: UInt16, height: UInt16) async throws {
        let container = try registry.resolve(id)
        try await perform {
            guard let run = container.activeRun, container.lifecycle.run != nil else {
                throw EngineError.conflict("container \(container.id) is not running")
            }
            try await run.monitor.request(.resize(exec: nil, width: width, height: height))
            self.post(container.record, "resize", extra: ["height": String(height), "width": String(width)])
        }
    }
}

/// Two connected stream sockets: one for the client's pump, one for the monitor.
enum StreamPair {
    static func make() throws(SystemError) -> (own: OwnedDescriptor, other: OwnedDescriptor) {
        var ends: [Int32] = [-1, -1]
        try checked("socketpair") {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
        }
        return (
            OwnedDescriptor(FileDescriptor(owning: ends[0])), OwnedDescriptor(FileDescriptor(owning: ends[1]))
        )
    }
}

/// What `logs --details` puts before each line: the labels and variables that the log options name.
enum LogDetails {
    static func text(_ record: ContainerRecord) -> String {
        LogDrivers.attributes(record).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            .joined(separator: ",") + " "
    }
}
