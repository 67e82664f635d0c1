import CLinux
import Glibc
import OCI

/// Device access rules of a container. Cgroup v2 has no files for them: an eBPF program of type
/// BPF_PROG_TYPE_CGROUP_DEVICE decides (Documentation/admin-guide/cgroup-v2.rst, "Device controller").
///
/// Rules are read in order and the last one that covers an access decides it, bit by bit of `rwm`, as writing the
/// same rules to v1's `devices.allow` and `devices.deny` would have it. What no rule covers is denied.
public enum DeviceFilter {
    /// What a container may use unless told otherwise: Docker's list with what runc adds to it.
    public static let containerDefault: [RuntimeSpec.DeviceCgroup] =
        [
            RuntimeSpec.DeviceCgroup(allow: false, access: "rwm"),
            // Making a node is harmless while opening it is refused.
            RuntimeSpec.DeviceCgroup(allow: true, type: "c", access: "m"),
            RuntimeSpec.DeviceCgroup(allow: true, type: "b", access: "m"),
        ]
        + [
            (1, 3), (1, 5), (1, 7), (1, 8), (1, 9),  // null, zero, full, random, urandom
            (5, 0), (5, 1), (5, 2),  // tty, console, ptmx
        ].map { RuntimeSpec.DeviceCgroup(allow: true, type: "c", major: $0.0, minor: $0.1, access: "rwm") }
        + [RuntimeSpec.DeviceCgroup(allow: true, type: "c", major: 136, access: "rwm")]  // pseudo-terminals

    /// Everything, for `--privileged`.
    public static let everything: [RuntimeSpec.DeviceCgroup] = [RuntimeSpec.DeviceCgroup(allow: true, access: "rwm")]

    /// More rules than any device list has, and far below what the verifier takes.
    static let maximumRules = 4096

    /// A rule in the terms of the kernel's `struct bpf_cgroup_dev_ctx`.
    struct Rule: Equatable {
        /// BPF_DEVCG_DEV_BLOCK or _CHAR; nil for both.
        var type: Int32?
        var major: Int32?
        var minor: Int32?
        /// BPF_DEVCG_ACC_MKNOD | _READ | _WRITE
        var access: Int32
        var allow: Bool

        var coversEverything: Bool { type == nil && major == nil && minor == nil && access == 7 }

        init(_ rule: RuntimeSpec.DeviceCgroup) throws(CgroupError) {
            switch rule.type {
            case nil, "", "a": type = nil
            case "b": type = 1
            case "c", "u": type = 2
            case let other?:
                throw CgroupError("device rule of type \"\(other)\": use a, b or c", controller: .devices)
            }
            func number(_ value: Int64?) throws(CgroupError) -> Int32? {
                guard let value, value != -1 else { return nil }
                guard value >= 0, value <= Int64(Int32.max) else {
                    throw CgroupError("device number \(value) is out of range", controller: .devices)
                }
                return Int32(value)
            }
            major = try number(rule.major)
            minor = try number(rule.minor)
            access = 0
            for letter in rule.access ?? "rwm" {
                switch letter {
                case "m": access |= 1
                case "r": access |= 2
                case "w": access |= 4
                default:
                    throw CgroupError(
                        "device access \"\(rule.access ?? "")\": use letters of rwm", controller: .devices)
                }
            }
            allow = rule.allow
        }

        /// The rule as v1's devices.allow and devices.deny take it.
        var legacyLine: String {
            if coversEverything { return "a" }
            let type = type == nil ? "a" : type == 1 ? "b" : "c"
            let letters = [(2, "r"), (4, "w"), (1, "m")].filter { access & Int32($0.0) != 0 }.map(\.1).joined()
            return "\(type) \(major.map { String($0) } ?? "*"):\(minor.map { String($0) } ?? "*") \(letters)"
        }
    }

    /// The rules that matter: what stands before one that covers everything does not.
    static func effective(_ rules: [RuntimeSpec.DeviceCgroup]) throws(CgroupError) -> [Rule] {
        guard rules.count <= maximumRules else {
            throw CgroupError("\(rules.count) device rules: at most \(maximumRules) are taken", controller: .devices)
        }
        var kept: [Rule] = []
        for rule in rules {
            let rule = try Rule(rule)
            if rule.coversEverything { kept.removeAll() }
            if rule.access != 0 { kept.append(rule) }
        }
        return kept
    }

    /// Replaces the device program of the v2 group behind `directory` by one for these rules; none is left where
    /// everything is allowed.
    /// - Throws: `CgroupError` with the errno of bpf(2) where the kernel refuses.
    /// - Parameter ready: a loaded program, used where it is what these rules would become.
    static func attach(
        _ rules: [Rule], to directory: borrowing FileDescriptor, ready: DeviceProgram? = nil
    ) throws(CgroupError) {
        let present = try attachedPrograms(directory)
        if rules.last?.coversEverything == true, rules.last?.allow == true {
            for program in present where clinux_bpf_detach_device(directory.raw, program.raw) != 0 {
                throw failure("remove the device program")
            }
            return
        }
        try attach(instructions(rules), to: directory, replacing: present, ready: ready)
    }

    /// Has the kernel verify and compile a program, which is half a millisecond, before anybody waits for it.
    public static func load(_ rules: [RuntimeSpec.DeviceCgroup]) throws(CgroupError) -> DeviceProgram {
        try load(instructions(effective(rules)))
    }

    private static func load(_ code: [UInt64]) throws(CgroupError) -> DeviceProgram {
        let program = code.withUnsafeBytes { clinux_bpf_load_device($0.baseAddress, UInt32(code.count), nil, 0) }
        guard program >= 0 else { throw failure("load a device program") }
        return DeviceProgram(code, program)
    }

