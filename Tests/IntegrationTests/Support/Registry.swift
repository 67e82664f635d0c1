import Glibc

/// A registry directory of a test's own: busybox, and images made for the purpose.
final class ScratchRegistry {
    let path: String

    init() throws {
        var template = Array("/var/tmp/mycontainer-test-registry-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw CommandFailure(description: "mkdtemp: errno \(errno)") }
        path = String(cString: made)
        try host("cp", "-a", TestDaemon.registry + "/busybox", path + "/busybox")
    }

    deinit { _ = try? host("rm", "-rf", path) }

    /// Makes an image from a description in JSON (Tests/Fixtures/make-image says which).
    func make(_ name: String, _ description: String) throws {
        let program = TestDaemon.repository + "/Tests/Fixtures/make-image"
        let environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
        let command = try Command("python3", [program, path, name], environment: environment, standard: .piped)
        try command.write(description)
        command.closeInput()
        let outcome = try command.finish()
        guard outcome.status == 0 else { throw CommandFailure(description: "make-image: \(outcome.error)") }
    }
}
