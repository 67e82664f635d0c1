import LinuxKernel
import Synchronization

/// The directories that every container has, made before it is known whose they are: `upper`, `work` and `logs` in one
/// that lies among the deleted ones, so that a daemon that starts throws away what nobody took.
final class StagedDirectories: Sendable {
    private let place: String
    private let ready = Mutex<String?>(nil)

    /// - Parameter place: where they lie until they are renamed.
    init(in place: String) {
        self.place = place
    }

    /// Makes the one that will be taken next.
    func prepare() {
        if ready.withLock({ $0 != nil }) { return }
        // What fails here fails again for whoever needs it.
        guard let made = try? make() else { return }
        let isLeft = ready.withLock { ready in
            if ready != nil { return true }
            ready = made
            return false
        }
        if isLeft { try? TreeRemoval.remove(made) }
    }

    /// One that is ready, or a new one: the caller's, to rename or to remove.
    func take() throws(SystemError) -> String {
        if let ready = ready.withLock({ $0.take() }) { return ready }
        return try make()
    }

    private func make() throws(SystemError) -> String {
        let directory = "\(place)/new-\(Identifier.random())"
        do throws(SystemError) {
            try Files.makeDirectory(directory, mode: 0o710)
            // Its mode and owner become those of the container's root directory.
            try Files.makeDirectory(directory + "/upper", mode: 0o755)
            try Files.makeDirectory(directory + "/work", mode: 0o700)
            try Files.makeDirectory(directory + "/logs", mode: 0o700)
            return directory
        } catch {
            try? TreeRemoval.remove(directory)
            throw error
        }
    }
}
