import Glibc
import LinuxKernel
import OCI

/// Where a container's log goes beside its file: what the log drivers `syslog` and `journald` are about.
public enum LogDestination: Codable, Sendable, Equatable {
    /// journald's socket, and the fields that each entry has (systemd's "Native Journal Protocol").
    case journal(socket: String, fields: [String: String])
    case syslog(Syslog)

    public struct Syslog: Codable, Sendable, Equatable {
        public var address: LogAddress
        public var format: Format
        /// The facility's number (RFC 5424, table 1).
        public var facility: Int
        public var tag: String
        public var hostname: String

        public enum Format: String, Codable, Sendable {
            /// As syslog(3) writes to /dev/log: no host name.
            case local
            case rfc3164
            case rfc5424
            /// RFC 5424 with microseconds.
            case rfc5424micro
        }

        public init(address: LogAddress, format: Format, facility: Int, tag: String, hostname: String) {
            self.address = address
            self.format = format
            self.facility = facility
            self.tag = tag
            self.hostname = hostname
        }
    }
}

/// A socket to send log messages to. Addresses are numeric: who forwards does not look names up.
public enum LogAddress: Codable, Sendable, Equatable {
    case unixDatagram(String)
    case unixStream(String)
    case udp(String, port: UInt16)
    case tcp(String, port: UInt16)
}

/// Sends each record of a log on. A receiver that does not take it holds the container's output back for ``patience`` at
/// most, and then not again until it takes something: what it missed is counted, and told to it when it is back. A
/// connection that isn't made by then goes on being made meanwhile.
final class LogForwarder {
    /// Milliseconds.
    private static let patience: Int32 = 1000

    private let destination: LogDestination
    private let address: LogAddress
    private var socket: FileDescriptor?
    private var connecting: FileDescriptor?
    private var lost = 0
    private var ordinal = 0
    private var problem: String?

    init(_ destination: LogDestination) {
        self.destination = destination
        address =
            switch destination {
            case .journal(let socket, _): .unixDatagram(socket)
            case .syslog(let syslog): syslog.address
            }
    }

    /// A sentence about what went wrong since the last call.
    func takeProblem() -> String? { problem.take() }

    /// - Parameter content: without its newline.
    func send(_ content: UnsafeRawBufferPointer, stream: LogStream, partial: Bool, time: Int64) {
        if lost > 0 {
            let note = Array("mycontainer: \(lost) lines are missing here: they could not be sent".utf8)
            guard note.withUnsafeBytes({ deliver(message($0, .stderr, false, time)) }) else {
                lost += 1
                return
            }
            lost = 0
        }
        ordinal += 1
        if deliver(message(content, stream, partial, time)) { return }
        lost += 1
    }

    // MARK: Messages

    private func message(
        _ content: UnsafeRawBufferPointer, _ stream: LogStream, _ partial: Bool, _ time: Int64
    ) -> [UInt8] {
        // Severity 6 is informational, 3 an error.
        let severity = stream == .stdout ? 6 : 3
        switch destination {
        case .journal(_, let fields):
            var output: [UInt8] = []
            JournalEntry.append("MESSAGE", content, to: &output)
            JournalEntry.append("PRIORITY", "\(severity)", to: &output)
            if partial { JournalEntry.append("CONTAINER_PARTIAL_MESSAGE", "true", to: &output) }
            JournalEntry.append("CONTAINER_LOG_ORDINAL", "\(ordinal)", to: &output)
            var stamp: [UInt8] = []
            RFC3339.append(time, to: &stamp)
            stamp.withUnsafeBytes { JournalEntry.append("SYSLOG_TIMESTAMP", $0, to: &output) }
            for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
                JournalEntry.append(name, value, to: &output)
            }
            return output
        case .syslog(let syslog):
            var output = Array(
                SyslogHeader.text(syslog, priority: syslog.facility << 3 | severity, time: time, pid: getpid()).utf8)
            output.append(contentsOf: content)
            output.append(newline)
            return output
        }
    }

    // MARK: Delivery

    private func deliver(_ message: [UInt8]) -> Bool {
        do throws(SystemError) {
            // A receiver that was restarted has another socket: one more try.
            if socket != nil, try write(message) { return true }
            socket = nil
            try connect()
            if try write(message) { return true }
            throw SystemError("send to the log's receiver", errno: EPIPE)
        } catch {
            socket = nil
            if lost == 0 { problem = "the log's receiver does not take it: \(error)" }
            return false
        }
    }

    private func connect() throws(SystemError) {
        if connecting == nil { connecting = try LogSocket.begin(address) }
        guard let pending = connecting?.raw else { return }
        let isConnected: Bool
        do throws(SystemError) {
            isConnected = try LogSocket.isConnected(pending, patience: lost > 0 ? 0 : LogForwarder.patience)
        } catch {
            connecting = nil
            throw error
        }
        guard isConnected else { throw SystemError("connect to the log's receiver", errno: ETIMEDOUT) }
        socket = connecting.take()
    }

    /// false: the connection has ended.
    private func write(_ message: [UInt8]) throws(SystemError) -> Bool {
        guard let descriptor = socket?.raw else { return false }
        var done = 0
        while done < message.count {
            let count = message.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress! + done, $0.count - done, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count >= 0 {
                done += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                if lost > 0 || poll(&waiting, 1, LogForwarder.patience) <= 0 {
                    throw SystemError("send to the log's receiver", errno: EAGAIN)
                }
            case ECONNREFUSED, ECONNRESET, EPIPE, ENOTCONN, ENOENT: return false
            default: throw .current("send to the log's receiver")
            }
        }
        return true
    }
}

