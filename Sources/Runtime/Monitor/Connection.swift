import Glibc
import LinuxKernel
import MonitorProtocol

/// One daemon's connection: requests come in order, replies and events go out, none is dropped while it lasts.
final class Connection {
    /// Messages kept for a daemon that does not read; one that is further behind has to reconnect.
    private static let maximumQueue = 256

    private final class Outgoing {
        let packet: [UInt8]
        let descriptor: FileDescriptor?

        init(_ packet: [UInt8], _ descriptor: consuming FileDescriptor?) {
            self.packet = packet
            self.descriptor = descriptor
        }
    }

    private let loop: EventLoop
    private let channel: MonitorChannel
    private var token: EventLoop.Token = 0
    private var queue: [Outgoing] = []
    private(set) var isOpen = true
    /// The version both sides speak; 0 before the greeting.
    var version = 0

    var received: ((MonitorRequest, consuming FileDescriptor?) -> Void)?
    var closed: (() -> Void)?
    /// The last queued message has been sent.
    var flushed: (() -> Void)?

    init(loop: EventLoop, channel: consuming MonitorChannel) throws(SystemError) {
        self.loop = loop
        self.channel = channel
        token = try loop.watch(self.channel.rawDescriptor, .readable) { self.ready($0) }
    }

    var isFlushed: Bool { queue.isEmpty }

    func reply(_ sequence: UInt64, _ body: MonitorMessage.Body, descriptor: Int32? = nil) {
        guard isOpen else { return }
        do {
            try send(MonitorMessage(sequence: sequence, body: body), descriptor)
        } catch {
            Monitor.complain("a daemon is disconnected: \(error)")
            close()
        }
    }

    private func send(_ message: MonitorMessage, _ descriptor: Int32?) throws(ChannelError) {
        let packet = try MonitorChannel.encode(message)
        if queue.isEmpty {
            do throws(ChannelError) {
                return try channel.send(packet: packet, descriptor: descriptor, blocking: false)
            } catch {
                guard case .wouldBlock = error else { throw error }
            }
        }
        guard queue.count < Connection.maximumQueue else {
            Monitor.complain("a daemon that does not read its messages is disconnected")
            return close()
        }
        var kept: FileDescriptor?
        if let descriptor {
            let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
            guard copy >= 0 else { throw .system(.current("dup")) }
            kept = FileDescriptor(owning: copy)
        }
        queue.append(Outgoing(packet, kept))
        loop.change(token, to: [.readable, .writable])
    }

    func close() {
        guard isOpen else { return }
        isOpen = false
        loop.remove(token)
        channel.shutdown()
        queue = []
        closed?()
        closed = nil
        received = nil
        flushed = nil
    }

    private func ready(_ events: Readiness) {
        if events.contains(.writable) { flush() }
        if !events.isDisjoint(with: [.readable, .hangup, .error]) { receive() }
    }

    private func flush() {
        while isOpen, let next = queue.first {
            do throws(ChannelError) {
                let descriptor = raw(next.descriptor)
                try channel.send(
                    packet: next.packet, descriptor: descriptor < 0 ? nil : descriptor, blocking: false)
                queue.removeFirst()
            } catch {
                if case .wouldBlock = error { return }
                return close()
            }
        }
        guard isOpen else { return }
        loop.change(token, to: .readable)
        flushed?()
    }

    private func receive() {
        while isOpen {
            do throws(ChannelError) {
                var packet = try channel.receive(MonitorRequest.self, blocking: false)
                let request = packet.message
                received?(request, packet.takeDescriptor())
            } catch {
                switch error {
                case .wouldBlock: return
                case .malformed(let why, let sequence):
                    // From a newer daemon, most likely: it falls back to what this version understands.
                    reply(
                        sequence ?? 0,
                        .failed(StartFailure(stage: "protocol", errno: EPROTO, message: "not understood: \(why)")))
                default: return close()
                }
            }
        }
    }
}
