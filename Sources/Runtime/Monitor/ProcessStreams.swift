import CLinux
import ContainerLog
import Glibc
import LinuxKernel
import MonitorProtocol

/// The host's side of one process's standard streams: pipes, or a pseudo-terminal.
///
/// ``prepare()``, start the process with what it returns, ``begin(terminal:)``; at the process's end ``processEnded()``.
final class ProcessStreams {
    let output: Output
    private let loop: EventLoop
    private let usesTerminal: Bool
    /// stdin is open for clients; otherwise it is /dev/null.
    private let openInput: Bool
    private let inputEndsWithClient: Bool
    /// Nobody will ever read the output: it goes to /dev/null.
    private let discardsOutput: Bool
    private var size: (width: UInt16, height: UInt16)
    private var input: Input?
    private var master: FileDescriptor?
    /// Our own hold on the terminal's other side. Without it a program that closes and reopens its terminal would end
    /// its own output: the master reads EIO while no slave is open.
    private var slave: FileDescriptor?

    // Between `prepare` and `begin`: the process's ends, and ours.
    private var processInput: FileDescriptor?
    private var processOutput: FileDescriptor?
    private var processError: FileDescriptor?
    private var inputEnd: FileDescriptor?
    private var outputEnd: FileDescriptor?
    private var errorEnd: FileDescriptor?

    init(
        loop: EventLoop, output: Output, terminal: Bool, size: (width: UInt16, height: UInt16), openInput: Bool,
        inputEndsWithClient: Bool, discardsOutput: Bool = false
    ) {
        self.loop = loop
        self.output = output
        usesTerminal = terminal
        self.size = size
        self.openInput = openInput
        // As with dockerd, a terminal's input never ends with its client.
        self.inputEndsWithClient = inputEndsWithClient && !terminal
        self.discardsOutput = discardsOutput
    }

    /// What the process is to be started with.
    func prepare() throws(SystemError) -> Stdio {
        if usesTerminal { return .terminal(width: size.width, height: size.height) }
        if openInput {
            try makePipe(&processInput, &inputEnd, ourSideWrites: true)
        } else {
            processInput = try FileDescriptor("/dev/null", O_RDONLY)
        }
        if discardsOutput {
            processOutput = try FileDescriptor("/dev/null", O_WRONLY)
            processError = try FileDescriptor("/dev/null", O_WRONLY)
        } else {
            try makePipe(&processOutput, &outputEnd, ourSideWrites: false)
            try makePipe(&processError, &errorEnd, ourSideWrites: false)
        }
        return .descriptors(input: raw(processInput), output: raw(processOutput), error: raw(processError))
    }

    /// The process runs: gives up its ends and begins to read ours. `terminal` is the master where there is one, `peer` its
    /// other side; nil: to be opened here.
    func begin(
        terminal: consuming FileDescriptor?, peer: consuming FileDescriptor? = nil
    ) throws(SystemError) {
        processInput = nil
        processOutput = nil
        processError = nil
        if let terminal {
            try setNonBlocking(terminal.raw)
            if let peer {
                slave = consume peer
            } else {
                slave = FileDescriptor(
                    owning: try checked("open the terminal") {
                        clinux_pty_peer(terminal.raw, O_RDWR | O_NOCTTY | O_CLOEXEC)
                    })
            }
            if openInput {
                input = try Input(loop: loop, descriptor: try terminal.duplicate(), endsWithClient: false)
            }
            let reader = try terminal.duplicate()
            master = consume terminal
            try output.read(from: reader, as: .stdout)
        } else {
            if let end = inputEnd.take() {
                input = try Input(loop: loop, descriptor: end, endsWithClient: inputEndsWithClient)
            }
            if let end = outputEnd.take() { try output.read(from: end, as: .stdout) }
            if let end = errorEnd.take() { try output.read(from: end, as: .stderr) }
        }
        if let input { for client in output.clients { input.add(client) } }
    }

    /// Connects a client that came later.
    func add(_ client: AttachedClient) -> LogPosition? {
        let position = output.add(client)
        input?.add(client)
        return position
    }

    /// In characters. Before the start it is the size to start with.
    func resize(width: UInt16, height: UInt16) throws(StartFailure) {
        guard usesTerminal else {
            throw StartFailure(stage: "resize", errno: 0, message: "cannot resize: the process has no terminal")
        }
        size = (width, height)
        let master = raw(master)
        guard master >= 0 else { return }
        do {
            try Terminal.setSize(master, width: width, height: height)
        } catch {
            throw StartFailure(stage: "resize", errno: error.errno, message: "cannot resize the terminal: \(error)")
        }
    }

    /// Everything the process printed is read; `output.isRunning` tells whether others still hold its streams.
    func processEnded() {
        input?.close()
        input = nil
        slave = nil
        output.drain()
    }

    private func makePipe(
        _ processSide: inout FileDescriptor?, _ ourSide: inout FileDescriptor?, ourSideWrites: Bool
    ) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try checked("pipe") { pipe(&ends) }
        // pipe2(2) is not visible from Swift; there is one thread, so nothing is forked in between.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        ourSide = FileDescriptor(owning: ends[ourSideWrites ? 1 : 0])
        processSide = FileDescriptor(owning: ends[ourSideWrites ? 0 : 1])
        try setNonBlocking(ends[ourSideWrites ? 1 : 0])
    }

    private func setNonBlocking(_ descriptor: Int32) throws(SystemError) {
        let flags = try checked("fcntl") { fcntl(descriptor, F_GETFL) }
        try checked("fcntl") { fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) }
    }
}

/// The number of an optional descriptor, -1 for none.
func raw(_ descriptor: borrowing FileDescriptor?) -> Int32 {
    switch descriptor {
    case .some(let descriptor): descriptor.raw
    case .none: -1
    }
}
