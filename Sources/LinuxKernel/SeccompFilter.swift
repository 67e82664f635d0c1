import CLinux
import CSeccomp
import Glibc
import OCI

/// A seccomp filter ready for the kernel: classic BPF and the SECCOMP_FILTER_FLAG_* bits to load it with.
public struct SeccompFilter: Sendable, Equatable {
    /// An array of `struct sock_filter`, 8 bytes each.
    public var program: [UInt8]
    /// SECCOMP_FILTER_FLAG_LOG, _SPEC_ALLOW, _TSYNC, _WAIT_KILLABLE_RECV, and _NEW_LISTENER where it notifies.
    public var flags: UInt32

    public init(program: [UInt8], flags: UInt32) {
        self.program = program
        self.flags = flags
    }

    /// Compiles a policy with libseccomp (binary tree); names unknown to this architecture are skipped, as the
    /// runtime specification's other runtimes do.
    /// - Throws: for an unknown action, operator, architecture or flag, and where libseccomp refuses.
    public static func compile(_ policy: RuntimeSpec.Seccomp) throws(SeccompError) -> SeccompFilter { fatalError() }

    /// Loads the filter into the calling thread. It needs CAP_SYS_ADMIN or no-new-privileges.
    /// - Returns: the listener's descriptor where the filter notifies, else nil.
    public func load() throws(SystemError) -> Int32? { fatalError() }
}

/// A seccomp policy that can't be used, as one sentence.
public struct SeccompError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}

/// Compiled filters on disk, one file a policy. Reading is validated, writing is atomic; a damaged file is
/// compiled anew.
public struct SeccompCache: Sendable {
    public let directory: String

    /// `directory` is made when the first filter is stored.
    public init(directory: String) { self.directory = directory }

    /// The filter's file (an array of `struct sock_filter`, as `LaunchDocument.SeccompProgram` wants it) and flags.
    public func filter(for policy: RuntimeSpec.Seccomp) throws(SeccompError) -> (path: String, flags: UInt32) {
        fatalError()
    }
}

/// The profile that containers get unless told otherwise.
public enum SeccompProfile {
    /// As strict as Docker's newest default profile, resolved for one container.
    /// - Parameter capabilities: the bounding set, names in the form `CAP_SYS_ADMIN`.
    public static func dockerDefault(
        capabilities: Set<String>, kernel: KernelVersion = .running
    ) -> RuntimeSpec.Seccomp { fatalError() }
}

/// A kernel's version, for what depends on it.
public struct KernelVersion: Comparable, Hashable, Sendable {
    public var major: Int
    public var minor: Int

    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    public static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    /// The running kernel's, from uname(2).
    public static let running = KernelVersion(0, 0)
}

/// Docker's profile file format (`--security-opt seccomp=FILE`): the runtime specification's, and conditions on
/// capabilities, architecture and kernel. Decode it with JSONDecoder, then resolve it.
public struct SeccompProfileFile: Decodable, Sendable {
    public func resolve(
        capabilities: Set<String>, kernel: KernelVersion = .running
    ) throws(SeccompError) -> RuntimeSpec.Seccomp { fatalError() }
}
