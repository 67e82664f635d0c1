import ContainerLog
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// One container as its monitor knows it: connections, streams, processes, and the way from ready over running to
/// exited. Everything happens on one thread, between two waits of the event loop.
final class ContainerMonitor {
    /// Bounds on what clients can make a monitor hold.
    static let maximumConnections = 32
    static let maximumClients = 128
    static let maximumExecs = 128

    let bundle: String
    let document: LaunchDocument
    let loop: EventLoop
    let streams: ProcessStreams
    private var lock: FileDescriptor?
    private var listener: Listener?
    private var listenerToken: EventLoop.Token = 0
    private var connections: [Connection] = []
    private var trimming = false
    /// Everything is done but for what others still have to read.
    private var leaving = false

    var state = MonitorMessage.State.ready
    /// Needed for the start only.
    var spec: RuntimeSpec?
    var record: ExitRecordFile?
    /// The container's first process, and what else is known of it while it runs.
    var container: RunningContainer?
    /// What starts further processes in it.
    var entrance: ContainerEntrance?
    var execs: [String: ExecSession] = [:]
    /// Of its system calls, where that was asked for.
    var audit: SeccompAudit?
    var startedAt: Int64 = 0
    var finishedAt: Int64 = 0
    var exitStatus: ExitStatus?
    var endToken: EventLoop.Token = 0
    var memoryToken: EventLoop.Token = 0
    /// Clients of exec processes that have ended, with output still to read.
    var lingering: [AttachedClient] = []

    /// Used by the start.
    var supplies: MonitorSupplies

    init(bundle: String, lock: consuming FileDescriptor, supplies: MonitorSupplies) throws(StartFailure) {
        self.bundle = bundle
        self.supplies = supplies
        document = try Bundle.decode(LaunchDocument.self, "\(bundle)/\(MonitorProtocol.launchDocumentName)")
        let spec = try Bundle.decode(RuntimeSpec.self, "\(bundle)/config.json")
        guard let process = spec.process else {
            throw StartFailure(stage: "bundle", errno: EINVAL, message: "\(bundle)/config.json has no process")
        }
        do throws(SystemError) {
            loop = try EventLoop()
            listener = try Listener(bundle)
            record = try ExitRecordFile(path: document.exitRecordPath)
            let log: LogWriter? =
                if let log = document.log {
                    try LogWriter(
                        path: log.path, format: log.format, maxSize: log.maxSize, maxFiles: log.maxFiles,
                        attributes: log.attributes ?? [:], destination: log.destination)
                } else { nil }
            let terminal = process.terminal ?? false
            let output = Output(
                loop: loop, framed: !terminal,
                cutOffTime: document.streams.slowClientTimeout ?? Output.defaultCutOffTime,
                log: log)
            streams = ProcessStreams(
                loop: loop, output: output, terminal: terminal,
                size: (
                    UInt16(clamping: process.consoleSize?.width ?? 0),
                    UInt16(clamping: process.consoleSize?.height ?? 0)
                ),
                openInput: document.streams.openStdin, inputEndsWithClient: document.streams.stdinOnce)
        } catch {
            throw StartFailure(stage: "monitor", errno: error.errno, message: "cannot prepare the container: \(error)")
        }
        self.spec = spec
        self.lock = consume lock
    }

    /// Serves requests until the container has ended (or was never started and nobody is left who could).
    func run(channel: consuming MonitorChannel) throws(SystemError) {
        try add(channel)
        listenerToken = try loop.watch(listener!.socket.rawDescriptor, .readable) { _ in self.accept() }
        try loop.run()
        entrance?.end()
    }

    // MARK: - Connections

    private final class Listener {
        let socket: MonitorListener

        init(_ bundle: String) throws(SystemError) { socket = try MonitorListener(bundle: bundle) }
    }

    private func add(_ channel: consuming MonitorChannel) throws(SystemError) {
        let connection = try Connection(loop: loop, channel: channel)
        connection.received = { [unowned connection] request, descriptor in
            self.handle(request, descriptor, from: connection)
        }
        connection.closed = { self.connectionClosed() }
        connections.append(connection)
    }

    private func accept() {
        while let listener {
            do throws(ChannelError) {
                let channel = try listener.socket.accept()
                guard connections.count < ContainerMonitor.maximumConnections else {
                    Monitor.complain("a connection is refused: there are \(connections.count) already")
                    continue
                }
                do throws(SystemError) { try add(channel) } catch { throw .system(error) }
            } catch {
                if case .wouldBlock = error { return }
                Monitor.complain("a connection failed: \(error)")
                // Out of descriptors, most likely: the same connection would be reported again at once.
                loop.pause(listenerToken)
                _ = loop.after(1_000_000_000) { self.loop.resume(self.listenerToken) }
                return
            }
        }
    }

    private func connectionClosed() {
        connections.removeAll { !$0.isOpen }
        // Nobody is left who could say `start`: a daemon that comes back makes a new attempt.
        if state == .ready, connections.isEmpty { abandon() }
        stopWhenFlushed()
    }

    func broadcast(_ body: MonitorMessage.Body) {
        for connection in connections where connection.version > 0 { connection.reply(0, body) }
    }

    // MARK: - The end

    /// Undoes the preparation and ends the monitor.
    func abandon() {
        record.take()?.abandon()
        streams.output.finish()
        state = .exited
        leave()
    }

    /// The record is written: lets go of everything that a new run of the container needs, and stays only until
    /// clients and daemons have read what is theirs.
    func leave() {
        leaving = true
        loop.remove(listenerToken)
        listener = nil
        unlink("\(bundle)/\(MonitorProtocol.socketName)")
        lock = nil
        streams.output.clientClosed = { self.stopWhenFlushed() }
        for connection in connections { connection.flushed = { self.stopWhenFlushed() } }
        _ = loop.after(AttachedClient.lingerTime) { self.loop.stop() }
        stopWhenFlushed()
    }

    func stopWhenFlushed() {
        guard leaving else { return }
        let clients = streams.output.clients + lingering
        if clients.allSatisfy(\.isFlushed), connections.allSatisfy(\.isFlushed) { loop.stop() }
    }

    // MARK: - Memory

    /// Called after work that allocated: once it is quiet, unused memory goes back.
    func trimSoon() {
        guard !trimming else { return }
        trimming = true
        _ = loop.after(1_000_000_000) {
            self.trimming = false
            Scratch.trim()
        }
    }
}
