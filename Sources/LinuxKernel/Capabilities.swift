import CCap
import CLinux
import Glibc
import OCI

/// A set of Linux capabilities (capabilities(7)); bit n is capability number n.
public struct CapabilitySet: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The set of capabilities with these names, `CAP_` optional, any case.
    /// - Throws: naming the first unknown one.
    public init(names: some Sequence<String>) throws(CapabilityError) {
        var bits: UInt64 = 0
        for name in names {
            guard let number = Capabilities.number(of: name) else {
                let upper = name.uppercased()
                throw CapabilityError("unknown capability: \"\(upper.hasPrefix("CAP_") ? upper : "CAP_" + upper)\"")
            }
            bits |= 1 << UInt64(number)
        }
        rawValue = bits
    }

    /// Signals to processes of other users.
    public static let kill = CapabilitySet(rawValue: 1 << 5)

    /// The numbers in it, in order.
    public var numbers: [Int] { (0..<64).filter { rawValue & (1 << UInt64($0)) != 0 } }

    /// Names in the form `CAP_CHOWN`, by number.
    public var names: [String] { numbers.map { Capabilities.name(of: $0) } }
}

/// A capability that is unknown or can't be had, as one sentence.
public struct CapabilityError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}

/// Capability names, Docker's rules for `--cap-add`/`--cap-drop`, and giving the sets to the calling process.
public enum Capabilities {
    /// What a container has unless told otherwise: Docker's list.
    public static let dockerDefault: [String] = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
        "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ]

    /// The number of a capability, its name in any case and with or without `CAP_`; nil for an unknown name.
    public static func number(of name: String) -> Int? {
        let lower = name.lowercased()
        var value: cap_value_t = 0
        // cap_from_name also takes decimal numbers, which no client means as a name.
        guard !lower.isEmpty, !lower.utf8.contains(where: { $0 < 0x5f || $0 > 0x7a }) else { return nil }
        return cap_from_name(lower.hasPrefix("cap_") ? lower : "cap_" + lower, &value) == 0 ? Int(value) : nil
    }

    /// `CAP_…`, or `CAP_<number>` for one that libcap has no name for.
    public static func name(of number: Int) -> String {
        guard let text = cap_to_name(cap_value_t(number)) else { return "CAP_\(number)" }
        defer { cap_free(text) }
        let name = String(cString: text)
        return name.hasPrefix("cap_") ? name.uppercased() : "CAP_\(number)"
    }

    /// Every capability that this process can give away: what its bounding set and its permitted set share. The
    /// kernel knows no more than is in the bounding set; a daemon in a restricted environment has less.
    public static var available: CapabilitySet {
        var bits: UInt64 = 0
        guard let own = cap_get_proc() else { return [] }
        defer { cap_free(UnsafeMutableRawPointer(own)) }
        for number in 0..<64 {
            let value = cap_value_t(number)
            let bound = cap_get_bound(value)
            if bound < 0 { break }
            var held = CAP_CLEAR
            if bound == 1, cap_get_flag(own, value, CAP_PERMITTED, &held) == 0, held == CAP_SET {
                bits |= 1 << UInt64(number)
            }
        }
        return CapabilitySet(rawValue: bits)
    }

    /// The bounding set of a container by Docker's rules.
    ///
    /// - Parameters:
    ///   - add: `--cap-add`: names with or without `CAP_`, or `ALL`.
    ///   - drop: `--cap-drop`: the same.
    ///   - privileged: every available capability, whatever `add` and `drop` say.
    ///   - available: what can be given away; who asks often has looked once.
    /// - Returns: names in the form `CAP_CHOWN`. Default capabilities that this host cannot give are left out.
    /// - Throws: for an unknown name and for an added one that the host cannot give.
    public static func resolve(
        add: [String], drop: [String], privileged: Bool, available: CapabilitySet = Capabilities.available
    ) throws(CapabilityError) -> [String] {
        if privileged { return available.names }
        func parse(_ list: [String], _ option: String) throws(CapabilityError) -> (all: Bool, set: CapabilitySet) {
            let named = list.filter { !isAll($0) }
            do throws(CapabilityError) {
                return (named.count < list.count, try CapabilitySet(names: named))
            } catch {
                throw CapabilityError("invalid \(option): \(error.message)")
            }
        }
        let added = try parse(add, "CapAdd")
        let dropped = try parse(drop, "CapDrop")
        let refused = added.set.subtracting(available)
        guard refused.isEmpty else {
            throw CapabilityError(
                "cannot add \(refused.names.joined(separator: ", ")): this kernel does not know it or the daemon does "
                    + "not have it itself; start the daemon with it or leave it out")
        }
        let defaults = try CapabilitySet(names: dockerDefault).intersection(available)
        if added.all { return available.subtracting(dropped.set).names }
        if dropped.all { return added.set.names }
        return defaults.subtracting(dropped.set).union(added.set).names
    }

