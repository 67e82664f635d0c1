import Glibc
import LinuxKernel
import Synchronization

/// DNS messages written and read by hand, so that the codec is not checked with itself.
enum Wire {
    static func bytes16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)] }

    static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func question(_ name: String, _ type: Int, recordClass: Int = 1) -> [UInt8] {
        Wire.name(name) + bytes16(type) + bytes16(recordClass)
    }

    static func header(_ id: Int, _ flags: Int, _ counts: [Int]) -> [UInt8] {
        bytes16(id) + bytes16(flags) + counts.flatMap { bytes16($0) }
    }

    /// An EDNS record.
    static func edns(_ payload: Int, version: UInt8 = 0, dnssecOK: Bool = false) -> [UInt8] {
        [0] + bytes16(41) + bytes16(payload) + [0, version, dnssecOK ? 0x80 : 0, 0, 0, 0]
    }

    static func query(_ name: String, _ type: Int, id: Int = 0x1234, edns payload: Int? = nil) -> [UInt8] {
        header(id, 0x0100, [1, 0, 0, payload == nil ? 0 : 1]) + question(name, type)
            + (payload.map { edns($0) } ?? [])
    }

    /// An answer to `query` as a server gives it: its question, and A records of these addresses.
    static func answer(
        _ query: [UInt8], code: Int = 0, _ addresses: [[UInt8]] = [], id: Int? = nil, extraFlags: Int = 0
    ) -> [UInt8] {
        let end = questionEnd(query)
        let own = id ?? Int(query[0]) << 8 | Int(query[1])
        return header(own, 0x8180 | extraFlags | code, [1, addresses.count, 0, 0]) + query[12..<end]
            + addresses.flatMap { [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4] + $0 }
    }

    static func questionEnd(_ message: [UInt8]) -> Int {
        var position = 12
        while message[position] != 0 { position += 1 + Int(message[position]) }
        return position + 5
    }
}

/// A message taken apart, compression followed.
struct Decoded: Equatable {
    struct Record: Equatable {
        var name: String
        var type: Int
        var data: [UInt8]
        /// What a PTR record names.
        var target = ""
    }

    var id: Int
    var flags: Int
    var name: String
    var type: Int
    var answers: [Record] = []
    var additional: [Record] = []

    var code: Int { flags & 0xF }
    var isTruncated: Bool { flags & 0x200 != 0 }
    var addresses: [String] {
        answers.filter { $0.type == 1 || $0.type == 28 }.compactMap { IPAddress(bytes: $0.data)?.description }
    }

    struct Malformed: Error {}

    init(_ message: [UInt8]) throws {
        func integer(_ offset: Int) throws -> Int {
            guard offset + 2 <= message.count else { throw Malformed() }
            return Int(message[offset]) << 8 | Int(message[offset + 1])
        }
        func name(_ offset: Int) throws -> (String, Int) {
            var position = offset
            var end: Int?
            var labels: [String] = []
            for _ in 0..<200 {
                guard position < message.count else { throw Malformed() }
                let length = Int(message[position])
                if length >= 0xC0 {
                    end = end ?? position + 2
                    position = try integer(position) & 0x3FFF
                } else if length == 0 {
                    return (labels.joined(separator: "."), end ?? position + 1)
                } else {
                    guard length < 64, position + length < message.count else { throw Malformed() }
                    labels.append(String(decoding: message[(position + 1)...(position + length)], as: UTF8.self))
                    position += length + 1
                }
            }
            throw Malformed()
        }
        id = try integer(0)
        flags = try integer(2)
        guard try integer(4) == 1 else { throw Malformed() }
        var position: Int
        (self.name, position) = try name(12)
        type = try integer(position)
        position += 4
        let answerCount = try integer(6)
        let total = try answerCount + integer(8) + integer(10)
        for index in 0..<total {
            let (owner, after) = try name(position)
            let length = try integer(after + 8)
            guard after + 10 + length <= message.count else { throw Malformed() }
            var record = Record(
                name: owner, type: try integer(after), data: Array(message[(after + 10)..<(after + 10 + length)]))
            if record.type == 12 { record.target = try name(after + 10).0 }
            if index < answerCount { answers.append(record) } else { additional.append(record) }
            position = after + 10 + length
        }
        guard position == message.count else { throw Malformed() }
    }
}

/// An IPv4 socket on the loopback interface.
final class LoopbackSocket: Sendable {
    let descriptor: Int32
    let isStream: Bool

    /// Binds to `address`; port 0 takes a free one.
    init(_ address: String = "127.0.0.1", port: UInt16 = 0, stream: Bool = false) throws {
        isStream = stream
        descriptor = socket(AF_INET, Int32((stream ? SOCK_STREAM : SOCK_DGRAM).rawValue | SOCK_CLOEXEC.rawValue), 0)
        Self.limitWaiting(descriptor)
        guard Self.with(address, port, { bind(descriptor, $0, $1) }) == 0 else { throw SystemError.current("bind") }
        if stream { listen(descriptor, 64) }
    }

    /// A TCP client's.
    init(client: Void) {
        isStream = true
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        Self.limitWaiting(descriptor)
    }

