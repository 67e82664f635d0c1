import Glibc
import LinuxKernel
import MonitorProtocol

/// Makes something in namespaces that the runtime itself stays out of: a child goes there and sends a descriptor back.
enum ChildMaker {
    /// - Parameters:
    ///   - namespaces: what the child is cloned into.
    ///   - make: runs in the child.
    static func make(
        _ namespaces: NamespaceSet, _ make: () throws(StartFailure) -> FileDescriptor
    ) throws(StartFailure) -> FileDescriptor {
        let pair = try SetupListener.pair()
        let side = try at("clone", "cannot make a helper process") { () throws(SystemError) in
            try Process.clone(namespaces)
        }
        switch consume side {
        case .child:
            let channel = SetupChannel(descriptor: pair.child.raw)
            do throws(StartFailure) {
                channel.send(.made, passing: try make().release())
                _exit(0)
            } catch {
                channel.fail(error)
            }
        case .parent(_, let pidfd):
            defer { _ = try? Process.wait(pidfd: pidfd.raw) }
            return try pair.takeListener().made()
        }
    }
}
