import Glibc
import LinuxKernel

/// systemd's manager, asked over its own socket as systemctl does for root (org.freedesktop.systemd1(5)). No bus is
/// involved: it also answers early in the boot and where no dbus-daemon is installed.
struct SystemdManager: ~Copyable {
    private let socket: FileDescriptor
    private var serial: UInt32 = 0
    private var received: [UInt8] = []

    static let path = "/run/systemd/private"
    /// How long systemd may take to answer, in milliseconds: it starts and stops units one after the other.
    private var patience: Int32 = 30_000
    /// Ends of jobs that were told before the answer that names the job.
    private var ended: [DBusMessage] = []

    static func connect() throws(CommandError) -> SystemdManager {
        do throws(SystemError) {
            var manager = SystemdManager(socket: try LocalSocket.connect(to: path))
            do throws(CommandError) {
                try manager.authenticate()
            } catch {
                throw SystemError(error.message, errno: EACCES)
            }
            return manager
        } catch {
            throw CommandError(
                "the systemd cgroup driver needs systemd as the host's init: cannot connect to \(path): \(error); "
                    + "use the cgroupfs driver")
        }
    }

    private init(socket: consuming FileDescriptor) { self.socket = socket }

    private mutating func authenticate() throws(CommandError) {
        // 30 is our uid, 0, in hexadecimal digits (D-Bus Specification, "EXTERNAL").
        try send(Array("\0AUTH EXTERNAL 30\r\n".utf8))
        let answer = try line()
        guard answer.hasPrefix("OK ") else { throw CommandError("systemd refused the connection: \(answer)") }
        try send(Array("BEGIN\r\n".utf8))
    }

    /// Makes a scope with the process in it and waits until its cgroup is there.
    mutating func startScope(_ unit: String, _ properties: [(String, DBusValue)]) throws(CommandError) {
        try runJob(
            "StartTransientUnit",
            [.string(unit), .string("fail"), Self.list(properties), .array("(sa(sv))", [])])
    }

    /// Stops a unit and waits until it is gone; one that is already is no error. A scope without processes goes by itself,
    /// and whether systemd then tells of a job is not waited for long.
    mutating func stop(_ unit: String) throws(CommandError) {
        patience = 1000
        do throws(CommandError) {
            try runJob("StopUnit", [.string(unit), .string("replace")])
        } catch {
            guard error.message.contains("not loaded") || error.message.contains("did not answer") else { throw error }
        }
        // One that failed stays listed until then.
        _ = try? call("ResetFailedUnit", [.string(unit)])
    }

    /// Until the unit goes, not for the next boot.
    mutating func set(_ unit: String, _ properties: [(String, DBusValue)]) throws(CommandError) {
        _ = try call("SetUnitProperties", [.string(unit), .boolean(true), Self.list(properties)])
    }

    private static func list(_ properties: [(String, DBusValue)]) -> DBusValue {
        .array("(sv)", properties.map { .structure([.string($0.0), .variant($0.1)]) })
    }

    private mutating func runJob(_ member: String, _ arguments: [DBusValue]) throws(CommandError) {
        let reply = try call(member, arguments)
        guard let job = reply.text else { throw CommandError("systemd answered \(member) without a job") }
        // The job may have ended before its number came to us: the signal is then in the queue already.
        while true {
            let message = try ended.isEmpty ? nextMessage() : ended.removeFirst()
            guard message.kind == .signal, message.member == "JobRemoved" else { continue }
            var reader = DBusReader(message.body[...])
            guard reader.uint32() != nil, reader.string() == job, let unit = reader.string(),
                let result = reader.string()
            else { continue }
            guard result == "done" else {
                throw CommandError("systemd could not carry out \(member) for \(unit): the job ended as \(result)")
            }
            return
        }
    }

    private mutating func call(_ member: String, _ arguments: [DBusValue]) throws(CommandError) -> DBusMessage {
        serial += 1
        var message = DBusMessage.call(member, arguments)
        message.serial = serial
        try send(message.encoded)
        while true {
            let answer = try nextMessage()
            guard answer.replyTo == serial else {
                if answer.kind == .signal { ended.append(answer) }
                continue
            }
            guard answer.kind == .reply else {
                throw CommandError("systemd refused \(member): \(answer.text ?? answer.fields[4] ?? "no reason given")")
            }
            return answer
        }
    }

    private borrowing func send(_ bytes: [UInt8]) throws(CommandError) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket.raw, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw CommandError("cannot write to systemd: \(String(cString: strerror(errno)))") }
            sent += count
        }
    }

    private mutating func receive() throws(CommandError) {
        var source = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
        guard poll(&source, 1, patience) > 0 else {
            throw CommandError("systemd did not answer within \(patience / 1000) s")
        }
        var buffer = [UInt8](repeating: 0, count: 16384)
        let count = read(socket.raw, &buffer, buffer.count)
        guard count > 0 else { throw CommandError("systemd closed the connection") }
        received += buffer[..<count]
    }

    private mutating func line() throws(CommandError) -> String {
        while true {
            if let end = received.firstIndex(of: 10) {
                defer { received.removeFirst(end + 1) }
                return String(decoding: received[..<end], as: UTF8.self)
            }
            try receive()
        }
    }

    private mutating func nextMessage() throws(CommandError) -> DBusMessage {
        while true {
            if received.count >= 16 {
                guard let size = DBusMessage.size(received[..<16]) else {
                    throw CommandError("systemd sent something that is no D-Bus message")
                }
                if received.count >= size {
                    defer { received.removeFirst(size) }
                    guard let message = DBusMessage(received[..<size]) else {
                        throw CommandError("systemd sent a D-Bus message that cannot be read")
                    }
                    return message
                }
            }
            try receive()
        }
    }
}
