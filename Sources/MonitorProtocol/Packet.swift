import Glibc
import LinuxKernel

/// One packet as it came: bytes and at most one descriptor, which is closed unless it is taken.
struct ReceivedPacket: ~Copyable {
    let bytes: [UInt8]
    private var descriptor: FileDescriptor?

    init(bytes: [UInt8], descriptor: consuming FileDescriptor?) {
        self.bytes = bytes
        self.descriptor = descriptor
    }

    mutating func takeDescriptor() -> FileDescriptor? { descriptor.take() }
}

func newSocket(extraFlags: UInt32 = 0) throws(SystemError) -> FileDescriptor {
    let type = Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue | extraFlags)
    return FileDescriptor(owning: try checked("socket") { socket(AF_UNIX, type, 0) })
}

/// Calls `use` with the address of `directory/name`. `sun_path` has 108 bytes: a longer path is named through a
/// descriptor of its directory, without changing the working directory.
package func withShortAddress(
    directory: String, name: String,
    _ use: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
) throws(SystemError) {
    var path = "\(directory)/\(name)"
    var anchor: FileDescriptor?
    if path.utf8.count > 107 {
        let opened = try FileDescriptor(directory, O_DIRECTORY)
        path = "/proc/self/fd/\(opened.raw)/\(name)"
        anchor = consume opened
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
    var failure: SystemError?
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            do throws(SystemError) {
                try use(generic, socklen_t(MemoryLayout<sockaddr_un>.size))
            } catch {
                failure = error
            }
        }
    }
    _ = consume anchor
    if let failure { throw failure }
}

/// Room for more control data than is ever accepted, so that an excess is seen and closed rather than lost.
/// `struct cmsghdr` is a size_t and two ints, its data and its successor are aligned to eight bytes (cmsg(3)).
private enum Control {
    static let headerSize = 16
    static let capacity = 256

    static func aligned(_ length: Int) -> Int { (length + 7) & ~7 }
}

func sendPacket(_ socket: Int32, _ bytes: [UInt8], _ descriptor: Int32?, flags: Int32) throws(SystemError) {
    let sent = bytes.withUnsafeBytes { payload in
        withUnsafeTemporaryAllocation(byteCount: Control.headerSize + 8, alignment: 8) { control in
            var vector = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: payload.baseAddress), iov_len: payload.count)
            return withUnsafeMutablePointer(to: &vector) { vectorPointer in
                var header = msghdr()
                header.msg_iov = vectorPointer
                header.msg_iovlen = 1
                if let descriptor {
                    control.initializeMemory(as: UInt8.self, repeating: 0)
                    control.storeBytes(of: Control.headerSize + 4, toByteOffset: 0, as: Int.self)
                    control.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
                    control.storeBytes(of: Int32(SCM_RIGHTS), toByteOffset: 12, as: Int32.self)
                    control.storeBytes(of: descriptor, toByteOffset: Control.headerSize, as: Int32.self)
                    header.msg_control = control.baseAddress
                    header.msg_controllen = control.count
                }
                return retrying { sendmsg(socket, &header, flags | Int32(MSG_NOSIGNAL)) }
            }
        }
    }
    if sent < 0 { throw SystemError.current("sendmsg") }
}

func receivePacket(_ socket: Int32, blocking: Bool) throws(ChannelError) -> ReceivedPacket {
    let wait = blocking ? 0 : Int32(MSG_DONTWAIT)
    // The length first, so that no buffer of the largest size is ever kept. An empty packet and the end of file look
    // alike; nobody sends empty packets.
    let length = receiving { recv(socket, nil, 0, wait | Int32(MSG_PEEK | MSG_TRUNC)) }
    if length < 0 { throw ChannelError(SystemError.current("recv")) }

    let kept = min(length, MonitorProtocol.maximumPacket)
    var descriptors: [Int32] = []
    var truncated = false
    var received = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: kept) { buffer, count in
        withUnsafeTemporaryAllocation(byteCount: Control.capacity, alignment: 8) { control in
            var vector = iovec(iov_base: UnsafeMutableRawPointer(buffer.baseAddress), iov_len: kept)
            withUnsafeMutablePointer(to: &vector) { vectorPointer in
                var header = msghdr()
                header.msg_iov = vectorPointer
                header.msg_iovlen = 1
                header.msg_control = control.baseAddress
                header.msg_controllen = control.count
                received = receiving { recvmsg(socket, &header, wait | Int32(MSG_CMSG_CLOEXEC)) }
                if received >= 0 {
                    descriptors = rights(UnsafeRawBufferPointer(rebasing: control[..<Int(header.msg_controllen)]))
                    truncated = header.msg_flags & Int32(MSG_CTRUNC) != 0
                }
            }
        }
        count = max(0, min(received, kept))
    }
    if received < 0 { throw ChannelError(SystemError.current("recvmsg")) }
    // Owned before anything can be thrown: descriptors of a packet that is refused must not stay open here.
    let first = descriptors.first.map { FileDescriptor(owning: $0) }
    for extra in descriptors.dropFirst() { close(extra) }
    if received == 0 { throw .closed }
    if length > kept { throw .tooLarge(bytes: length) }
    if truncated || descriptors.count > 1 {
        throw .malformed("it came with more descriptors than the one that a message may carry", sequence: nil)
    }
    return ReceivedPacket(bytes: bytes, descriptor: first)
}

/// Every descriptor in the control data, well-formed or cut short.
private func rights(_ control: UnsafeRawBufferPointer) -> [Int32] {
    var found: [Int32] = []
    var offset = 0
    while offset + Control.headerSize <= control.count {
        let length = control.loadUnaligned(fromByteOffset: offset, as: Int.self)
        let level = control.loadUnaligned(fromByteOffset: offset + 8, as: Int32.self)
        let type = control.loadUnaligned(fromByteOffset: offset + 12, as: Int32.self)
        guard length >= Control.headerSize, offset + length <= control.count else { break }
        if level == SOL_SOCKET, type == Int32(SCM_RIGHTS) {
            for position in stride(from: offset + Control.headerSize, to: offset + length - 3, by: 4) {
                found.append(control.loadUnaligned(fromByteOffset: position, as: Int32.self))
            }
        }
        offset += Control.aligned(length)
    }
    return found
}

/// A peer that ends with something unread in its queue leaves ECONNRESET behind, which the kernel reports once and
/// before the packets that the peer had sent (unix_release_sock in net/unix/af_unix.c): those are read all the same.
private func receiving(_ call: () -> Int) -> Int {
    let result = retrying(call)
    return result < 0 && errno == ECONNRESET ? retrying(call) : result
}

private func retrying(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
