import Glibc
import LinuxKernel
import OCI

/// Where the runtime's messages go: to the log that its caller named (`--log`, which containerd and podman read the
/// reason of a failure from), and to stderr.
struct RuntimeLog: Sendable {
    enum Format: String, Sendable { case text, json }
    enum Level: String, Sendable { case debug, warning, error }

    var path: String?
    var format: Format = .text
    /// Whether steps are logged too (`--debug`).
    var debugging = false

    /// What ended the command: on stderr for people, in the log for programs.
    func error(_ message: String) {
        Diagnostics.say(message)
        record(.error, message)
    }

    func warning(_ message: String) {
        Diagnostics.say("warning: \(message)")
        record(.warning, message)
    }

    /// A step, for `--debug`: on stderr where no log is named.
    func debug(_ message: @autoclosure () -> String) {
        guard debugging else { return }
        if path != nil {
            record(.debug, message())
        } else {
            let line = line(.debug, message())
            _ = write(2, line, line.utf8.count)
        }
    }

    private func record(_ level: Level, _ message: String) {
        guard let path, let file = try? FileDescriptor(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600) else { return }
        let line = line(level, message)
        _ = write(file.raw, line, line.utf8.count)
    }

    private func line(_ level: Level, _ message: String) -> String {
        let time = Clock.rfc3339()
        return switch format {
        case .json:
            "{\"level\":\"\(level.rawValue)\",\"msg\":\(JSONWriter.quoted(message)),\"time\":\"\(time)\"}\n"
        case .text: "time=\"\(time)\" level=\(level.rawValue) msg=\(JSONWriter.quoted(message))\n"
        }
    }
}
