import Foundation
import Glibc
import OCI
import Testing

@testable import LinuxKernel

/// Our range tables against libseccomp's own program: every number on every architecture must have the same answer.
@Suite struct SeccompCompilerTests {
    /// AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 (in no policy here), nonsense.
    private static let architectures: [UInt32] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 7]

    /// Said when the container is made, not when the kernel refuses the program.
    @Test func whatTheKernelCannotTakeIsRefused() {
        let rules = (0..<5000).map { value in
            RuntimeSpec.SeccompSyscall(
                names: ["ioctl"], action: "SCMP_ACT_ALLOW",
                args: [.init(index: 1, value: UInt64(value) * 3, op: "SCMP_CMP_EQ")])
        }
        let policy = RuntimeSpec.Seccomp(defaultAction: "SCMP_ACT_ERRNO", syscalls: rules)
        let error = #expect(throws: SeccompError.self) { try SeccompCompiler(policy).program() }
        #expect(error?.message.contains("too large") == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        SeccompProfile.dockerDefault(capabilities: []),
        SeccompProfile.dockerDefault(capabilities: ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_NICE"]),
        SeccompProfile.dockerDefault(capabilities: [], kernel: KernelVersion(4, 4)),
        conflicting, sparse, withX32,
    ])
    func agreesWithTheLibrary(policy: RuntimeSpec.Seccomp) throws {
        let ours = SeccompFilter(program: try SeccompCompiler(policy).program(), flags: 0)
        let reference = SeccompFilter(program: try SeccompCompiler(policy, usingRanges: false).program(), flags: 0)
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
                    let call = SeccompCall(number: number, architecture: architecture, arguments: values)
                    let (mine, theirs) = (ours.answer(to: call), reference.answer(to: call))
                    if mine == nil || mine != theirs { different.append("\(call)") }
                }
            }
        }
        #expect(different.isEmpty, "\(different.prefix(5))")
    }

    @Test func theDefaultProfileIsShort() throws {
        let filter = try SeccompFilter.compile(SeccompProfile.dockerDefault(capabilities: []))
        #expect(filter.program.count / 8 < 400)
    }

    /// What scripts/seccomp/compare saw in a container of docker's newest, call by call.
    @Test func refusesWhatDockerRefuses() throws {
        let path = String(#filePath.dropLast("SeccompCompilerTests.swift".count)) + "docker-refuses.txt"
        let architectures = ["x86_64": Self.architectures[0], "i386": Self.architectures[1]]
        let filter = try SeccompFilter.compile(SeccompProfile.dockerDefault(capabilities: []))
        let hopeless = [UInt64](repeating: .max, count: 6)
        var count = 0
        for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#")
        {
            let words = line.split(separator: " ")
            let architecture = try #require(architectures[String(words[0])])
            let number = try #require(UInt32(words[1]))
            let call = SeccompCall(number: number, architecture: architecture, arguments: hopeless)
            #expect(filter.answer(to: call)?.lets == false, "\(line)")
            count += 1
        }
        #expect(count > 100)
    }

    @Test func anAuditAsksWhereTheFilterRefuses() throws {
        let filter = try SeccompFilter.compile(SeccompProfile.dockerDefault(capabilities: []))
        let audit = filter.auditing
        #expect(audit.flags & 8 != 0 && audit.program.count == filter.program.count + 5 * 8)
        for number in UInt32(0)...600 {
            for family: UInt64 in [2, 38] {
                let call = SeccompCall(
                    number: number, architecture: Self.architectures[0], arguments: [family, 1, 0, 0, 0, 0])
                let answer = try #require(filter.answer(to: call))
                #expect(audit.answer(to: call) == (answer.lets ? answer : .notify), "\(call)")
            }
        }
        let keyctl = SeccompCall(number: 250, architecture: Self.architectures[0], arguments: [0, 0, 0, 0, 0, 0])
        #expect(keyctl.name == "keyctl" && keyctl.architectureName == "x86_64")
        #expect(filter.answer(to: keyctl)?.description == "EPERM")
        let unknown = SeccompCall(number: 599, architecture: Self.architectures[1], arguments: [0, 0, 0, 0, 0, 0])
        #expect(unknown.name == "syscall_599" && filter.answer(to: unknown)?.description == "ENOSYS")
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
