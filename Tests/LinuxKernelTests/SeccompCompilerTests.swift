import Glibc
import OCI
import Testing

@testable import LinuxKernel

/// Our range tables against libseccomp's own program: every number on every architecture must have the same answer.
@Suite struct SeccompCompilerTests {
    /// AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 (in no policy here), nonsense.
    private static let architectures: [UInt32] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 7]

    @Test(arguments: [
        SeccompProfile.dockerDefault(capabilities: []),
        SeccompProfile.dockerDefault(capabilities: ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_NICE"]),
        SeccompProfile.dockerDefault(capabilities: [], kernel: KernelVersion(4, 4)),
        conflicting, sparse, withX32,
    ])
    func agreesWithTheLibrary(policy: RuntimeSpec.Seccomp) throws {
        let ours = try SeccompCompiler(policy).program()
        let reference = try SeccompCompiler(policy, usingRanges: false).program()
        let arguments: [[UInt64]] = [
            [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], [38, 1, 0, 0, 0, 0], [40, 1, 0, 0, 0, 0], [39, 1, 0, 0, 0, 0],
            [0x1_0000_0026, 1, 0, 0, 0, 0], [0x1000_0000, 0, 0, 0, 0, 0], [0x11, 0, 0, 0, 0, 0],
            [0xffff_ffff, 0, 0, 0, 0, 0], [UInt64.max, 0, 0, 0, 0, 0],
        ]
        let numbers = Array(UInt32(0)...600) + [0x4000_0000, 0x4000_0027, 0x4000_0200, UInt32.max, 10_000]
        var different: [String] = []
        for architecture in Self.architectures {
            for number in numbers {
                for values in arguments {
                    let call = Call(number: number, architecture: architecture, arguments: values)
                    let (mine, theirs) = (try call.answer(of: ours), try call.answer(of: reference))
                    if mine != theirs { different.append("\(call): \(mine) for \(theirs)") }
                }
            }
        }
        #expect(different.isEmpty, "\(different.prefix(5))")
    }

    @Test func theDefaultProfileIsShort() throws {
        let filter = try SeccompFilter.compile(SeccompProfile.dockerDefault(capabilities: []))
        #expect(filter.program.count / 8 < 400)
    }

    /// One call allowed by one rule and refused by another, conditions beside a plain rule.
    private static let conflicting = RuntimeSpec.Seccomp(
        defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        syscalls: [
            RuntimeSpec.SeccompSyscall(
                names: ["read", "write", "socketcall", "bind", "ipc"], action: "SCMP_ACT_ALLOW"),
            RuntimeSpec.SeccompSyscall(
                names: ["write", "socket"], action: "SCMP_ACT_ERRNO", errnoRet: 95,
                args: [RuntimeSpec.SeccompArg(index: 0, value: 38, op: "SCMP_CMP_EQ")]),
            RuntimeSpec.SeccompSyscall(names: ["getpid"], action: "SCMP_ACT_LOG"),
            RuntimeSpec.SeccompSyscall(names: ["nosuchcall", "close"], action: "SCMP_ACT_ALLOW"),
        ])

    /// Every other number: the longest range table there can be, and one too long.
    private static let sparse = RuntimeSpec.Seccomp(
        defaultAction: "SCMP_ACT_KILL_PROCESS", architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [
            RuntimeSpec.SeccompSyscall(
                names: [
                    "read", "open", "stat", "lstat", "lseek", "mprotect", "brk", "rt_sigprocmask", "ioctl", "pread64",
                ], action: "SCMP_ACT_ALLOW")
        ])

    private static let withX32 = RuntimeSpec.Seccomp(
        defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1,
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        syscalls: [RuntimeSpec.SeccompSyscall(names: ["read", "write", "bind", "getpid"], action: "SCMP_ACT_ALLOW")])
}

/// What a filter sees of a system call (struct seccomp_data), and the little of classic BPF that filters use.
private struct Call: CustomStringConvertible {
    let number: UInt32
    let architecture: UInt32
    let arguments: [UInt64]

    var description: String { "call \(number) of \(String(architecture, radix: 16)) with \(arguments)" }

    struct Malformed: Error {}

    private func word(at offset: UInt32) throws -> UInt32 {
        switch offset {
        case 0: return number
        case 4: return architecture
        case 16..<64 where offset % 4 == 0:
            let argument = arguments[Int(offset - 16) / 8]
            return UInt32(truncatingIfNeeded: offset % 8 == 0 ? argument : argument >> 32)
        default: throw Malformed()
        }
    }

    func answer(of program: [UInt8]) throws -> UInt32 {
        try program.withUnsafeBytes { bytes in
            var counter = 0
            var accumulator: UInt32 = 0
            while counter * 8 + 8 <= bytes.count {
                let code = bytes.loadUnaligned(fromByteOffset: counter * 8, as: UInt16.self)
                let (then, otherwise) = (Int(bytes[counter * 8 + 2]), Int(bytes[counter * 8 + 3]))
                let value = bytes.loadUnaligned(fromByteOffset: counter * 8 + 4, as: UInt32.self)
                counter += 1
                switch code {
                case 0x20: accumulator = try word(at: value)
                case 0x05: counter += Int(value)
                case 0x15: counter += accumulator == value ? then : otherwise
                case 0x25: counter += accumulator > value ? then : otherwise
                case 0x35: counter += accumulator >= value ? then : otherwise
                case 0x45: counter += accumulator & value != 0 ? then : otherwise
                case 0x54: accumulator &= value
                case 0x06: return value
                default: throw Malformed()
                }
            }
            throw Malformed()
        }
    }
}
