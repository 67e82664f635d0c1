import Glibc
import LinuxKernel
import MonitorProtocol

/// One attached client: a stream socket that takes the container's output and gives its input.
///
/// What the socket does not take at once is kept, up to a limit; beyond it the client holds the container back
/// (``Output`` stops reading), and if that goes on for too long the client is cut off with a sentence.
final class AttachedClient {
    /// Bytes kept for a client before it holds the container back, and the level at which it stops doing so.
    static let highWater = 128 << 10
    static let lowWater = 32 << 10
    /// How long a client that was cut off, or whose container has ended, may take to read what was kept for it.
    static let lingerTime: Int64 = 60_000_000_000

    private let loop: EventLoop
    private let socket: FileDescriptor
    let attach: MonitorRequest.Attach
    /// Docker's stream frames; raw for a terminal.
    private let framed: Bool
    private var token: EventLoop.Token = 0
    private var pending: [UInt8] = []
    private var pendingStart = 0
    private var input: Input?
    private var inputPaused = false
    private var closing = false
    private var deadline: EventLoop.Token?
    private(set) var closed = false

    /// What is kept crossed a limit, or the client went away.
    var changed: (() -> Void)?

    init(
        loop: EventLoop, socket: consuming FileDescriptor, attach: MonitorRequest.Attach, framed: Bool
    ) throws(SystemError) {
        self.loop = loop
        self.socket = socket
        self.attach = attach
        self.framed = framed
        let events: Readiness = attach.stdin ? .readable : []
        token = try loop.watch(self.socket.raw, events) { self.ready($0) }
    }

    private var pendingCount: Int { pending.count - pendingStart }

    /// The client takes no more: the container has to wait for it.
    var holdsBack: Bool { !closed && !closing && deadline != nil }

    var isFlushed: Bool { closed || pendingCount == 0 }

    // MARK: - Output

    /// Takes a piece of output. `limit` nil: the container has ended, what is left of its output is bounded anyway.
    func send(_ bytes: UnsafeRawBufferPointer, stream: UInt8, cutOffAfter limit: Int64?) {
        guard !closed, !closing, stream == 2 && framed ? attach.stderr : attach.stdout || attach.stderr && !framed
        else { return }
        queue(bytes, stream: stream)
        flush()
        if let limit, pendingCount > AttachedClient.highWater, deadline == nil, !closed {
            deadline = loop.after(limit) { self.cutOff(after: limit) }
            changed?()
        }
    }

    private func queue(_ bytes: UnsafeRawBufferPointer, stream: UInt8) {
        var sent = 0
        var header: [UInt8] = []
        if framed {
            let count = UInt32(bytes.count)
            header = [
                stream, 0, 0, 0, UInt8(truncatingIfNeeded: count >> 24), UInt8(truncatingIfNeeded: count >> 16),
                UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count),
            ]
        }
        if pendingCount == 0 {
            pending = []
            pendingStart = 0
            sent = sendNow(header, bytes)
            if sent < 0 { return close() }
        }
        if sent < header.count { pending.append(contentsOf: header[sent...]) }
        let rest = max(0, sent - header.count)
        if rest < bytes.count { pending.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[rest...])) }
    }

    /// Sends header and bytes in one call as far as there is room; -1: the client is gone.
    private func sendNow(_ header: [UInt8], _ bytes: UnsafeRawBufferPointer) -> Int {
        let sent = header.withUnsafeBytes { header in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
                vectors[0] = iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: header.baseAddress), iov_len: header.count)
                vectors[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
                var message = msghdr()
                message.msg_iov = vectors.baseAddress
                message.msg_iovlen = 2
                return sendmsg(socket.raw, &message, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
        }
        if sent >= 0 { return sent }
        return errno == EAGAIN || errno == EINTR ? 0 : -1
    }

    private func flush() {
        while pendingCount > 0 {
            let sent = pending.withUnsafeBytes {
                Glibc.send(
                    socket.raw, $0.baseAddress! + pendingStart, $0.count - pendingStart,
                    Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if sent < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { break }
                return close()
            }
            pendingStart += sent
        }
        if pendingCount == 0 {
            pending = []
            pendingStart = 0
            if closing { return close() }
        } else if pendingStart > AttachedClient.highWater {
            pending.removeFirst(pendingStart)
            pendingStart = 0
        }
        updateEvents()
        if !closing, let deadline, pendingCount <= AttachedClient.lowWater {
            loop.cancel(deadline)
            self.deadline = nil
            changed?()
        }
    }

    private func cutOff(after limit: Int64) {
        let seconds = max(1, limit / 1_000_000_000)
        var sentence = Array(
            ("mycontainer: detached: this client did not read the container's output for \(seconds) s; "
                + "the container goes on, see its log for what is missing here\n").utf8)
        if !framed { sentence.insert(contentsOf: "\r\n".utf8, at: 0) }
        sentence.withUnsafeBytes { queue($0, stream: 2) }
        finish()
        changed?()
    }

    /// Closes the connection when what is kept has been read, after ``lingerTime`` in any case.
    func finish() {
        guard !closed, !closing else { return }
        if let deadline { loop.cancel(deadline) }
        closing = true
        detachInput()
        deadline = loop.after(AttachedClient.lingerTime) { self.close() }
        flush()
    }

    func close() {
        guard !closed else { return }
        closed = true
        if let deadline { loop.cancel(deadline) }
        deadline = nil
        loop.remove(token)
        _ = shutdown(socket.raw, Int32(SHUT_RDWR))
        pending = []
        pendingStart = 0
        detachInput()
        changed?()
        changed = nil
    }

    // MARK: - Input

    /// What this client sends goes to `input` from now on.
    func connect(to input: Input) {
        guard attach.stdin, !closed else { return }
        self.input = input
        updateEvents()
    }

    /// The input has no room, or has room again.
    func setInputPaused(_ paused: Bool) {
        inputPaused = paused
        if !closed { updateEvents() }
    }

    private func detachInput() {
        let input = input.take()
        input?.clientLeft(self)
    }

    private func updateEvents() {
        var events: Readiness = []
        if pendingCount > 0 { events.insert(.writable) }
        if input != nil, !inputPaused { events.insert(.readable) }
        loop.change(token, to: events)
    }

    private func ready(_ events: Readiness) {
        if events.contains(.writable) { flush() }
        if !closed, events.contains(.readable), let input {
            let count = Scratch.withBuffer { buffer -> Int in
                let room = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Input.chunk])
                let count = recv(socket.raw, room.baseAddress, room.count, Int32(MSG_DONTWAIT))
                if count > 0 { input.write(UnsafeRawBufferPointer(rebasing: room[..<count])) }
                return count
            }
            if count == 0 {
                // Half closed: the client's input ended, its output goes on.
                detachInput()
                updateEvents()
            } else if count < 0, errno != EAGAIN, errno != EINTR {
                close()
            }
            return
        }
        if !closed, !events.isDisjoint(with: [.hangup, .error]) { close() }
    }
}
