import CLinux
import CSeccomp
import Glibc
import OCI

/// One policy on its way to a program: libseccomp translates names and compiles rules with conditions or other actions;
/// calls that are simply allowed, which are nearly all, become one range table an architecture in front of that. The
/// program is a third as long so, and the kernel takes a third of the time to load it, at every start and exec.
struct SeccompCompiler {
    private let policy: RuntimeSpec.Seccomp
    private let defaultAction: UInt32
    /// AUDIT_ARCH_* tokens, the native one first.
    private let architectures: [UInt32]
    /// Names that are in the range tables.
    private let simple: Set<String>

    /// - Parameter usingRanges: false leaves everything to libseccomp.
    init(_ policy: RuntimeSpec.Seccomp, usingRanges: Bool = true) throws(SeccompError) {
        self.policy = policy
        defaultAction = try Self.action(policy.defaultAction, errno: policy.defaultErrnoRet)
        guard policy.defaultAction != "SCMP_ACT_NOTIFY" else {
            throw SeccompError(
                "a seccomp policy cannot notify by default: the supervisor itself could never be reached")
        }
        let native = seccomp_arch_native()
        var tokens = [native]
        for name in policy.architectures ?? [] {
            let token = try Self.architecture(name)
            if !tokens.contains(token) { tokens.append(token) }
        }
        architectures = tokens
        // x32 shares its architecture value with x86-64; libseccomp tells them apart.
        let ranges = usingRanges && !Self.isPermissive(policy) && !tokens.contains(Self.tokens["SCMP_ARCH_X32"] ?? 0)
        let names = ranges ? Self.simplyAllowed(policy) : []
        // A search reaches as far as a conditional jump does.
        let fits = tokens.allSatisfy { token in
            Self.changes(names.compactMap { Self.number(of: $0, on: token, native: native) }).count <= 250
        }
        simple = fits ? names : []
    }

    /// Names that one or more rules allow whatever the arguments, and no rule treats otherwise.
    private static func simplyAllowed(_ policy: RuntimeSpec.Seccomp) -> Set<String> {
        var simple: Set<String> = []
        var other: Set<String> = []
        for rule in policy.syscalls ?? [] {
            if rule.action == "SCMP_ACT_ALLOW", rule.args?.isEmpty ?? true {
                simple.formUnion(rule.names)
            } else {
                other.formUnion(rule.names)
            }
        }
        return simple.subtracting(other)
    }

    private static func isPermissive(_ policy: RuntimeSpec.Seccomp) -> Bool {
        ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"].contains(policy.defaultAction)
    }

    /// The number of a name on an architecture; nil where it has none of its own.
    private static func number(of name: String, on token: UInt32, native: UInt32) -> UInt32? {
        let number = seccomp_syscall_resolve_name_arch(token, name)
        if number >= 0 { return UInt32(number) }
        return number == unknownToLibrary && token == native ? SeccompNumbers.newer[name].map { UInt32($0) } : nil
    }

