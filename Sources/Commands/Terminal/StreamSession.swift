import Glibc

/// Connects the user to a container's streams: what is typed goes there, what it writes comes back, signals are passed
/// on, the terminal's size follows the window. One thread, one `poll`: nothing is lost and nothing overtakes.
struct StreamSession {
    /// Where standard input goes; nil when it is not attached.
    enum Input { case none, plain, terminal }
    enum End: Equatable {
        /// The container closed its streams.
        case closed
        /// The user typed the detach keys.
        case detached
        /// `isOver` said so.
        case over
    }

    let stream: HijackedStream
    var input = Input.none
    /// What is typed is read from here.
    var inputDescriptor = STDIN_FILENO
    var output: OutputDemultiplexer
    var detachKeys: DetachKeys
    /// Signals to watch for, and what to do with one.
    var signals: [Int32] = []
    var onSignal: (Int32) throws -> Void = { _ in }
    /// A second descriptor to watch, for example that of a pending `wait`, and whether it ends the session.
    var watched: (descriptor: Int32, isOver: () throws -> Bool)?

    /// Runs until the stream ends. The terminal is back in its old mode when this returns or throws.
    mutating func run() throws -> End {
        let socket = stream.descriptor
        let raw = input == .terminal ? try RawTerminal(inputDescriptor) : nil
        defer { raw?.restore() }
        // What would end this program must not leave the terminal raw.
        let fatal = raw == nil ? [] : [SIGHUP, SIGINT, SIGQUIT, SIGTERM].filter { !signals.contains($0) }
        let pendingSignals = signals.isEmpty && fatal.isEmpty ? nil : try SignalDescriptor(signals + fatal)
        _ = fcntl(socket, F_SETFL, O_NONBLOCK)
        if !stream.early.isEmpty { try stream.early.withUnsafeBytes { try output.write($0) } }

        var upstream = Upstream(socket: socket, isOpen: input != .none)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            upstream.closeWhenSent()
            var polled = [
                pollfd(fd: socket, events: Int16(POLLIN | (upstream.isSent ? 0 : POLLOUT)), revents: 0),
                pollfd(fd: upstream.takesMore ? inputDescriptor : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: pendingSignals?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: watched?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&polled, nfds_t(polled.count), -1) < 0 {
                if errno == EINTR { continue }
                throw CommandFailure("cannot wait for the container's output: \(goReason(errno))")
            }
            if polled[2].revents != 0 {
                for signal in pendingSignals?.pending() ?? [] {
                    if fatal.contains(signal) { throw CommandFailure(nil, exitCode: 128 + signal) }
                    try onSignal(signal)
                }
            }
            if polled[0].revents & Int16(POLLOUT) != 0 { upstream.send() }
            if polled[0].revents & Int16(POLLIN | POLLHUP | POLLERR) != 0, try isClosed(socket, &buffer) {
                return .closed
            }
            if polled[1].revents != 0, readInput(&upstream, &buffer) { return .detached }
            if polled[3].revents != 0, let over = try watched?.isOver() {
                watched = nil
                if over { return .over }
            }
        }
    }

    /// Shows what the container has written.
    /// - Returns: whether it was the end of it.
    private mutating func isClosed(_ socket: Int32, _ buffer: inout [UInt8]) throws -> Bool {
        let count = read(socket, &buffer, buffer.count)
        if count == 0 || (count < 0 && errno == ECONNRESET) { return true }
        if count > 0 { try buffer.withUnsafeBytes { try output.write(UnsafeRawBufferPointer(rebasing: $0[..<count])) } }
        return false
    }

    /// Passes on what was typed.
    /// - Returns: whether the detach keys were among it.
    private mutating func readInput(_ upstream: inout Upstream, _ buffer: inout [UInt8]) -> Bool {
        let count = read(inputDescriptor, &buffer, buffer.count)
        if count > 0 {
            let typed = buffer[..<count]
            let (bytes, detaches) = input == .terminal ? detachKeys.filter(typed) : (Array(typed), false)
            upstream.send(bytes)
            return detaches
        }
        if count == 0 || (errno != EAGAIN && errno != EINTR) { upstream.isOpen = false }
        return false
    }
}

/// What goes to the container: bytes that its socket has not taken yet, then the end.
private struct Upstream {
    let socket: Int32
    /// Whether there may be more input.
    var isOpen: Bool
    private var unsent: [UInt8] = []
    private var isShutDown = false

    init(socket: Int32, isOpen: Bool) {
        self.socket = socket
        self.isOpen = isOpen
    }

    var isSent: Bool { unsent.isEmpty }

    /// What is typed is read only when the last of it has been sent: the container's pace is the user's.
    var takesMore: Bool { isOpen && isSent }

    mutating func closeWhenSent() {
        if isOpen || !isSent || isShutDown { return }
        shutdown(socket, Int32(SHUT_WR))
        isShutDown = true
    }

    mutating func send(_ bytes: [UInt8]) {
        unsent += bytes
        send()
    }

    /// Sends what the socket takes now. A container that no longer reads its input is no error: its output goes on.
    mutating func send() {
        while !unsent.isEmpty {
            let count = unsent.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count >= 0 {
                unsent.removeFirst(count)
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                unsent = []
            }
        }
    }
}
