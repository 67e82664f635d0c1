import CSeccomp
import Glibc
import OCI
import Synchronization

/// Compiled filters on disk, one pair of files a policy: `<hash>.bpf` is the program, `<hash>.key` says what it was
/// compiled from. The key is the whole resolved policy, its flags, architecture and the library's version, compared
/// as text, so that a collision of hashes costs a compilation and nothing else. A damaged or missing file is
/// compiled anew.
public final class SeccompCache: Sendable {
    public let directory: String
    private let known = Mutex<[CacheKey: Entry]>([:])

    /// A filter's file (an array of `struct sock_filter`, as `LaunchDocument.SeccompProgram` wants it) and its flags.
    public struct Entry: Sendable, Equatable {
        public let path: String
        public let flags: UInt32
    }

    private enum CacheKey: Hashable {
        case policy(RuntimeSpec.Seccomp)
        case containerDefault(CapabilitySet)
    }

    /// `directory` is made when the first filter is stored.
    public init(directory: String) { self.directory = directory }

    /// The compiled form of `policy`.
    public func filter(for policy: RuntimeSpec.Seccomp) throws(SeccompError) -> Entry {
        try entry(.policy(policy)) { policy }
    }

    /// The compiled default profile of a container with these capabilities (its bounding set) on the running kernel.
    public func defaultFilter(capabilities: [String]) throws(SeccompError) -> Entry {
        let set: CapabilitySet
        do throws(CapabilityError) { set = try CapabilitySet(names: capabilities) } catch {
            throw SeccompError(error.message)
        }
        return try entry(.containerDefault(set)) { SeccompProfile.dockerDefault(capabilities: Set(set.names)) }
    }

    private func entry(_ key: CacheKey, _ policy: () -> RuntimeSpec.Seccomp) throws(SeccompError) -> Entry {
        if let entry = known.withLock({ $0[key] }), access(entry.path, R_OK) == 0 { return entry }
        let entry = try onDisk(policy())
        known.withLock { known in
            // Profiles come from clients: keep the memory bounded.
            if known.count >= 64 { known.removeAll() }
            known[key] = entry
        }
        return entry
    }

    /// The compiled form itself, for a process that starts one container and keeps nothing in memory. A cache that can't be
    /// written costs time and is no error.
    public func program(for policy: RuntimeSpec.Seccomp) throws(SeccompError) -> SeccompFilter {
        let description = Self.description(of: policy)
        if let filter = Self.load(directory + "/" + Self.hexadecimal(Self.hash(description.utf8)), description) {
            return filter
        }
        prune()
        if let entry = try? onDisk(policy), let program = CgroupFile.readBytes(entry.path) {
            return SeccompFilter(program: program, flags: entry.flags)
        }
        return try SeccompFilter.compile(policy)
    }

    /// Policies come from callers: beyond so many pairs all go, and what is still used comes back.
    private func prune() {
        let names = ((try? FileNames.list(at: directory)) ?? []).filter { $0.first != UInt8(ascii: ".") }
        guard names.count >= 256 else { return }
        for name in names { unlink(directory + "/" + String(decoding: name, as: UTF8.self)) }
    }

    private func onDisk(_ policy: RuntimeSpec.Seccomp) throws(SeccompError) -> Entry {
        let description = Self.description(of: policy)
        let stem = directory + "/" + Self.hexadecimal(Self.hash(description.utf8))
        if let filter = Self.load(stem, description) {
            return Entry(path: stem + ".bpf", flags: filter.flags)
        }
        let filter = try SeccompFilter.compile(policy)
        if mkdir(directory, 0o700) != 0, errno != EEXIST { throw failure("make the directory", directory) }
        try store(filter.program, stem + ".bpf")
        let key = Self.keyText(description: description, filter: filter)
        try store(Array(key.utf8), stem + ".key")
        return Entry(path: stem + ".bpf", flags: filter.flags)
    }

    /// The stored filter if the pair is whole and was compiled from exactly `description`.
    private static func load(_ stem: String, _ description: String) -> SeccompFilter? {
        guard let key = CgroupFile.read(stem + ".key"), let program = CgroupFile.readBytes(stem + ".bpf"),
            let flags = key.split(separator: "\n", maxSplits: 1).first.flatMap({ UInt32($0) }),
            !program.isEmpty, program.count % 8 == 0, program.count / 8 <= SeccompFilter.maximumInstructions
        else { return nil }
        let filter = SeccompFilter(program: program, flags: flags)
        return keyText(description: description, filter: filter) == key ? filter : nil
    }

    private static func keyText(description: String, filter: SeccompFilter) -> String {
        "\(filter.flags)\n\(hexadecimal(hash(filter.program)))\n\(description)"
    }

    private func store(_ bytes: [UInt8], _ path: String) throws(SeccompError) {
        // A name of its own, so that two threads or daemons never write the same file.
        let number = Self.serial.wrappingAdd(1, ordering: .relaxed).newValue
        let temporary = "\(path).\(getpid()).\(number)"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("write", temporary) }
        defer { close(descriptor) }
        let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == bytes.count, rename(temporary, path) == 0 else {
            let error = failure("write", path)
            unlink(temporary)
            throw error
        }
    }

    private static let serial = Atomic<Int>(0)

    private func failure(_ what: String, _ path: String) -> SeccompError {
        SeccompError("cannot \(what) \(path) of the seccomp cache: \(String(cString: strerror(errno)))")
    }

    /// Everything that the compiled program depends on, in one text. The first line is raised when the compiler
    /// itself changes what it makes of a policy.
    static func description(of policy: RuntimeSpec.Seccomp) -> String {
        let version = seccomp_version().map { "\($0.pointee.major).\($0.pointee.minor).\($0.pointee.micro)" } ?? "?"
        func optional(_ value: UInt32?) -> String { value.map { String($0) } ?? "-" }
        var lines = ["compiler 2", "libseccomp \(version)", "native \(seccomp_arch_native())"]
        lines.append("default \(policy.defaultAction) \(optional(policy.defaultErrnoRet))")
        lines.append("architectures " + (policy.architectures ?? []).joined(separator: " "))
        lines.append("flags " + (policy.flags.map { $0.joined(separator: " ") } ?? "-"))
        for rule in policy.syscalls ?? [] {
            var line = "\(rule.action) \(optional(rule.errnoRet))"
            for argument in rule.args ?? [] {
                line += " [\(argument.index) \(argument.op) \(argument.value) \(argument.valueTwo ?? 0)]"
            }
            // Lengths keep a name with a space in it from reading as two.
            lines.append(rule.names.reduce(line) { "\($0) \($1.utf8.count):\($1)" })
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// FNV-1a, 64 bits: names files and finds torn ones; the key's text is what is trusted.
    private static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
