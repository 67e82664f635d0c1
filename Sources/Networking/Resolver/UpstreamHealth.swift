import NIOCore

/// Which upstream servers have not answered of late, so that nobody waits for them first.
struct UpstreamHealth {
    private struct Silence {
        /// Attempts in a row that nothing came back for.
        var attempts: Int
        var suspectUntil: NIODeadline
    }

    /// Attempts without an answer after which a server is suspect: one packet may be lost.
    private static let tolerated = 2
    /// How long a suspect one is asked after all others.
    static let suspicion = TimeAmount.seconds(10)
    /// Servers that are remembered; containers come and go with their `--dns`.
    private static let capacity = 1024

    /// Only servers that are silent.
    private var silent: [SocketAddress: Silence] = [:]

    /// - Returns: true when it had been suspect.
    mutating func answered(_ server: SocketAddress) -> Bool {
        guard !silent.isEmpty, let silence = silent.removeValue(forKey: server) else { return false }
        return silence.attempts >= Self.tolerated
    }

    /// Nothing came back in time, or (`isCertain`) the network said that nobody is there.
    /// - Returns: true when it has just become suspect.
    mutating func failed(_ server: SocketAddress, isCertain: Bool, now: NIODeadline) -> Bool {
        if silent.count >= Self.capacity { silent.removeAll() }
        let before = silent[server]?.attempts ?? 0
        let attempts = isCertain ? max(before + 1, Self.tolerated) : before + 1
        silent[server] = Silence(
            attempts: attempts, suspectUntil: attempts >= Self.tolerated ? now + Self.suspicion : now)
        return before < Self.tolerated && attempts >= Self.tolerated
    }

    /// The servers in their order, suspect ones last, and whether all are suspect.
    func ordered(_ servers: [SocketAddress], now: NIODeadline) -> (servers: [SocketAddress], allSuspect: Bool) {
        if silent.isEmpty { return (servers, false) }
        let suspect = servers.filter { (silent[$0]?.suspectUntil ?? now) > now }
        if suspect.isEmpty { return (servers, false) }
        return (servers.filter { !suspect.contains($0) } + suspect, suspect.count == servers.count)
    }
}
