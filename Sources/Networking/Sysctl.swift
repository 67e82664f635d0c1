import Glibc
import LinuxKernel

/// Network settings below /proc/sys/net, which shows those of the opening thread's namespace.
enum Sysctl {
    private static let root = "/proc/sys/net"

    /// Without the newline; nil where there is no such setting.
    static func read(_ name: String) -> String? {
        guard let file = try? FileDescriptor("\(root)/\(name)", O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = Glibc.read(file.raw, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    /// Writes a setting unless it has the value already.
    /// - Parameters:
    ///   - directory: what `name` is below; absent: /proc/sys/net.
    ///   - consequence: the sentence's beginning where it can't be written.
    static func write(
        _ name: String, _ value: String, below directory: Int32? = nil, _ consequence: @autoclosure () -> String
    ) throws(NetworkingError) {
        do throws(SystemError) {
            if directory == nil, read(name) == value { return }
            let file = try FileDescriptor(
                directory == nil ? "\(root)/\(name)" : name, O_WRONLY, relativeTo: directory ?? AT_FDCWD)
            try checked("write") { Glibc.write(file.raw, value, value.utf8.count) }
        } catch {
            throw NetworkingError(.system, "\(consequence()): net/\(name) can't be set to \(value): \(error.reason)")
        }
    }

    /// Whether the kernel has IPv6.
    static var hasIPv6: Bool { access("\(root)/ipv6", F_OK) == 0 }

    static func requireIPv6() throws(NetworkingError) {
        guard hasIPv6 else {
            throw NetworkingError(
                .invalid,
                "this host has no IPv6 (the kernel was started with ipv6.disable=1 or lacks it): make the network without --ipv6"
            )
        }
    }
}
