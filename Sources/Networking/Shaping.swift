import Glibc
import LinuxKernel

extension NetlinkSocket {
    /// Limits what a link sends by a token bucket on it, and what it receives by one on an ifb that it is led through.
    /// nil takes a limit away.
    func shape(_ name: String, sent: RateLimit?, received: RateLimit?, ifb: String) throws(NetlinkError) {
        guard let link = try link(.name(name)) else { throw NetlinkError("find \(name)", errno: ENODEV) }
        if let sent {
            try performAll([TokenBucket(sent, mtu: link.mtu).message(index: link.index)])
        } else {
            try removeQueue(index: link.index, at: .root)
        }
        if let received {
            try redirect(link, to: ifb, received)
        } else {
            try removeQueue(index: link.index, at: .ingress)
            try remove([.name(ifb)])
        }
    }

    private func redirect(_ link: Link, to ifb: String, _ limit: RateLimit) throws(NetlinkError) {
        if let existing = try self.link(.name(ifb)) {
            try performAll([TokenBucket(limit, mtu: link.mtu).message(index: existing.index)])
            return
        }
        KernelModules.loadIfb()
        try performAll([.makeIfb(name: ifb)])
        do throws(NetlinkError) {
            guard let made = try self.link(.name(ifb)) else { throw NetlinkError("find \(ifb)", errno: ENODEV) }
            var up = LinkChange()
            up.isUp = true
            // The bucket stands before anything passes through it; what an earlier try left is taken away first.
            try removeQueue(index: link.index, at: .ingress)
            try performAll([
                TokenBucket(limit, mtu: link.mtu).message(index: made.index), .changeLink(.index(made.index), up),
                .makeIngress(index: link.index), .redirectIngress(index: link.index, to: made.index),
            ])
        } catch {
            try? removeQueue(index: link.index, at: .ingress)
            try? remove([.name(ifb)])
            throw error
        }
    }

    private func removeQueue(index: Int32, at position: QueuePosition) throws(NetlinkError) {
        // ENOENT or EINVAL, by position and kernel: there was none.
        try performAll([.removeQueue(index: index, at: position)], tolerating: [ENOENT, EINVAL])
    }
}

/// A rate limit in the kernel's terms.
struct TokenBucket: Equatable {
    var bytesPerSecond: UInt64
    /// Bytes that may go at once.
    var burst: UInt32
    /// Bytes that may wait.
    var limit: UInt32

    /// Frames are as long as the MTU and their header; a bucket that is smaller than a packet lets none pass.
    private static let headerRoom = 64
    private static let minimumPackets: UInt64 = 10
    /// What segmentation offload hands down as one.
    private static let largestSegment: UInt64 = 64 << 10

    init(_ limit: RateLimit, mtu: Int) {
        bytesPerSecond = max(1, limit.bitsPerSecond / 8)
        let packet = UInt64(max(mtu, 0) + TokenBucket.headerRoom)
        let wanted = limit.burst ?? max(bytesPerSecond / 100, TokenBucket.minimumPackets * packet)
        let burst = min(max(wanted, packet), UInt64(UInt32.max) / 4)
        self.burst = UInt32(burst)
        // A queue of 50 ms: enough for TCP to fill the rate, not so much that delays are felt.
        self.limit = UInt32(
            clamping: burst + max(min(bytesPerSecond / 20, UInt64(UInt32.max) / 2), TokenBucket.largestSegment))
    }

    func message(index: Int32) -> NetlinkMessage {
        .setTokenBucket(index: index, bytesPerSecond: bytesPerSecond, burst: burst, limit: limit)
    }
}
