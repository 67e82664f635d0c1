import ContainerLog
import Glibc
import LinuxKernel
import MonitorProtocol

/// What a process prints: read once, written to the log and to every attached client.
///
/// A client that does not keep up stops the reading, so that the process blocks on its full pipe as it would with a slow
/// terminal; after ``cutOffTime`` the client is cut off. The log holds nothing back.
final class Output {
    private final class Source {
        let descriptor: FileDescriptor
        let stream: LogStream
        var token: EventLoop.Token = 0

        init(_ descriptor: consuming FileDescriptor, _ stream: LogStream) {
            self.descriptor = descriptor
            self.stream = stream
        }
    }

    /// How long a client may hold the container back, in nanoseconds, unless the launch document says otherwise.
    static let defaultCutOffTime: Int64 = 60_000_000_000

    private let loop: EventLoop
    /// Whether clients get Docker's stream frames: not for a terminal.
    let framed: Bool
    private let cutOffTime: Int64
    private var log: LogWriter?
    private var sources: [Source] = []
    private(set) var clients: [AttachedClient] = []
    private var paused = false
    private var processEnded = false

    /// All sources have ended.
    var ended: (() -> Void)?
    /// A client was closed.
    var clientClosed: (() -> Void)?
    /// Sees everything that is printed.
    var capture: ((UnsafeRawBufferPointer) -> Void)?

    init(loop: EventLoop, framed: Bool, cutOffTime: Int64, log: consuming LogWriter? = nil) {
        self.loop = loop
        self.framed = framed
        self.cutOffTime = cutOffTime
        self.log = log
    }

    /// Reads from `descriptor` (non-blocking) until it ends.
    func read(from descriptor: consuming FileDescriptor, as stream: LogStream) throws(SystemError) {
        let source = Source(descriptor, stream)
        source.token = try loop.watch(source.descriptor.raw, .readable) { _ in self.ready(source) }
        if paused { loop.pause(source.token) }
        sources.append(source)
    }

    /// Adds a client, and says where the log stood: what the client gets begins exactly there.
    func add(_ client: AttachedClient) -> LogPosition? {
        clients.append(client)
        // Held until the client is closed: it may outlive the process whose output it still reads.
        client.changed = { [unowned client] in self.clientChanged(client) }
        return log?.position(at: MonitorClock.realtime())
    }

    var isRunning: Bool { !sources.isEmpty }

    /// The process has ended: reads everything that it left behind, whatever clients do (a pipe's worth at most is kept
    /// for each). Afterwards only other holders of the same pipes could print more.
    func drain() {
        processEnded = true
        setPaused(false)
        for source in sources { while readOnce(source) == .more {} }
        if sources.isEmpty { ended?() }
    }

    /// No more output: unfinished lines go to the log, clients are closed when they have read what is theirs.
    func finish() {
        for source in sources { loop.remove(source.token) }
        sources = []
        ended = nil
        log?.finish(at: MonitorClock.realtime())
        reportLogProblem()
        for client in clients { client.finish() }
    }

    // MARK: - Reading

    private enum Progress { case more, later, end }

    private func ready(_ source: Source) {
        // A few reads for each event keep other descriptors served.
        for _ in 0..<4 {
            switch readOnce(source) {
            case .more: if paused { return }
            case .later: return
            case .end:
                if sources.isEmpty { ended?() }
                return
            }
        }
    }

    private func readOnce(_ source: Source) -> Progress {
        guard sources.contains(where: { $0 === source }) else { return .end }
        let count = Scratch.withBuffer { buffer -> Int in
            let count = Glibc.read(source.descriptor.raw, buffer.baseAddress, buffer.count)
            if count > 0 { distribute(UnsafeRawBufferPointer(rebasing: buffer[..<count]), source.stream) }
            return count
        }
        if count > 0 { return .more }
        if count < 0, errno == EINTR { return .more }
        if count < 0, errno == EAGAIN { return .later }
        // End of file, or EIO: a terminal whose other side is closed everywhere.
        loop.remove(source.token)
        sources.removeAll { $0 === source }
        return .end
    }

    private func distribute(_ bytes: UnsafeRawBufferPointer, _ stream: LogStream) {
        log?.append(bytes, stream: stream, at: MonitorClock.realtime())
        reportLogProblem()
        capture?(bytes)
        for client in clients {
            client.send(bytes, stream: stream.rawValue, cutOffAfter: processEnded ? nil : cutOffTime)
        }
    }

    private func reportLogProblem() {
        if let problem = log?.takeProblem() { Monitor.complain(problem) }
    }

    // MARK: - Back-pressure

    private func clientChanged(_ client: AttachedClient) {
        if client.closed {
            clients.removeAll { $0 === client }
            clientClosed?()
        }
        setPaused(!processEnded && clients.contains(where: \.holdsBack))
    }

    private func setPaused(_ pause: Bool) {
        guard pause != paused else { return }
        paused = pause
        for source in sources { if pause { loop.pause(source.token) } else { loop.resume(source.token) } }
    }
}
