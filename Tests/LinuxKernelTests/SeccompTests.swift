import Foundation
import Glibc
import LinuxKernel
import OCI
import Testing

/// What the kernel answers to system calls under a filter that a helper process loads.
@Suite struct SeccompTests {
    private let denied = -Int(EPERM)
    private let unknown = -Int(ENOSYS)

    @Test func compilesTheDefaultProfile() throws {
        let filter = try SeccompFilter.compile(SeccompProfile.dockerDefault(capabilities: []))
        #expect(filter.program.count % 8 == 0)
        #expect(filter.flags == 4)
    }

    @Test(arguments: [
        "io_uring_setup 64:425:1:0", "io_uring_enter 64:426:0", "io_uring_register 64:427:0", "userfaultfd 64:323:0",
        "bpf 64:321:0", "keyctl 64:250:0", "add_key 64:248:0", "request_key 64:249:0", "perf_event_open 64:298:0",
        "mount 64:165:0", "umount2 64:166:0", "unshare 64:272:0", "setns 64:308:0", "kexec_load 64:246:0",
        "init_module 64:175:0", "open_by_handle_at 64:304:0", "open_tree 64:428:0", "move_mount 64:429:0",
        "fsopen 64:430:0", "mount_setattr 64:442:0", "pidfd_getfd 64:438:0", "process_madvise 64:440:0",
        "syslog 64:103:0", "chroot 64:161:0", "reboot 64:169:0", "swapon 64:167:0", "personality 64:135:0x40000",
        "lsm_get_self_attr 64:459:0", "clone_newuser 64:56:0x10000000", "socket_vsock 64:41:40:1:0",
        "socket_alg 64:41:38:5:0", "socket_alg_high_bits 64:41:0x100000026:5:0",
        "socket_vsock_high_bits 64:41:0x100000028:1:0", "i386_socketcall 32:102:1:0", "i386_socket_alg 32:359:38:5:0",
        "i386_socket_vsock 32:359:40:1:0", "i386_mount 32:21:0", "i386_bpf 32:357:0", "i386_keyctl 32:288:0",
        "i386_io_uring_setup 32:425:1:0", "i386_userfaultfd 32:374:0", "i386_unshare 32:310:0",
    ])
    func deniesNewKernelSurfaces(call: String) throws {
        let result = try probe(SeccompProfile.dockerDefault(capabilities: []), [call])
        #expect(result == [denied], "\(call)")
    }

