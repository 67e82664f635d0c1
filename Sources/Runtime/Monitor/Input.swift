import Glibc
import LinuxKernel

/// A process's standard input: the write end of a pipe, or a terminal's master, fed by attached clients.
final class Input {
    static let chunk = 16 << 10

    private let loop: EventLoop
    private let raw: Int32
    private var descriptor: FileDescriptor?
    /// The first client that leaves ends the input (Docker's StdinOnce; never for a terminal).
    private let endsWithClient: Bool
    private var token: EventLoop.Token
    private var pending: [UInt8] = []
    private var clients: [AttachedClient] = []
    private var ending = false
    private var gone = false

    /// `descriptor` must be non-blocking.
    init(loop: EventLoop, descriptor: consuming FileDescriptor, endsWithClient: Bool) throws(SystemError) {
        self.loop = loop
        raw = descriptor.raw
        self.descriptor = consume descriptor
        self.endsWithClient = endsWithClient
        token = 0
        token = try loop.watch(raw, .writable) { _ in self.flush() }
        loop.pause(token)
    }

    func add(_ client: AttachedClient) {
        clients.append(client)
        client.connect(to: self)
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        // The process closed its stdin, or it was closed for it: what is still sent is nobody's, as for a pipe.
        if gone || ending { return }
        pending.append(contentsOf: bytes)
        flush()
    }

    func clientLeft(_ client: AttachedClient) {
        guard clients.contains(where: { $0 === client }) else { return }
        clients.removeAll { $0 === client }
        if endsWithClient {
            ending = true
            flush()
        }
    }

    /// Gives up; what has not been written is dropped.
    func close() {
        guard !gone else { return }
        gone = true
        pending = []
        loop.remove(token)
        for client in clients { client.setInputPaused(false) }
        descriptor = nil
    }

    private func flush() {
        guard !gone else { return }
        var written = 0
        while written < pending.count {
            let count = pending.withUnsafeBytes {
                Glibc.write(raw, $0.baseAddress! + written, $0.count - written)
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { break }
                return close()
            }
            written += count
        }
        pending.removeFirst(written)
        if pending.isEmpty {
            pending = []
            loop.pause(token)
            if ending { return close() }
        } else {
            loop.resume(token)
        }
        for client in clients { client.setInputPaused(!pending.isEmpty) }
    }
}