/// A field of systemd's native journal protocol: `NAME=value`, or the value's length before it where it has newlines.
enum JournalEntry {
    static func append(_ name: String, _ value: String, to output: inout [UInt8]) {
        var value = value
        value.withUTF8 { append(name, UnsafeRawBufferPointer($0), to: &output) }
    }

    static func append(_ name: String, _ value: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        output.append(contentsOf: name.utf8)
        if value.contains(newline) {
            output.append(newline)
            withUnsafeBytes(of: UInt64(value.count).littleEndian) { output.append(contentsOf: $0) }
        } else {
            output.append(UInt8(ascii: "="))
        }
        output.append(contentsOf: value)
        output.append(newline)
    }
}

/// What stands before the content of a syslog message, as dockerd writes it.
enum SyslogHeader {
    static func text(_ syslog: LogDestination.Syslog, priority: Int, time: Int64, pid: pid_t) -> String {
        switch syslog.format {
        case .local: "<\(priority)>\(stamp(time)) \(syslog.tag)[\(pid)]: "
        case .rfc3164: "<\(priority)>\(stamp(time)) \(syslog.hostname) \(syslog.tag)[\(pid)]: "
        case .rfc5424, .rfc5424micro:
            "<\(priority)>1 \(timestamp(time, micro: syslog.format == .rfc5424micro)) \(syslog.hostname) \(syslog.tag) "
                + "\(pid) \(syslog.tag) - "
        }
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// RFC 3164's `Jan  2 15:04:05`, local time.
    private static func stamp(_ time: Int64) -> String {
        var seconds = time_t(time / 1_000_000_000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        let day = parts.tm_mday < 10 ? " \(parts.tm_mday)" : "\(parts.tm_mday)"
        return "\(months[Int(parts.tm_mon)]) \(day) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }

    /// RFC 3339 in UTC, to the second or the microsecond.
    private static func timestamp(_ time: Int64, micro: Bool) -> String {
        var bytes: [UInt8] = []
        RFC3339.append(time, to: &bytes)
        // `2026-01-02T03:04:05.123456789Z`
        return String(decoding: bytes[..<(micro ? 26 : 19)], as: UTF8.self) + "Z"
    }

    private static func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

/// Sockets to log receivers.
enum LogSocket {
    /// A socket whose connection is made or being made.
    static func begin(_ address: LogAddress) throws(SystemError) -> FileDescriptor {
        switch address {
        case .unixDatagram(let path): try unix(path, Int32(SOCK_DGRAM.rawValue))
        case .unixStream(let path): try unix(path, Int32(SOCK_STREAM.rawValue))
        case .udp(let host, let port): try internet(host, port, Int32(SOCK_DGRAM.rawValue))
        case .tcp(let host, let port): try internet(host, port, Int32(SOCK_STREAM.rawValue))
        }
    }

    /// Waits for the connection, `patience` milliseconds at most.
    /// - Throws: where it was refused.
    static func isConnected(_ socket: Int32, patience: Int32) throws(SystemError) -> Bool {
        var waiting = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, patience) > 0 else { return false }
        var failure: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &length)
        if failure != 0 { throw SystemError("connect to the log's receiver", errno: failure) }
        return true
    }

    private static let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

    private static func unix(_ path: String, _ type: Int32) throws(SystemError) -> FileDescriptor {
        let socket = FileDescriptor(owning: try checked("socket") { Glibc.socket(AF_UNIX, type | flags, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError("connect to \(path)", errno: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        try checked("connect to \(path)") {
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(socket.raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        return socket
    }

    private static func internet(
        _ host: String, _ port: UInt16, _ type: Int32
    ) throws(SystemError) -> FileDescriptor {
        let family = host.contains(":") ? AF_INET6 : AF_INET
        let socket = FileDescriptor(owning: try checked("socket") { Glibc.socket(family, type | flags, 0) })
        let operation = "connect to \(host), port \(port)"
        var result: Int32 = -1
        if family == AF_INET6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(family)
            address.sin6_port = port.bigEndian
            guard inet_pton(family, host, &address.sin6_addr) == 1 else { throw SystemError(operation, errno: EINVAL) }
            result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(socket.raw, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(family)
            address.sin_port = port.bigEndian
            guard inet_pton(family, host, &address.sin_addr) == 1 else { throw SystemError(operation, errno: EINVAL) }
            result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(socket.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard result == 0 || errno == EINPROGRESS else { throw .current(operation) }
        return socket
    }
}