    @Test func allowsWhatProgramsNeed() throws {
        let calls = [
            "getpid 64:39", "socket_inet 64:41:2:1:0", "socket_unix 64:41:1:1:0", "socket_netlink 64:41:16:3:0",
            "socket_nosuchfamily 64:41:45:1:0", "personality 64:135:0xffffffff", "i386_getpid 32:20",
            "i386_socket_inet 32:359:2:1:0", "clone_bad_flags 64:56:0x10000", "fchmodat2 64:452:-1:0:0:0",
            "cachestat 64:451:-1:0:0:0", "mseal 64:462:1:0:0",
        ]
        let results = try probe(SeccompProfile.dockerDefault(capabilities: []), calls)
        for (call, result) in zip(calls, results) { #expect(result != denied, "\(call): \(result)") }
        #expect(results[0] > 0)
        #expect(results[1] >= 0)
        #expect(results[4] == -Int(EAFNOSUPPORT))
        #expect(results[6] > 0)
        #expect(results[7] >= 0)
        if KernelVersion.running >= KernelVersion(6, 6) { #expect(results[9] == -Int(EFAULT)) }
        if KernelVersion.running >= KernelVersion(6, 10) { #expect(results[11] == -Int(EINVAL)) }
    }

    @Test func answersUnknownCallsWithENOSYS() throws {
        let calls = ["clone3 64:435:0:0", "future 64:500", "x32 64:0x40000027", "i386_future 32:500"]
        #expect(
            try probe(SeccompProfile.dockerDefault(capabilities: []), calls) == [unknown, unknown, unknown, unknown])
    }

    @Test func capabilitiesOpenTheirCalls() throws {
        let all: Set<String> = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYSLOG", "CAP_SYS_PTRACE", "CAP_SYS_TIME"]
        let calls = [
            "mount 64:165:0:0:0:0:0", "clone3 64:435:0:0", "unshare_bad 64:272:1", "syslog 64:103:99",
            "kcmp 64:312:0:0:99",
            "chroot 64:161:0", "lsm_list_modules 64:461:0:0:1",
        ]
        let results = try probe(SeccompProfile.dockerDefault(capabilities: all), calls)
        for (call, result) in zip(calls, results) { #expect(result != denied, "\(call)") }
        #expect(results[1] == -Int(EINVAL))
        // io_uring stays denied whatever the capabilities.
        #expect(try probe(SeccompProfile.dockerDefault(capabilities: all), ["io_uring_setup 64:425:1:0"]) == [denied])
    }

    @Test func ptraceDependsOnTheKernel() {
        func allowsPtrace(_ kernel: KernelVersion) -> Bool {
            SeccompProfile.dockerDefault(capabilities: [], kernel: kernel).syscalls?.contains {
                $0.names.contains("ptrace")
            } ?? false
        }
        #expect(allowsPtrace(KernelVersion(4, 8)))
        #expect(!allowsPtrace(KernelVersion(4, 7)))
        #expect(KernelVersion("6.1.0-18-amd64") == KernelVersion(6, 1))
        #expect(KernelVersion("6.18") == KernelVersion(6, 18))
        #expect(KernelVersion("six") == nil)
    }

    @Test func resolvesDockersFileFormat() throws {
        let text = """
            {"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
             "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]},
                        {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
             "syscalls":[
              {"names":["read","write"],"action":"SCMP_ACT_ALLOW","args":null},
              {"name":"getpid","action":"SCMP_ACT_ALLOW"},
              {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
              {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
              {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,
               "op":"SCMP_CMP_MASKED_EQ"}],"excludes":{"caps":["CAP_SYS_ADMIN"],"arches":["s390x"]}},
              {"names":["arch_prctl"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","x32"]}}]}
            """
        let file = try JSONDecoder().decode(SeccompProfileFile.self, from: Data(text.utf8))
        let plain = try #require(
            try file.resolve(capabilities: [], kernel: KernelVersion(4, 7), architecture: "amd64"))
        #expect(plain.architectures == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
        #expect(plain.syscalls?.map(\.names) == [["read", "write"], ["getpid"], ["clone"], ["arch_prctl"]])
        #expect(plain.defaultErrnoRet == 38)
        let admin = try #require(
            try file.resolve(capabilities: ["CAP_SYS_ADMIN"], kernel: KernelVersion(6, 1), architecture: "arm64"))
        #expect(admin.architectures == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"])
        #expect(admin.syscalls?.map(\.names) == [["read", "write"], ["getpid"], ["mount"], ["ptrace"]])
        let empty = try JSONDecoder().decode(SeccompProfileFile.self, from: Data("{}".utf8))
        #expect(try empty.resolve(capabilities: []) == nil)
        let both =
            #"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"a"}]}"#
        let contradiction = try JSONDecoder().decode(SeccompProfileFile.self, from: Data(both.utf8))
        #expect(throws: SeccompError.self) { try contradiction.resolve(capabilities: []) }
    }

    @Test func refusesUnknownWords() {
        for policy in [
            RuntimeSpec.Seccomp(defaultAction: "SCMP_ACT_MAYBE"),
            RuntimeSpec.Seccomp(defaultAction: "SCMP_ACT_NOTIFY"),
            RuntimeSpec.Seccomp(defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_PDP11"]),
            RuntimeSpec.Seccomp(defaultAction: "SCMP_ACT_ALLOW", flags: ["FAST"]),
            RuntimeSpec.Seccomp(
                defaultAction: "SCMP_ACT_ALLOW",
                syscalls: [
                    RuntimeSpec.SeccompSyscall(
                        names: ["read"], action: "SCMP_ACT_ERRNO",
                        args: [RuntimeSpec.SeccompArg(index: 6, value: 0, op: "SCMP_CMP_EQ")])
                ]),
        ] {
            #expect(throws: SeccompError.self) { try SeccompFilter.compile(policy) }
        }
    }

    @Test func denyListsLetTheRestThrough() throws {
        let policy = RuntimeSpec.Seccomp(
            defaultAction: "SCMP_ACT_ALLOW",
            syscalls: [
                RuntimeSpec.SeccompSyscall(names: ["getppid"], action: "SCMP_ACT_ERRNO", errnoRet: 95),
                // Two conditions on one argument are alternatives.
                RuntimeSpec.SeccompSyscall(
                    names: ["dup"], action: "SCMP_ACT_ERRNO", errnoRet: 96,
                    args: [
                        RuntimeSpec.SeccompArg(index: 0, value: 100, op: "SCMP_CMP_EQ"),
                        RuntimeSpec.SeccompArg(index: 0, value: 101, op: "SCMP_CMP_EQ"),
                    ]),
            ])
        let results = try probe(policy, ["64:110", "64:39", "64:500", "64:32:100", "64:32:101", "64:32:102"])
        #expect(results[0] == -95)
        #expect(results[1] > 0)
        #expect(results[2] == unknown)
        #expect(results[3...] == [-96, -96, -Int(EBADF)])
    }

    @Test func notifyingFiltersAskForAListener() throws {
        let policy = RuntimeSpec.Seccomp(
            defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_LOG"],
            syscalls: [RuntimeSpec.SeccompSyscall(names: ["mknod"], action: "SCMP_ACT_NOTIFY")])
        #expect(try SeccompFilter.compile(policy).flags == 0b1010)
    }

    @Test func cacheStoresReadsAndRepairs() throws {
        let directory = try TemporaryDirectory()
        let policy = SeccompProfile.dockerDefault(capabilities: [])
        let first = try SeccompCache(directory: directory.path + "/cache").filter(for: policy)
        let compiled = try SeccompFilter.compile(policy)
        #expect(try Data(contentsOf: URL(fileURLWithPath: first.path)) == Data(compiled.program))
        #expect(first.flags == compiled.flags)
        let inode = try inode(of: first.path)
        // Another process's cache finds the file and leaves it alone.
        #expect(try SeccompCache(directory: directory.path + "/cache").filter(for: policy) == first)
        #expect(try self.inode(of: first.path) == inode)
        // Another policy is another file.
        let other = try SeccompCache(directory: directory.path + "/cache").filter(
            for: SeccompProfile.dockerDefault(capabilities: ["CAP_SYS_ADMIN"]))
        #expect(other.path != first.path)
        // A torn file is compiled anew.
        #expect(truncate(first.path, 16) == 0)
        let cache = SeccompCache(directory: directory.path + "/cache")
        #expect(try cache.filter(for: policy) == first)
        #expect(try Data(contentsOf: URL(fileURLWithPath: first.path)) == Data(compiled.program))
        // One that vanished under a living daemon too.
        unlink(first.path)
        #expect(try cache.filter(for: policy) == first)
        #expect(access(first.path, R_OK) == 0)
        #expect(try cache.defaultFilter(capabilities: []) == first)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/cache").count == 4)
    }

    /// Results of system calls under the compiled policy.
    private func probe(_ policy: RuntimeSpec.Seccomp, _ calls: [String]) throws -> [Int] {
        let directory = try TemporaryDirectory()
        let program = directory.path + "/program"
        try Data(try SeccompFilter.compile(policy).program).write(to: URL(fileURLWithPath: program))
        let output = try run(
            try SeccompProbe.path.get(), [program] + calls.map { String($0.split(separator: " ").last!) })
        return output.split(separator: "\n").compactMap { Int($0) }
    }

    private func inode(of path: String) throws -> UInt64 {
        var status = stat()
        #expect(stat(path, &status) == 0)
        return UInt64(status.st_ino)
    }
}

/// The helper, compiled once a test run.
private enum SeccompProbe {
    static let path: Result<String, any Error> = Result {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/seccomp-probe.c"
        _ = try run("/usr/bin/gcc", ["-O1", "-o", binary, source])
        atexit { unlink(SeccompProbe.binary) }
        return binary
    }
    private static let binary = NSTemporaryDirectory() + "/seccomp-probe-\(getpid())"
}
