import EngineAPI
import LinuxKernel
import MonitorProtocol

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
    func program(
        _ option: SecurityOptions.Seccomp, capabilities: [String], privileged: Bool
    ) throws(EngineError) -> LaunchDocument.SeccompProgram? {
        let text: String?
        switch option {
        case .unconfined: return nil
        case .standard:
            if privileged || profile == "unconfined" { return nil }
            text = profile
        case .profile(let own): text = own
        }
        do {
            let entry: SeccompCache.Entry
            if let text {
                let file: SeccompProfileFile = try JSON.decode(from: text)
                guard let policy = try file.resolve(capabilities: Set(capabilities)) else { return nil }
                entry = try cache.filter(for: policy)
            } else {
                entry = try cache.defaultFilter(capabilities: capabilities)
            }
            return LaunchDocument.SeccompProgram(path: entry.path, flags: entry.flags)
        } catch let error as JSONError {
            throw .invalid("Decoding seccomp profile failed: \(error)")
        } catch let error as SeccompError {
            throw .invalid("seccomp: \(error.message)")
        } catch {
            throw .internal("seccomp: \(error)")
        }
    }
}
