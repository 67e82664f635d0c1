import Glibc
import LinuxKernel

/// Which ports of the host containers have.
struct PortBooks: Sendable {
    private struct Port: Hashable {
        let transport: TransportProtocol
        let number: UInt16
    }

    private var addresses: [Port: Set<IPAddress>] = [:]
    /// The last port that was chosen freely: the next search starts behind it, so that a port that was just given back
    /// is not given to another container at once.
    var lastEphemeral: UInt16?

    /// Takes a port at all of `wanted`, unless a container has it at one of them, or has or wants it at every address of
    /// that family.
    mutating func takeIfFree(_ transport: TransportProtocol, _ number: UInt16, _ wanted: [IPAddress]) -> Bool {
        let held = addresses[Port(transport: transport, number: number)] ?? []
        let isTaken = wanted.contains { address in
            held.contains { other in
                other == address
                    || other.isIPv6 == address.isIPv6 && (other.isUnspecified || address.isUnspecified)
            }
        }
        if isTaken { return false }
        take(transport, number, wanted)
        return true
    }

    mutating func take(_ transport: TransportProtocol, _ number: UInt16, _ wanted: [IPAddress]) {
        addresses[Port(transport: transport, number: number), default: []].formUnion(wanted)
    }

    mutating func release(_ transport: TransportProtocol, _ number: UInt16, _ given: [IPAddress]) {
        let port = Port(transport: transport, number: number)
        guard let held = addresses[port] else { return }
        let left = held.subtracting(given)
        addresses[port] = left.isEmpty ? nil : left
    }

    func nextEphemeral(in range: ClosedRange<UInt16>) -> UInt16 {
        guard let last = lastEphemeral, range.contains(last), last < range.upperBound else { return range.lowerBound }
        return last + 1
    }
}

/// The ports that the kernel chooses from, and that it leaves out; see ip-sysctl.rst of the kernel's documentation.
enum EphemeralPorts {
    static func range() -> ClosedRange<UInt16> {
        let parts = read("ip_local_port_range").split { $0 == " " || $0 == "\t" || $0 == "\n" }.compactMap {
            UInt16($0)
        }
        guard parts.count == 2, parts[0] > 0, parts[0] <= parts[1] else { return 32768...60999 }
        return parts[0]...parts[1]
    }

    static func excluded() -> [ClosedRange<UInt16>] { parse(read("ip_local_reserved_ports")) }

    /// `8080,9148-9150`
    static func parse(_ list: String) -> [ClosedRange<UInt16>] {
        list.split { $0 == "," || $0 == "\n" }.compactMap { part in
            let ends = part.split(separator: "-").compactMap { UInt16($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return nil }
            return first...last
        }
    }

    private static func read(_ name: String) -> String {
        guard let file = try? FileDescriptor("/proc/sys/net/ipv4/\(name)", O_RDONLY) else { return "" }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(file.raw, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
    }
}