    /// The five sets of a process as Docker fills them: a user other than root has the bounding set alone, as
    /// execve(2) would leave it. Inheritable stays empty (CVE-2022-24769).
    public static func specification(bounding: [String], uid: UInt32) -> RuntimeSpec.Capabilities {
        uid == 0
            ? RuntimeSpec.Capabilities(bounding: bounding, effective: bounding, permitted: bounding)
            : RuntimeSpec.Capabilities(bounding: bounding)
    }

    /// To be called as root before setuid(2): shrinks the bounding set to `sets.bounding`, clears the ambient set and
    /// asks the kernel to keep the permitted set across the change of uid.
    public static func prepare(_ sets: RuntimeSpec.Capabilities) throws(SystemError) {
        let bounding = try mask(sets.bounding)
        for number in 0..<64 where bounding & (1 << UInt64(number)) == 0 {
            let value = cap_value_t(number)
            if cap_drop_bound(value) == 0 { continue }
            let failure = SystemError.current("drop \(name(of: number)) from the bounding set")
            // Not in it, or the kernel's last one was before.
            let present = cap_get_bound(value)
            if present < 0 { break }
            if present == 1 { throw failure }
        }
        // Kernels before 4.3 have no ambient set: nothing to clear there.
        if clinux_clear_ambient_capabilities() != 0, errno != EINVAL {
            throw SystemError.current("clear the ambient capabilities")
        }
        try checked("keep capabilities across setuid") { clinux_keep_capabilities(1) }
    }

    /// To be called after setuid(2): sets permitted, effective, inheritable and ambient, and ends the keeping.
    public static func apply(_ sets: RuntimeSpec.Capabilities) throws(SystemError) {
        let ambient = try mask(sets.ambient)
        guard let state = cap_init() else { throw SystemError.current("make a capability state") }
        defer { cap_free(UnsafeMutableRawPointer(state)) }
        let flags: [(cap_flag_t, [String]?)] = [
            (CAP_PERMITTED, sets.permitted), (CAP_EFFECTIVE, sets.effective), (CAP_INHERITABLE, sets.inheritable),
        ]
        for (flag, names) in flags {
            let values = CapabilitySet(rawValue: try mask(names)).numbers.map { cap_value_t($0) }
            guard !values.isEmpty else { continue }
            try checked("fill a capability set") { cap_set_flag(state, flag, Int32(values.count), values, CAP_SET) }
        }
        try checked("set capabilities to \((sets.permitted ?? []).joined(separator: " "))") { cap_set_proc(state) }
        for number in CapabilitySet(rawValue: ambient).numbers {
            try checked("raise ambient \(name(of: number))") { cap_set_ambient(cap_value_t(number), CAP_SET) }
        }
        try checked("end keeping capabilities") { clinux_keep_capabilities(0) }
    }

    /// Gives up, for the calling thread and for good, every capability but those of `kept` that it has.
    public static func keepOnly(_ kept: CapabilitySet) throws(SystemError) {
        // Which nobody can gain by execve(2) any more; without CAP_SETPCAP there is nothing to be gained from the set.
        for number: Int32 in 0..<64 where cap_drop_bound(number) != 0 { break }
        _ = clinux_clear_ambient_capabilities()
        var permitted: UInt64 = 0
        try checked("capget") { clinux_get_capabilities(&permitted) }
        try checked("capset") { clinux_set_capabilities(permitted & kept.rawValue) }
    }

    private static func isAll(_ name: String) -> Bool {
        let upper = name.uppercased()
        return upper == "ALL" || upper == "CAP_ALL"
    }

    private static func mask(_ names: [String]?) throws(SystemError) -> UInt64 {
        do throws(CapabilityError) {
            return try CapabilitySet(names: names ?? []).rawValue
        } catch {
            throw SystemError(error.message, errno: EINVAL)
        }
    }
}