    /// The whole program: our prologue, then libseccomp's.
    func program() throws(SeccompError) -> [UInt8] {
        guard let context = seccomp_init(defaultAction) else {
            throw SeccompError("libseccomp refused the default action \(policy.defaultAction)")
        }
        defer { seccomp_release(context) }
        try check(seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimise the filter")
        // Calls newer than this libseccomp go in by number while only the native architecture is there: it can't
        // translate a number that it doesn't know, and i386 programs do without them.
        try addRules(context) { name in
            seccomp_syscall_resolve_name(name) == unknownToLibrary ? SeccompNumbers.newer[name] : nil
        }
        for token in architectures.dropFirst() {
            try check(seccomp_arch_add(context, token), "add an architecture")
        }
        try addRules(context) { name in
            let number = seccomp_syscall_resolve_name(name)
            return number == unknownToLibrary ? nil : number
        }
        let program = prologue() + (try export(context))
        let count = program.count / MemoryLayout<sock_filter>.stride
        guard count <= SeccompFilter.maximumInstructions - SeccompFilter.auditOpening else {
            throw SeccompError(
                "the seccomp policy is too large: it makes \(count) instructions, and the kernel takes "
                    + "\(SeccompFilter.maximumInstructions)")
        }
        return program
    }

    private func addRules(
        _ context: scmp_filter_ctx, _ number: (String) -> Int32?
    ) throws(SeccompError) {
        for rule in policy.syscalls ?? [] {
            let action = try Self.action(rule.action, errno: rule.errnoRet)
            // libseccomp refuses a rule that says what happens anyway.
            guard action != defaultAction else { continue }
            var conditions: [scmp_arg_cmp] = []
            for argument in rule.args ?? [] { conditions.append(try Self.condition(argument)) }
            // As in runc: several conditions on one argument are alternatives, otherwise all must hold.
            let alternatives = Set(conditions.map(\.arg)).count < conditions.count
            for name in rule.names where !isInRanges(name) {
                guard let number = number(name) else { continue }
                for set in alternatives ? conditions.map({ [$0] }) : [conditions] {
                    let result = seccomp_rule_add_array(context, action, number, UInt32(set.count), set)
                    // An architecture without this call: nothing to filter.
                    if result == -EDOM { continue }
                    try check(result, "add a rule for \(name)")
                }
            }
        }
    }

    /// Whether the range tables say all there is to say about a name. They don't where a number is libseccomp's own
    /// (negative: calls behind a multiplexer).
    private func isInRanges(_ name: String) -> Bool {
        guard simple.contains(name) else { return false }
        return architectures.allSatisfy { token in
            let number = seccomp_syscall_resolve_name_arch(token, name)
            return number >= 0 || number == unknownToLibrary || number < Self.lowestMultiplexed
        }
    }

    /// libseccomp's pseudo numbers from -101 to -224 are calls behind `socketcall` and `ipc`; those below stand for
    /// calls that an architecture lacks (its syscalls.h, `__PNR_*`).
    private static let lowestMultiplexed: Int32 = -300

    private func check(_ result: Int32, _ what: String) throws(SeccompError) {
        guard result < 0 else { return }
        throw SeccompError("libseccomp could not \(what): \(String(cString: strerror(-result)))")
    }

    private func export(_ context: scmp_filter_ctx) throws(SeccompError) -> [UInt8] {
        let descriptor = clinux_memory_file("seccomp")
        guard descriptor >= 0 else {
            throw SeccompError("no memory file for the seccomp filter: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        try check(seccomp_export_bpf(context, descriptor), "export the filter")
        let size = Int(lseek(descriptor, 0, SEEK_END))
        let bytes = [UInt8](unsafeUninitializedCapacity: max(size, 0)) { buffer, count in
            count = max(0, pread(descriptor, buffer.baseAddress, buffer.count, 0))
        }
        guard size > 0, bytes.count == size, size % 8 == 0 else {
            throw SeccompError("the exported seccomp filter could not be read back")
        }
        return bytes
    }

    /// Instructions before libseccomp's: the range tables, and what it can't express:
    ///
    /// - ENOSYS above the highest number that the policy names, per architecture (and for x32 where it isn't listed);
    /// - on 32-bit architectures libseccomp extends a rule for `socket`, `bind`, … to the multiplexer `socketcall`,
    ///   dropping the rule's conditions (an i386 program would get AF_ALG and AF_VSOCK back): where the policy does
    ///   not name `socketcall` or `ipc`, the multiplexer itself gets the default action.
    private func prologue() -> [UInt8] {
        guard !Self.isPermissive(policy) else { return [] }
        var code: [sock_filter] = []
        let names = Set((policy.syscalls ?? []).flatMap(\.names))
        let x32 = Self.tokens["SCMP_ARCH_X32"] ?? 0
        for token in architectures where token != x32 {
            var body: [sock_filter] = []
            for multiplexer in ["socketcall", "ipc"] where !names.contains(multiplexer) {
                let number = seccomp_syscall_resolve_name_arch(token, multiplexer)
                guard number >= 0 else { continue }
                body.append(.jump(BPF_JEQ, UInt32(number), then: 0, else: 1))
                body.append(.result(defaultAction))
            }
            if architectures.contains(x32), token == Self.tokens["SCMP_ARCH_X86_64"] {
                body.append(.jump(BPF_JGE, 0x4000_0000, then: 2, else: 0))
            }
            let highest = names.compactMap { Self.number(of: $0, on: token, native: architectures[0]) }.max() ?? 0
            body.append(.jump(BPF_JGT, highest, then: 0, else: 1))
            body.append(.result(0x0005_0000 | UInt32(ENOSYS)))
            body += rangeTable(simple.compactMap { Self.number(of: $0, on: token, native: architectures[0]) })
            // The distance may be more than a conditional jump's 255.
            code.append(.jump(BPF_JEQ, token, then: 1, else: 0))
            code.append(.skip(UInt32(body.count + 2)))
            code.append(.load(offset: 0))
            code += body
            // On to libseccomp's part, past the architectures below; patched when their length is known.
            code.append(.skip(Self.toLibrary))
        }
        for index in code.indices where code[index].code == UInt16(BPF_JMP | BPF_JA) && code[index].k == Self.toLibrary
        {
            code[index].k = UInt32(code.count - index - 1)
        }
        code.insert(.load(offset: 4), at: 0)
        return code.withUnsafeBytes { Array($0) }
    }

    /// Stands for a distance that isn't known yet.
    private static let toLibrary = UInt32.max

    /// Returns ALLOW for these numbers and goes on behind its end for all others: a binary search in the points where
    /// the answer changes.
    private func rangeTable(_ numbers: [UInt32]) -> [sock_filter] {
        let points = Self.changes(numbers)
        guard !points.isEmpty else { return [] }
        var code: [sock_filter] = []
        // One instruction a point; behind them the two ends. Allowed is every stretch that starts at an even point.
        func search(_ range: Range<Int>) {
            let middle = range.lowerBound + (range.count - 1) / 2
            let place = code.count
            code.append(.jump(BPF_JGE, points[middle], then: 0, else: 0))
            let below = range.lowerBound..<middle
            let above = middle + 1..<range.upperBound
            func target(_ half: Range<Int>) -> UInt8 {
                if half.isEmpty {
                    // Below the point `half.lowerBound`: allowed when the last point passed is an even one.
                    let allowed = half.lowerBound % 2 == 1
                    return UInt8(points.count - place - 1 + (allowed ? 0 : 1))
                }
                let start = code.count - place - 1
                search(half)
                return UInt8(start)
            }
            let otherwise = target(below)
            let then = target(above)
            code[place].jt = then
            code[place].jf = otherwise
        }
        search(0..<points.count)
        return code + [.result(SCMP_ACT_ALLOW)]
    }

    /// Where, going up from 0, numbers begin and cease to be in the list.
    private static func changes(_ numbers: [UInt32]) -> [UInt32] {
        var points: [UInt32] = []
        for number in Set(numbers).sorted() {
            if points.last == number { points.removeLast() } else { points.append(number) }
            points.append(number + 1)
        }
        return points
    }
}

/// __NR_SCMP_ERROR: libseccomp does not know the name at all.
private let unknownToLibrary: Int32 = -1

extension SeccompCompiler {
    static let tokens: [String: UInt32] = {
        var tokens: [String: UInt32] = [:]
        for name in [
            "x86", "x86_64", "x32", "arm", "aarch64", "mips", "mips64", "mips64n32", "mipsel", "mipsel64",
            "mipsel64n32", "ppc", "ppc64", "ppc64le", "s390", "s390x", "parisc", "parisc64", "riscv64",
        ] {
            let token = seccomp_arch_resolve_name(name)
            if token != 0 { tokens["SCMP_ARCH_" + name.uppercased()] = token }
        }
        return tokens
    }()

    static func architecture(_ name: String) throws(SeccompError) -> UInt32 {
        guard let token = tokens[name] else {
            throw SeccompError("unknown seccomp architecture \"\(name)\": use SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64 …")
        }
        return token
    }

    static func action(_ name: String, errno number: UInt32?) throws(SeccompError) -> UInt32 {
        let data = (number ?? UInt32(EPERM)) & 0xffff
        switch name {
        case "SCMP_ACT_ALLOW": return SCMP_ACT_ALLOW
        case "SCMP_ACT_LOG": return SCMP_ACT_LOG
        case "SCMP_ACT_ERRNO": return 0x0005_0000 | data
        case "SCMP_ACT_TRACE": return 0x7ff0_0000 | data
        case "SCMP_ACT_TRAP": return SCMP_ACT_TRAP
        case "SCMP_ACT_NOTIFY": return SCMP_ACT_NOTIFY
        case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD": return SCMP_ACT_KILL_THREAD
        case "SCMP_ACT_KILL_PROCESS": return SCMP_ACT_KILL_PROCESS
        default: throw SeccompError("unknown seccomp action \"\(name)\": use SCMP_ACT_ALLOW, SCMP_ACT_ERRNO …")
        }
    }

    static func condition(_ argument: RuntimeSpec.SeccompArg) throws(SeccompError) -> scmp_arg_cmp {
        guard argument.index < 6 else {
            throw SeccompError("a seccomp rule is about argument \(argument.index): system calls have 0 to 5")
        }
        let operators: [String: scmp_compare] = [
            "SCMP_CMP_NE": SCMP_CMP_NE, "SCMP_CMP_LT": SCMP_CMP_LT, "SCMP_CMP_LE": SCMP_CMP_LE,
            "SCMP_CMP_EQ": SCMP_CMP_EQ, "SCMP_CMP_GE": SCMP_CMP_GE, "SCMP_CMP_GT": SCMP_CMP_GT,
            "SCMP_CMP_MASKED_EQ": SCMP_CMP_MASKED_EQ,
        ]
        guard let comparison = operators[argument.op] else {
            throw SeccompError("unknown seccomp operator \"\(argument.op)\": use SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ …")
        }
        return scmp_arg_cmp(
            arg: argument.index, op: comparison, datum_a: argument.value, datum_b: argument.valueTwo ?? 0)
    }
}

extension sock_filter {
    fileprivate static func load(offset: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset)
    }

    fileprivate static func jump(_ test: Int32, _ value: UInt32, then: UInt8, else otherwise: UInt8) -> sock_filter {
        sock_filter(code: UInt16(BPF_JMP | test | BPF_K), jt: then, jf: otherwise, k: value)
    }

    fileprivate static func skip(_ count: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_JMP | BPF_JA), jt: 0, jf: 0, k: count)
    }

    fileprivate static func result(_ action: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: action)
    }
}

/// Numbers of system calls that Debian 12's libseccomp (2.5.4) has no names for. From 424 on every architecture uses
/// the same numbers (scripts/syscall.tbl in the kernel's sources).
enum SeccompNumbers {
    static let newer: [String: Int32] = {
        var numbers: [String: Int32] = [
            "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
            "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
            "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "getxattrat": 464,
            "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
        ]
        #if arch(x86_64)
            numbers["uretprobe"] = 335
        #endif
        return numbers
    }()
}
