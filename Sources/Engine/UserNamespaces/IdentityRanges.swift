import LinuxKernel
import Synchronization

/// The host's ids that `--userns auto` hands out, and which container has which. A container keeps its range from
/// `create` to `rm`: the state database has it.
final class IdentityRanges: Sendable {
    typealias Range = Swift.Range<UInt32>

    /// Where ids may be taken from, in order and apart.
    let pool: [Range]
    /// What decides about the pool, for the sentence when it is empty.
    private let source: String
    /// Where the search begins: another place for another daemon of the host.
    private let offset: UInt64
    private let taken: Mutex<[String: Range]>

    /// What no convention of a Linux host gives to anybody (systemd's "Users, Groups, UIDs and GIDs": unused), and
    /// useradd's ranges for users' own namespaces end long before.
    static let builtIn: Range = 0x7000_0000..<0x7FFE_0000

    /// - Parameter instance: the daemon's instance id, hexadecimal.
    init(pool: IdentityPool, instance: String) {
        self.pool = pool.ranges
        source = pool.source
        let slots = pool.ranges.reduce(0) { $0 + UInt64($1.count) } / UInt64(UserNamespaceMode.Auto.defaultSize)
        offset =
            slots == 0 ? 0 : (UInt64(instance, radix: 16) ?? 0) % slots * UInt64(UserNamespaceMode.Auto.defaultSize)
        taken = Mutex([:])
    }

    /// What a container had before this daemon began.
    func restore(_ range: Range, of container: String) { taken.withLock { $0[container] = range } }

    /// Takes `size` ids in a row that no container has.
    func allocate(_ size: UInt32, for container: String) throws(EngineError) -> Range {
        let found = taken.withLock { taken -> Range? in
            let free = IdentityRanges.free(pool, without: Array(taken.values))
            // The pool's place where the search begins, then all of it.
            let begin = IdentityRanges.id(at: offset, in: pool)
            let ahead = free.compactMap { $0.upperBound > begin ? max($0.lowerBound, begin)..<$0.upperBound : nil }
            guard let gap = (ahead + free).first(where: { $0.count >= size }) else { return nil }
            let range = gap.lowerBound..<(gap.lowerBound + size)
            taken[container] = range
            return range
        }
        if let found { return found }
        let (count, ids) = taken.withLock { ($0.count, $0.values.reduce(0) { $0 + $1.count }) }
        throw EngineError(
            .conflict,
            "no \(size) ids in a row are free for a user namespace: \(count) containers have \(ids) of those in "
                + "\(source). Remove containers, ask for fewer ids (--userns auto:size=N), or give the daemon more with "
                + "--userns-auto-range START:SIZE")
    }

    func release(_ container: String) { _ = taken.withLock { $0.removeValue(forKey: container) } }

    /// The parts of `pool` that none of `taken` touches.
    static func free(_ pool: [Range], without taken: [Range]) -> [Range] {
        let sorted = taken.sorted { $0.lowerBound < $1.lowerBound }
        return pool.flatMap { whole -> [Range] in
            var result: [Range] = []
            var next = whole.lowerBound
            for range in sorted where range.upperBound > next && range.lowerBound < whole.upperBound {
                if range.lowerBound > next { result.append(next..<range.lowerBound) }
                next = max(next, range.upperBound)
            }
            if next < whole.upperBound { result.append(next..<whole.upperBound) }
            return result
        }
    }

    /// The id that has `offset` ids of the pool before it.
    private static func id(at offset: UInt64, in pool: [Range]) -> UInt32 {
        var rest = offset
        for range in pool {
            if rest < UInt64(range.count) { return range.lowerBound + UInt32(rest) }
            rest -= UInt64(range.count)
        }
        return pool.first?.lowerBound ?? 0
    }
}

/// Where `--userns auto` may take ids from.
struct IdentityPool: Sendable, Equatable {
    var ranges: [IdentityRanges.Range]
    var source: String

    /// The account whose subordinate ids podman's `--userns auto` takes, too.
    static let account = "containers"

    /// The daemon's setting `START:SIZE`; else what /etc/subuid and /etc/subgid (subuid(5)) both give to the account
    /// `containers`; else ``IdentityRanges/builtIn``.
    /// - Throws: for a setting that is no range, and where both files give the account nothing in common.
    init(setting: String?, subordinateUsers: String, subordinateGroups: String) throws(EngineError) {
        if let setting {
            guard let range = IdentityPool.range(setting.split(byte: ":", omittingEmptySubsequences: false)) else {
                throw .invalid(
                    "invalid userns-auto-range \"\(setting)\": it is START:SIZE, two numbers of ids, for example "
                        + "1879048192:268304384")
            }
            self.init(ranges: [range], source: "the daemon's userns-auto-range \(setting)")
            return
        }
        let users = IdentityPool.entries(subordinateUsers)
        let groups = IdentityPool.entries(subordinateGroups)
        if users.isEmpty, groups.isEmpty {
            let range = IdentityRanges.builtIn
            self.init(ranges: [range], source: "\(range.lowerBound):\(range.count)")
            return
        }
        let common = users.flatMap { user in groups.map { user.clamped(to: $0) } }.filter { !$0.isEmpty }
        guard !common.isEmpty else {
            throw .invalid(
                "/etc/subuid and /etc/subgid give the account \(IdentityPool.account) no ids in common: give it the same "
                    + "range in both, or set userns-auto-range")
        }
        self.init(
            ranges: common.sorted { $0.lowerBound < $1.lowerBound },
            source: "/etc/subuid and /etc/subgid for the account \(IdentityPool.account)")
    }

    private init(ranges: [IdentityRanges.Range], source: String) {
        self.ranges = ranges
        self.source = source
    }

    private static func entries(_ text: String) -> [IdentityRanges.Range] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(byte: ":", omittingEmptySubsequences: false)
            guard fields.count == 3, fields[0] == account else { return nil }
            return range(Array(fields[1...]))
        }
    }

    private static func range(_ fields: [Substring]) -> IdentityRanges.Range? {
        // The host's root must not be in it, and the last id is no id.
        guard fields.count == 2, let start = UInt32(fields[0]), let size = UInt32(fields[1]), start > 0, size > 0,
            UInt64(start) + UInt64(size) < UInt64(UInt32.max)
        else { return nil }
        return start..<(start + size)
    }
}
