import CLinux
import CSeccomp
import Glibc
import OCI

/// A seccomp filter ready for the kernel: classic BPF and the SECCOMP_FILTER_FLAG_* bits to load it with.
public struct SeccompFilter: Sendable, Equatable {
    /// An array of `struct sock_filter`, 8 bytes each.
    public var program: [UInt8]
    /// Whether loading it gives a listener.
    public var notifies: Bool { flags & UInt32(SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0 }

    /// SECCOMP_FILTER_FLAG_LOG, _SPEC_ALLOW, _TSYNC, _WAIT_KILLABLE_RECV, and _NEW_LISTENER where it notifies.
    public var flags: UInt32

    public init(program: [UInt8], flags: UInt32) {
        self.program = program
        self.flags = flags
    }

    /// The kernel's limit for one program (BPF_MAXINSNS).
    static let maximumInstructions = 4096

    /// Compiles a policy with libseccomp. System calls that an architecture lacks are skipped there, as
    /// other runtimes do; under a policy that denies by default, numbers above the highest one it names get ENOSYS,
    /// so that programs fall back when they try calls newer than the policy.
    /// - Throws: for an unknown action, operator, architecture or flag, and where libseccomp refuses.
    public static func compile(_ policy: RuntimeSpec.Seccomp) throws(SeccompError) -> SeccompFilter {
        let flags = try filterFlags(policy)
        return SeccompFilter(program: try SeccompCompiler(policy).program(), flags: flags)
    }

    /// Loads the filter into the calling thread. It needs CAP_SYS_ADMIN or no-new-privileges.
    /// - Returns: the listener's descriptor (close-on-exec) where the filter notifies, else nil.
    public func load() throws(SystemError) -> Int32? {
        let count = program.count / MemoryLayout<sock_filter>.stride
        guard count > 0, count <= Self.maximumInstructions, program.count % MemoryLayout<sock_filter>.stride == 0 else {
            throw SystemError("load a seccomp program of \(program.count) bytes", errno: EINVAL)
        }
        let result = try checked("load the seccomp filter") {
            program.withUnsafeBytes { clinux_seccomp_load($0.baseAddress, UInt16(count), flags) }
        }
        return flags & UInt32(SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0 ? result : nil
    }

    private static func filterFlags(_ policy: RuntimeSpec.Seccomp) throws(SeccompError) -> UInt32 {
        // runc's default where none is given: without it kernels before 5.16 slow the whole container down (SSBD).
        var bits = policy.flags == nil ? UInt32(SECCOMP_FILTER_FLAG_SPEC_ALLOW) : 0
        for flag in policy.flags ?? [] {
            switch flag {
            case "SECCOMP_FILTER_FLAG_TSYNC": bits |= UInt32(SECCOMP_FILTER_FLAG_TSYNC)
            case "SECCOMP_FILTER_FLAG_LOG": bits |= UInt32(SECCOMP_FILTER_FLAG_LOG)
            case "SECCOMP_FILTER_FLAG_SPEC_ALLOW": bits |= UInt32(SECCOMP_FILTER_FLAG_SPEC_ALLOW)
            case "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": bits |= UInt32(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
            default: throw SeccompError("unknown seccomp flag \"\(flag)\": runtime-spec's config-linux.md lists them")
            }
        }
        if policy.syscalls?.contains(where: { $0.action == "SCMP_ACT_NOTIFY" }) == true {
            bits |= UInt32(SECCOMP_FILTER_FLAG_NEW_LISTENER)
            // A listener's descriptor and a thread's id can't both be the return value without this (seccomp(2)).
            if bits & UInt32(SECCOMP_FILTER_FLAG_TSYNC) != 0 { bits |= UInt32(SECCOMP_FILTER_FLAG_TSYNC_ESRCH) }
        }
        return bits
    }
}

/// A seccomp policy that can't be used, as one sentence.
public struct SeccompError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}
