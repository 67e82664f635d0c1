import LinuxKernel
import MonitorProtocol
import OCI

/// Who answers the system calls that a container's filter asks about. It has to be there before the user's program is
/// executed, which may itself be a call that is asked about.
protocol SeccompSupervisor: AnyObject {
    /// The container has loaded its filter. The listener is lent.
    func begin(_ listener: Int32, pid: Int32) throws(StartFailure)
    /// A call waits. Only for those who answer themselves.
    func answer(_ listener: Int32)
    var answersItself: Bool { get }
}

/// An agent outside, at the socket that a profile's `listenerPath` names (runtime-spec config-linux.md, "Seccomp").
final class SeccompAgent: SeccompSupervisor {
    private let path: String
    private let metadata: String
    private let context: HookContext
    private let status: String

    var answersItself: Bool { false }

    /// - Parameter status: of the container, while the process is being set up.
    init(path: String, metadata: String?, context: HookContext, status: String = "creating") {
        self.path = path
        self.metadata = metadata ?? ""
        self.context = context
        self.status = status
    }

    func answer(_ listener: Int32) {}

    func begin(_ listener: Int32, pid: Int32) throws(StartFailure) {
        do throws(CommandError) {
            try LocalSocket.send(listener, to: path, payload: document(pid: pid))
        } catch {
            throw StartFailure(stage: "seccomp", errno: 0, message: "the profile's seccomp agent: \(error.message)")
        }
    }

    /// What is sent beside the listener: the specification's container process state.
    private func document(pid: Int32) -> String {
        var json = JSONWriter()
        json.object { json in
            json.name("ociVersion")
            json.string(HookContext.ociVersion)
            json.name("fds")
            json.array(["seccompFd"]) { $1.string($0) }
            json.name("pid")
            json.integer(pid)
            json.name("metadata")
            json.string(metadata)
            json.name("state")
            context.write(to: &json, pid: pid, status: status)
        }
        return String(decoding: json.bytes, as: UTF8.self)
    }

    /// Who answers a policy's questions, where it asks any.
    static func named(
        by seccomp: RuntimeSpec.Seccomp?, _ context: HookContext, status: String
    ) -> SeccompAgent? {
        guard let seccomp, let path = seccomp.listenerPath, !path.isEmpty else { return nil }
        return SeccompAgent(path: path, metadata: seccomp.listenerMetadata, context: context, status: status)
    }

    /// A filter that asks somebody needs somebody to ask.
    static func require(_ seccomp: RuntimeSpec.Seccomp?) throws(CommandError) {
        guard let seccomp, seccomp.syscalls?.contains(where: { $0.action == "SCMP_ACT_NOTIFY" }) ?? false,
            (seccomp.listenerPath ?? "").isEmpty
        else { return }
        throw CommandError("the seccomp action SCMP_ACT_NOTIFY needs a listenerPath")
    }
}
