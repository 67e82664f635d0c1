import LinuxKernel

/// A block of addresses from which networks that name no subnet get theirs.
public struct AddressPool: Hashable, Sendable {
    /// What is cut up.
    public let base: IPNetwork
    /// The prefix length of each piece.
    public let size: Int

    /// nil unless `size` is a prefix length within `base`.
    public init?(base: IPNetwork, size: Int) {
        guard size > 0, size >= base.prefixLength, size <= base.address.bitWidth else { return nil }
        self.base = base.network
        self.size = size
    }

    /// Docker's pools (31 networks), and then 10.0.0.0/8 in pieces of 256 addresses: 65,536 more.
    public static let defaults: [AddressPool] = {
        let parts: [(String, Int)] = [
            ("172.17.0.0/16", 16), ("172.18.0.0/15", 16), ("172.20.0.0/14", 16), ("172.24.0.0/13", 16),
            ("192.168.0.0/16", 20), ("10.0.0.0/8", 24),
        ]
        return parts.compactMap { text, size in IPNetwork(text).flatMap { AddressPool(base: $0, size: size) } }
    }()

    /// The first piece that overlaps none of `taken`.
    func firstFree(among taken: [IPNetwork]) -> IPNetwork? {
        let taken = taken.filter { $0.overlaps(base) }
        let step = UInt128(1) << UInt128(base.address.bitWidth - size)
        var start = base.firstAddress.value
        let end = base.lastAddress.value
        while start <= end, let piece = IPNetwork(base.address.with(value: start), prefixLength: size) {
            guard let obstacle = taken.first(where: { $0.overlaps(piece) }) else { return piece }
            // What overlaps is either within this piece or holds it: go on behind the larger of the two.
            let last = max(piece.lastAddress.value, obstacle.lastAddress.value)
            let (next, overflow) = (last & ~(step - 1)).addingReportingOverflow(step)
            if overflow { return nil }
            start = next
        }
        return nil
    }
}
