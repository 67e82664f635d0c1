import EngineAPI
import LinuxKernel
import MonitorProtocol
import OCI

/// The compiled seccomp filter of a container.
struct SeccompPrograms: Sendable {
    private let cache: SeccompCache
    /// The daemon's own default profile: nil is the built-in one.
    private let profile: String?

    init(cache: SeccompCache, profile: String?) {
        self.cache = cache
        self.profile = profile
    }

    /// nil: the container runs without a filter.
    /// - Parameter auditPath: where an audit's report goes, where one was asked for.
    func program(
        _ security: SecurityOptions, capabilities: [String], privileged: Bool, auditPath: String
    ) throws(EngineError) -> LaunchDocument.SeccompProgram? {
        let text: String?
        switch security.seccomp {
        case .unconfined: return nil
        case .standard:
            // An audit of what no filter would hold back asks what the default one would.
            if security.seccompAudit {
                text = profile == "unconfined" ? nil : profile
                break
            }
            if privileged || profile == "unconfined" { return nil }
            text = profile
        case .profile(let own): text = own
        }
        do {
            let entry: SeccompCache.Entry
            var agent: (path: String, metadata: String?)?
            if let text {
                let file: SeccompProfileFile = try JSON.decode(from: text)
                guard let policy = try file.resolve(capabilities: Set(capabilities)) else { return nil }
                agent = try Self.agent(of: policy)
                entry = try cache.filter(for: policy)
            } else {
                entry = try cache.defaultFilter(capabilities: capabilities)
            }
            var program = LaunchDocument.SeccompProgram(
                path: entry.path, flags: entry.flags, listenerPath: agent?.path, listenerMetadata: agent?.metadata)
            if security.seccompAudit { program.auditPath = auditPath }
            return program
        } catch let error as JSONError {
            throw .invalid("Decoding seccomp profile failed: \(error)")
        } catch let error as SeccompError {
            throw .invalid("seccomp: \(error.message)")
        } catch {
            throw .internal("seccomp: \(error)")
        }
    }

    /// A policy that notifies has to say whom.
    private static func agent(of policy: RuntimeSpec.Seccomp) throws(SeccompError) -> (path: String, metadata: String?)?
    {
        guard policy.syscalls?.contains(where: { $0.action == "SCMP_ACT_NOTIFY" }) ?? false else { return nil }
        guard let path = policy.listenerPath, path.hasPrefix(bytes: "/") else {
            throw SeccompError(
                "the profile has SCMP_ACT_NOTIFY but no listenerPath, the absolute path of its agent's socket")
        }
        return (path, policy.listenerMetadata)
    }
}
