import Dispatch
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import Testing
import ThreadSupport

@Suite(.enabled(if: Subject.isAvailable, "needs root, busybox-static and the built runtime"))
struct NetworkNamespaceTests {
    @Test func zygotesOpenNetworkNamespacesAndComeBack() throws {
        let zygote = try TestZygote()
        #expect(try refusal(zygote, "/nonexistent").contains("/nonexistent: No such file"))
        let before = try state(zygote)
        #expect(try refusal(zygote, "/etc/passwd").contains("setns"))
        #expect(try state(zygote) == before)

        for _ in 0..<3 {
            guard case .open(var descriptors) = try zygote.client.networkNamespace(path: nil) else {
                throw Surprise("no namespace")
            }
            let namespace = try take(.namespace, from: &descriptors)
            #expect(try inode("/proc/self/fd/\(namespace.raw)") != before.namespace)
            let udp = try take(.resolverUDP, from: &descriptors)
            let tcp = try take(.resolverTCP, from: &descriptors)
            _ = try take(.netlink, from: &descriptors)
            try serveNames(namespace.raw, udp: udp.raw, tcp: tcp.raw)

            // As a daemon that was started again opens it, once pinned.
            let reopened = try zygote.client.networkNamespace(path: "/proc/\(getpid())/fd/\(namespace.raw)")
            guard case .open(var again) = reopened else { throw Surprise("not opened") }
            let same = try take(.namespace, from: &again)
            #expect(try inode("/proc/self/fd/\(same.raw)") == inode("/proc/self/fd/\(namespace.raw)"))
            let udpAgain = try take(.resolverUDP, from: &again)
            let tcpAgain = try take(.resolverTCP, from: &again)
            try serveNames(namespace.raw, udp: udpAgain.raw, tcp: tcpAgain.raw)
        }
        _ = try zygote.client.emptyNetwork()
        _ = try zygote.client.spare()
        // The refusal comes after all that was opened before was closed.
        _ = try refusal(zygote, "/nonexistent")
        #expect(try state(zygote) == before)
    }

    private func take(
        _ kind: NetworkNamespaceDescriptors.Kind, from descriptors: inout NetworkNamespaceDescriptors
    ) throws -> FileDescriptor {
        guard let descriptor = descriptors.take(kind) else { throw Surprise("no \(kind)") }
        return descriptor
    }

    private struct State: Equatable {
        var namespace: UInt64
        var descriptors: [String]
    }

    /// What the zygote has open.
    private func state(_ zygote: TestZygote) throws -> State {
        // Answered when it has done what it does at its start.
        _ = try refusal(zygote, "/nonexistent")
        return State(
            namespace: try inode("/proc/\(zygote.pid)/ns/net"),
            descriptors: try FileManager.default.contentsOfDirectory(atPath: "/proc/\(zygote.pid)/fd").sorted())
    }

    private func inode(_ path: String) throws -> UInt64 {
        var status = stat()
        try checked("stat \(path)") { stat(path, &status) }
        return UInt64(status.st_ino)
    }

    private func refusal(_ zygote: TestZygote, _ path: String) throws -> String {
        guard case .refused(let failure) = try zygote.client.networkNamespace(path: path) else {
            throw Surprise("\(path) was opened")
        }
        return failure.message
    }

    /// In the namespace: a server of names of the container's own has all of port 53, and 127.0.0.11:53 is the daemon.
    private func serveNames(_ namespace: Int32, udp: Int32, tcp: Int32) throws {
        try OwnThread.run {
            try Process.enter(namespace, .network)
            let own = try (socket(SOCK_DGRAM), socket(SOCK_STREAM))
            defer {
                close(own.0)
                close(own.1)
            }
            for server in [own.0, own.1] {
                try withAddress(0, 53) { address, length in
                    try checked("bind 0.0.0.0:53") { bind(server, address, length) }
                }
            }
            for (type, server) in [(SOCK_DGRAM, udp), (SOCK_STREAM, tcp)] {
                let client = FileDescriptor(owning: try socket(type))
                try withAddress(0x7F00_000B, 53) { address, length in
                    try checked("connect 127.0.0.11:53") { connect(client.raw, address, length) }
                }
                try checked("send") { send(client.raw, "question", 8, 0) }
                try answer(server, isStream: type == SOCK_STREAM)
                var bytes = [UInt8](repeating: 0, count: 64)
                let count = try checked("receive") { recv(client.raw, &bytes, bytes.count, 0) }
                #expect(String(decoding: bytes[..<count], as: UTF8.self) == "question")
            }
        }
    }

    /// Sends back what comes to one of the daemon's sockets.
    private func answer(_ server: Int32, isStream: Bool) throws {
        var ready = pollfd(fd: server, events: Int16(POLLIN), revents: 0)
        try #require(poll(&ready, 1, 60_000) == 1)
        let descriptor = isStream ? try checked("accept") { accept(server, nil, nil) } : dup(server)
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 64)
        var sender = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &sender) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let count = try checked("receive") { recvfrom(descriptor, &bytes, bytes.count, 0, address, &length) }
                try checked("send") {
                    isStream
                        ? send(descriptor, bytes, count, 0) : sendto(descriptor, bytes, count, 0, address, length)
                }
            }
        }
    }

    private func socket(_ type: __socket_type) throws -> Int32 {
        let descriptor = try checked("socket") {
            Glibc.socket(AF_INET, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }

    private func withAddress(
        _ address: UInt32, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Void
    ) throws {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = address.bigEndian
        try withUnsafePointer(to: &name) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                try body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