    init(accepted descriptor: Int32) {
        isStream = true
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// So that a test whose answer never comes fails instead of hanging.
    private static func limitWaiting(_ descriptor: Int32) {
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    static func with(_ address: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32
    {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        inet_pton(AF_INET, address, &name.sin_addr)
        return withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    var port: UInt16 {
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return UInt16(bigEndian: name.sin_port)
    }

    /// Another descriptor of the same socket, for a resolver to own.
    func handOver() -> LinuxKernel.FileDescriptor {
        LinuxKernel.FileDescriptor(owning: fcntl(descriptor, F_DUPFD_CLOEXEC, 3))
    }

    /// Sends one datagram to a socket of this test.
    func send(_ bytes: [UInt8], to server: LoopbackSocket) {
        let port = server.port
        _ = Self.with("127.0.0.1", port) { Int32(sendto(descriptor, bytes, bytes.count, 0, $0, $1)) }
    }

    /// The next datagram, or nothing if none comes for a long time.
    func receive() -> [UInt8]? {
        var room = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &room, room.count, 0)
        return count < 0 ? nil : Array(room[..<count])
    }

    func connect(to server: LoopbackSocket) -> Bool {
        Self.with("127.0.0.1", server.port) { Glibc.connect(descriptor, $0, $1) } == 0
    }

    /// Writes to a stream; false where the other side is gone.
    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Exactly `count` bytes of a stream, or nil at its end.
    func read(_ count: Int) -> [UInt8]? {
        var all: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65536)
        while all.count < count {
            let got = recv(descriptor, &room, min(room.count, count - all.count), 0)
            guard got > 0 else { return nil }
            all += room[..<got]
        }
        return all
    }

    /// One message with its length before it.
    func readMessage() -> [UInt8]? {
        guard let length = read(2) else { return nil }
        return read(Int(length[0]) << 8 | Int(length[1]))
    }
}

func framed(_ message: [UInt8]) -> [UInt8] { Wire.bytes16(message.count) + message }

/// An upstream server: a thread each for UDP and TCP, which answer as they are told.
final class FakeServer: Sendable {
    /// Gets a query and the client's port, nil over TCP.
    typealias Behaviour = @Sendable (_ query: [UInt8], _ client: UInt16?) -> [[UInt8]]

    private let datagrams: LoopbackSocket
    private let listener: LoopbackSocket
    private let state = Mutex(State())
    /// The ends of a socket pair: both threads end when something is written.
    private let stop: Int32
    private let stopped: Int32

    private struct State {
        var queries: [[UInt8]] = []
        var clients = Set<UInt16>()
        var threads = 2
    }

    var port: UInt16 { datagrams.port }
    /// What it was asked, in order.
    var queries: [[UInt8]] { state.withLock(\.queries) }
    /// The client ports from which datagrams came.
    var clientPorts: Set<UInt16> { state.withLock(\.clients) }

    /// - Parameter behaviour: gives the messages with which a query is answered, none for silence.
    init(_ address: String = "127.0.0.1", port: UInt16 = 0, answering behaviour: @escaping Behaviour) throws {
        var pair: (LoopbackSocket, LoopbackSocket)?
        // A port that is free for UDP may be taken for TCP, and one that is asked for be somebody's for a moment, since the
        // kernel hands the same ports out to everybody on this machine.
        _ = eventually {
            guard let datagrams = try? LoopbackSocket(address, port: port),
                let listener = try? LoopbackSocket(address, port: datagrams.port, stream: true)
            else { return false }
            pair = (datagrams, listener)
            return true
        }
        guard let pair else { throw SystemError.current("bind") }
        (datagrams, listener) = pair
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw SystemError.current("socketpair")
        }
        (stop, stopped) = (ends[1], ends[0])
        for body in [serveDatagrams, serveStreams] as [@Sendable (@escaping Behaviour) -> Void] {
            startThread {
                body(behaviour)
                self.state.withLock { $0.threads -= 1 }
            }
        }
    }

    /// Ends its threads, which refer to it, and closes its sockets with them.
    func end() {
        write(stop, [1], 1)
        while state.withLock(\.threads) > 0 { sched_yield() }
    }

    deinit {
        close(stop)
        close(stopped)
    }

    /// Waits until a socket can be read; false at the end.
    private func wait(_ descriptor: Int32) -> Bool {
        var entries = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stopped, events: Int16(POLLIN), revents: 0),
        ]
        while poll(&entries, 2, -1) < 0 {}
        return entries[1].revents == 0
    }

    @Sendable private func serveDatagrams(_ behaviour: @escaping Behaviour) {
        var room = [UInt8](repeating: 0, count: 65536)
        while wait(datagrams.descriptor) {
            var client = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &client) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(datagrams.descriptor, &room, room.count, 0, $0, &length)
                }
            }
            guard count > 0 else { continue }
            let query = Array(room[..<count])
            state.withLock {
                $0.queries.append(query)
                $0.clients.insert(UInt16(bigEndian: client.sin_port))
            }
            for reply in behaviour(query, UInt16(bigEndian: client.sin_port)) {
                _ = withUnsafePointer(to: &client) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(datagrams.descriptor, reply, reply.count, 0, $0, length)
                    }
                }
            }
        }
    }

    @Sendable private func serveStreams(_ behaviour: @escaping Behaviour) {
        while wait(listener.descriptor) {
            let accepted = accept(listener.descriptor, nil, nil)
            guard accepted >= 0 else { continue }
            let connection = LoopbackSocket(accepted: accepted)
            guard let query = connection.readMessage() else { continue }
            state.withLock { $0.queries.append(query) }
            for reply in behaviour(query, nil) { connection.write(framed(reply)) }
        }
    }
}

/// Runs `body` on a thread of its own.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let started = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
    precondition(started == 0)
    pthread_detach(thread)
}

/// Asks again and again, for what has no event to wait on; false after a minute.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<12_000 {
        if try condition() { return true }
        usleep(5000)
    }
    return false
}
