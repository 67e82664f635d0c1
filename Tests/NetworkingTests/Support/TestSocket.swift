import Glibc
import LinuxKernel

/// A plain socket in a network namespace, for IPv4 and IPv6 in the same words.
final class TestSocket: Sendable {
    let raw: Int32

    private init(_ raw: Int32) { self.raw = raw }

    deinit { close(raw) }

    /// How long something that must come may take; it is a guard against hanging, and never waited out in a test that
    /// passes.
    private static let patience = Int32(60_000)

    static func listen(in namespace: NetworkNamespace, _ address: String, _ port: UInt16) throws -> TestSocket {
        try make(namespace, SOCK_STREAM, address, port) { socket, pointer, size in
            var yes = Int32(1)
            setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
            try checked("bind \(address) \(port)") { bind(socket.raw, pointer, size) }
            try checked("listen") { Glibc.listen(socket.raw, 16) }
        }
    }

    static func datagram(in namespace: NetworkNamespace, _ address: String, _ port: UInt16) throws -> TestSocket {
        try make(namespace, SOCK_DGRAM, address, port) { socket, pointer, size in
            try checked("bind \(address) \(port)") { bind(socket.raw, pointer, size) }
        }
    }

    /// Sends the first packet of a connection and doesn't wait; of a datagram socket, fixes the other end.
    static func connecting(
        in namespace: NetworkNamespace, to address: String, _ port: UInt16, _ type: __socket_type = SOCK_STREAM,
        from source: String? = nil
    ) throws -> TestSocket {
        try make(namespace, type, address, port) { socket, pointer, size in
            _ = fcntl(socket.raw, F_SETFL, O_NONBLOCK)
            if let source {
                try withAddress(source, 0) { pointer, size in
                    try checked("bind \(source)") { bind(socket.raw, pointer, size) }
                }
            }
            if connect(socket.raw, pointer, size) != 0, errno != EINPROGRESS {
                throw SystemError.current("connect to \(address) \(port)")
            }
        }
    }

    /// An established connection.
    static func connected(
        in namespace: NetworkNamespace, to address: String, _ port: UInt16, from source: String? = nil
    ) throws -> TestSocket {
        let socket = try connecting(in: namespace, to: address, port, from: source)
        guard socket.wait(POLLOUT, patience) else {
            throw CommandFailed(description: "no answer from \(address) \(port)")
        }
        var error = Int32(0)
        var size = socklen_t(4)
        getsockopt(socket.raw, SOL_SOCKET, SO_ERROR, &error, &size)
        if error != 0 { throw SystemError("connect to \(address) \(port)", errno: error) }
        return socket
    }

    /// The next connection, and the address of the one who made it.
    func accept() throws -> (TestSocket, from: String) {
        guard wait(POLLIN, TestSocket.patience) else { throw CommandFailed(description: "nobody connects") }
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let raw = try withUnsafeMutablePointer(to: &storage) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                try checked("accept") { Glibc.accept(self.raw, pointer, &size) }
            }
        }
        return (TestSocket(raw), TestSocket.text(storage))
    }

    /// Whether something is there to be read or accepted by now.
    var hasInput: Bool { wait(POLLIN, 0) }

    /// Whether a connection came about within the time that a refused or dropped one is given. Only "no" costs that
    /// time, and only "yes" can be wrong.
    func isConnected(within milliseconds: Int32 = 300) -> Bool {
        guard wait(POLLOUT, milliseconds) else { return false }
        var error = Int32(0)
        var size = socklen_t(4)
        getsockopt(raw, SOL_SOCKET, SO_ERROR, &error, &size)
        return error == 0
    }

    /// The count of bytes that were taken.
    @discardableResult
    func send(_ text: String) throws -> Int {
        try checked("send") { Glibc.send(raw, text, text.utf8.count, Int32(MSG_NOSIGNAL)) }
    }

    /// What comes next, and from where; the empty text at the end of a stream.
    func receive() throws -> (text: String, from: String) {
        guard wait(POLLIN, TestSocket.patience) else { throw CommandFailed(description: "nothing comes") }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let count = try withUnsafeMutablePointer(to: &storage) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                try checked("recv") { recvfrom(raw, &buffer, buffer.count, 0, pointer, &size) }
            }
        }
        return (String(decoding: buffer[..<count], as: UTF8.self), TestSocket.text(storage))
    }

    /// Answers the sender of a datagram.
    func echo() throws -> String {
        guard wait(POLLIN, TestSocket.patience) else { throw CommandFailed(description: "nothing comes") }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        try withUnsafeMutablePointer(to: &storage) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                let count = try checked("recvfrom") { recvfrom(raw, &buffer, buffer.count, 0, pointer, &size) }
                try checked("sendto") { sendto(raw, buffer, count, 0, pointer, size) }
            }
        }
        return TestSocket.text(storage)
    }

    func shutdownOutput() { shutdown(raw, Int32(SHUT_WR)) }

    private func wait(_ events: Int32, _ milliseconds: Int32) -> Bool {
        var polled = pollfd(fd: raw, events: Int16(events), revents: 0)
        return poll(&polled, 1, milliseconds) == 1
    }

    private static func make(
        _ namespace: NetworkNamespace, _ type: __socket_type, _ address: String,
        _ port: UInt16, _ setUp: @escaping @Sendable (TestSocket, UnsafePointer<sockaddr>, socklen_t) throws -> Void
    ) throws -> TestSocket {
        let kind = Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        return try namespace.inside {
            let family = address.utf8.contains(UInt8(ascii: ":")) ? AF_INET6 : AF_INET
            let socket = TestSocket(try checked("socket") { Glibc.socket(family, kind, 0) })
            try withAddress(address, port) { try setUp(socket, $0, $1) }
            return socket
        }
    }

    /// `fe80::1%3` has a scope, the index of the interface.
    private static func withAddress(
        _ text: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Void
    ) throws {
        let parts = text.split(separator: "%")
        let parsed = IPAddress(String(parts[0]))!
        let bytes = parsed.bytes
        if parsed.isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_scope_id = parts.count > 1 ? UInt32(parts[1])! : 0
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: bytes) }
            try withUnsafePointer(to: &address) {
                try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    try body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: bytes) }
            try withUnsafePointer(to: &address) {
                try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    try body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }

    private static func text(_ storage: sockaddr_storage) -> String {
        let range = storage.ss_family == sa_family_t(AF_INET6) ? 8..<24 : 4..<8
        return withUnsafeBytes(of: storage) { bytes in
            "\(IPAddress(bytes: Array(bytes[range]))!)"
        }
    }
}
