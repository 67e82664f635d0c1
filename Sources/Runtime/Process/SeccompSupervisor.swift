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
    private let container: String
    private let bundle: String

    var answersItself: Bool { false }

    init(path: String, metadata: String?, container: String, bundle: String) {
        self.path = path
        self.metadata = metadata ?? ""
        self.container = container
        self.bundle = bundle
    }

    func answer(_ listener: Int32) {}

    func begin(_ listener: Int32, pid: Int32) throws(StartFailure) {
        let context = HookContext(id: container, bundle: bundle, annotations: [:])
        do throws(CommandError) {
            try ConsoleSocket.send(
                listener, to: path,
                payload: Self.document(pid: pid, metadata: metadata, context: context, status: "creating"))
        } catch {
            throw StartFailure(stage: "seccomp", errno: 0, message: "the profile's seccomp agent: \(error.message)")
        }
    }

    /// What is sent beside the listener: the specification's container process state.
    static func document(pid: Int32, metadata: String, context: HookContext, status: String) -> String {
        "{\"ociVersion\":\"\(HookContext.ociVersion)\",\"fds\":[\"seccompFd\"],\"pid\":\(pid),"
            + "\"metadata\":\(JSONText.quote(metadata)),"
            + "\"state\":\(context.document(pid: pid, status: status))}"
    }
}
