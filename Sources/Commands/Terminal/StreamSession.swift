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

        var unsent: [UInt8] = []
        var inputIsOpen = input != .none
        var closesInput = input == .none
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            if closesInput && unsent.isEmpty {
                shutdown(socket, Int32(SHUT_WR))
                closesInput = false
            }
            // What is typed is read only when the last of it has been sent: the container's pace is the user's.
            var polled = [
                pollfd(fd: socket, events: Int16(POLLIN | (unsent.isEmpty ? 0 : POLLOUT)), revents: 0),
                pollfd(fd: inputIsOpen && unsent.isEmpty ? inputDescriptor : -1, events: Int16(POLLIN), revents: 0),
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
            if polled[0].revents & Int16(POLLOUT) != 0 { send(&unsent, socket) }
            if polled[0].revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
                let count = read(socket, &buffer, buffer.count)
                if count == 0 || (count < 0 && errno == ECONNRESET) { return .closed }
                if count > 0 {
                    try buffer.withUnsafeBytes { try output.write(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                }
            }
            if polled[1].revents != 0 {
                let count = read(inputDescriptor, &buffer, buffer.count)
                if count > 0 {
                    if input == .terminal {
                        let (bytes, detaches) = detachKeys.filter(buffer[..<count])
                        unsent += bytes
                        if detaches { return .detached }
                    } else {
                        unsent += buffer[..<count]
                    }
                    send(&unsent, socket)
                } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
                    inputIsOpen = false
                    closesInput = true
                }
            }
            if polled[3].revents != 0, let over = try watched?.isOver() {
                watched = nil
                if over { return .over }
            }
        }
    }

    /// Sends what the socket takes now. A container that no longer reads its input is no error: its output goes on.
    private func send(_ bytes: inout [UInt8], _ socket: Int32) {
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count >= 0 {
                bytes.removeFirst(count)
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                bytes = []
            }
        }
    }
}
