import OCI

/// Docker's profile file format (`--security-opt seccomp=FILE`): the runtime specification's, and conditions on
/// capabilities, architecture and kernel. Decode it with a JSONDecoder, then resolve it for a container.
public struct SeccompProfileFile: Decodable, Sendable {
    /// When a rule counts. All that is given must hold; of `arches` one.
    struct Condition: Decodable, Sendable {
        var caps: [String]?
        var arches: [String]?
        /// `major.minor`
        var minKernel: String?
    }

    struct Architecture: Decodable, Sendable {
        var architecture: String
        var subArchitectures: [String]?
    }

    struct Rule: Decodable, Sendable {
        var name: String?
        var names: [String]?
        var action: String
        var errnoRet: UInt32?
        var args: [RuntimeSpec.SeccompArg]?
        var includes: Condition?
        var excludes: Condition?
    }

    var defaultAction: String?
    var defaultErrnoRet: UInt32?
    var architectures: [String]?
    var archMap: [Architecture]?
    var flags: [String]?
    var listenerPath: String?
    var listenerMetadata: String?
    var syscalls: [Rule]?

    /// What the profile says for one container.
    /// - Parameters:
    ///   - capabilities: the bounding set, names in the form `CAP_SYS_ADMIN`.
    ///   - architecture: Docker's name, `amd64` or `arm64`.
    /// - Returns: nil where the profile neither has a default nor rules, which Docker takes as no filter.
    /// - Throws: for a contradiction or a kernel version that is none.
    public func resolve(
        capabilities: Set<String>, kernel: KernelVersion = .running,
        architecture: String = SeccompProfile.nativeArchitecture
    ) throws(SeccompError) -> RuntimeSpec.Seccomp? {
        guard let defaultAction, !defaultAction.isEmpty else {
            guard syscalls?.isEmpty ?? true else {
                throw SeccompError("the seccomp profile has rules but no defaultAction")
            }
            return nil
        }
        if architectures?.isEmpty == false, archMap?.isEmpty == false {
            throw SeccompError("the seccomp profile has both architectures and archMap: use one of them")
        }
        let host = Host(capabilities: capabilities, kernel: kernel, architecture: architecture)
        var resolved = RuntimeSpec.Seccomp(
            defaultAction: defaultAction, defaultErrnoRet: defaultErrnoRet, architectures: architectures, flags: flags,
            listenerPath: listenerPath, listenerMetadata: listenerMetadata, syscalls: [])
        if let entry = archMap?.first(where: { $0.architecture == Self.specificationNames[architecture] }) {
            resolved.architectures = [entry.architecture] + (entry.subArchitectures ?? [])
        }
        for rule in syscalls ?? [] {
            if rule.name?.isEmpty == false, rule.names?.isEmpty == false {
                throw SeccompError("a rule of the seccomp profile has both name and names: use one of them")
            }
            if let excludes = rule.excludes, try host.isExcluded(by: excludes) { continue }
            if let includes = rule.includes, try !host.isIncluded(by: includes) { continue }
            let names = rule.name.flatMap { $0.isEmpty ? nil : [$0] } ?? rule.names ?? []
            resolved.syscalls?.append(
                RuntimeSpec.SeccompSyscall(
                    names: names, action: rule.action, errnoRet: rule.errnoRet, args: rule.args))
        }
        return resolved
    }

    private static let specificationNames = ["amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"]

    private struct Host {
        let capabilities: Set<String>
        let kernel: KernelVersion
        let architecture: String

        /// Any one that holds excludes.
        func isExcluded(by condition: Condition) throws(SeccompError) -> Bool {
            if let arches = condition.arches, arches.contains(architecture) { return true }
            if let caps = condition.caps, caps.contains(where: { capabilities.contains($0) }) { return true }
            if let version = condition.minKernel, try kernel >= parse(version) { return true }
            return false
        }

        func isIncluded(by condition: Condition) throws(SeccompError) -> Bool {
            if let arches = condition.arches, !arches.isEmpty, !arches.contains(architecture) { return false }
            if let caps = condition.caps, !caps.allSatisfy({ capabilities.contains($0) }) { return false }
            if let version = condition.minKernel, try kernel < parse(version) { return false }
            return true
        }

        private func parse(_ text: String) throws(SeccompError) -> KernelVersion {
            guard let version = KernelVersion(text) else {
                throw SeccompError("the seccomp profile's minKernel \"\(text)\" is not a version such as 4.8")
            }
            return version
        }
    }
}