    /// Attaches a program that allows everything.
    static func attachPermissive(to directory: borrowing FileDescriptor) throws(CgroupError) {
        let present = try attachedPrograms(directory)
        guard present.isEmpty else { return }
        try attach([.set(0, 1), .exit], to: directory, replacing: [])
    }

    private static func attach(
        _ code: [UInt64], to directory: borrowing FileDescriptor, replacing present: [Program],
        ready: DeviceProgram? = nil
    ) throws(CgroupError) {
        let program = if let ready, ready.code == code { ready } else { try load(code) }
        guard clinux_bpf_attach_device(directory.raw, program.raw, present.first?.raw ?? -1) == 0 else {
            throw failure("attach the device program")
        }
        // One program is ours; more than one only after an update was interrupted.
        for stale in present.dropFirst() { _ = clinux_bpf_detach_device(directory.raw, stale.raw) }
    }

    /// A program's descriptor in a copyable place.
    private final class Program {
        let raw: Int32
        init(_ raw: Int32) { self.raw = raw }
        deinit { close(raw) }
    }

    private static func attachedPrograms(_ directory: borrowing FileDescriptor) throws(CgroupError) -> [Program] {
        var ids = [UInt32](repeating: 0, count: 64)  // BPF_CGROUP_MAX_PROGS
        let count = clinux_bpf_query_device(directory.raw, &ids, UInt32(ids.count))
        guard count >= 0 else { throw failure("ask for the device programs") }
        var programs: [Program] = []
        for id in ids.prefix(Int(count)) {
            let descriptor = clinux_bpf_open_program(id)
            if descriptor >= 0 { programs.append(Program(descriptor)) }
        }
        return programs
    }

    private static func failure(_ what: String) -> CgroupError {
        let number = errno
        return CgroupError(
            "devices controller: the kernel would not \(what): \(String(cString: strerror(number)))", errno: number,
            controller: .devices)
    }

    /// eBPF that returns 1 to allow an access and 0 to refuse it. From the last rule to the first: an allowing rule
    /// takes its bits off the request and allows when none is left, a denying one refuses if a bit of it is left.
    static func instructions(_ rules: [Rule]) -> [UInt64] {
        // r2 request bits, r3 type, r4 major, r5 minor; the context is in r1.
        var code: [UInt64] = [
            .loadWord(2, offset: 0), .move(3, from: 2), .and(3, 0xffff), .shiftRight(2, 16),
            .loadWord(4, offset: 4), .loadWord(5, offset: 8),
        ]
        for rule in rules.reversed() {
            let verdict: [UInt64]
            if rule.coversEverything {
                verdict = [.set(0, rule.allow ? 1 : 0), .exit]
            } else if rule.allow {
                verdict = [.and(2, ~rule.access), .jumpIfNotEqual(2, 0, 2), .set(0, 1), .exit]
            } else {
                verdict = [.jumpIfAny(2, rule.access, 1), .jump(2), .set(0, 0), .exit]
            }
            let tests = [(3, rule.type), (4, rule.major), (5, rule.minor)].compactMap { register, value in
                value.map { (UInt64(register), $0) }
            }
            for (index, test) in tests.enumerated() {
                let distance = tests.count - index - 1 + verdict.count
                code.append(.jumpIfNotEqual(test.0, test.1, Int16(distance)))
            }
            code += verdict
            if rule.coversEverything { return code }
        }
        return code + [.set(0, 0), .exit]
    }
}

/// A device program that the kernel has verified: any number of groups may share it.
public final class DeviceProgram: Sendable {
    fileprivate let code: [UInt64]
    /// Closed on exec, and with the last reference.
    public let raw: Int32

    fileprivate init(_ code: [UInt64], _ raw: Int32) {
        self.code = code
        self.raw = raw
    }

    deinit { close(raw) }
}

/// The few eBPF instructions that a device program needs (Documentation/bpf/standardization/instruction-set.rst).
extension UInt64 {
    private static func make(_ code: UInt64, _ to: UInt64, _ from: UInt64 = 0, offset: Int16 = 0, value: Int32 = 0)
        -> UInt64
    {
        code | to << 8 | from << 12 | UInt64(UInt16(bitPattern: offset)) << 16 | UInt64(UInt32(bitPattern: value)) << 32
    }

    /// A 32-bit word of the context, which is in r1.
    fileprivate static func loadWord(_ to: UInt64, offset: Int16) -> UInt64 { make(0x61, to, 1, offset: offset) }
    fileprivate static func move(_ to: UInt64, from: UInt64) -> UInt64 { make(0xbf, to, from) }
    fileprivate static func set(_ to: UInt64, _ value: Int32) -> UInt64 { make(0xb7, to, value: value) }
    fileprivate static func and(_ to: UInt64, _ value: Int32) -> UInt64 { make(0x57, to, value: value) }
    fileprivate static func shiftRight(_ to: UInt64, _ bits: Int32) -> UInt64 { make(0x77, to, value: bits) }
    fileprivate static func jump(_ distance: Int16) -> UInt64 { make(0x05, 0, offset: distance) }
    fileprivate static func jumpIfNotEqual(_ register: UInt64, _ value: Int32, _ distance: Int16) -> UInt64 {
        make(0x55, register, offset: distance, value: value)
    }
    fileprivate static func jumpIfAny(_ register: UInt64, _ bits: Int32, _ distance: Int16) -> UInt64 {
        make(0x45, register, offset: distance, value: bits)
    }
    fileprivate static let exit = make(0x95, 0)
}
