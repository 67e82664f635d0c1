import FoundationEssentials
import Glibc

/// A program `docker-credential-NAME` that keeps credentials, in a desktop's keyring for example. It is called with a
/// verb, gets its question on standard input and answers on standard output (docker-credential-helpers' protocol).
struct CredentialHelper: Sendable {
    let program: String

    /// What helpers say, word for word, where they have nothing.
    private static let notFound = "credentials not found in native keychain"
    /// An answer is a few lines; more is not one.
    private static let limit = 1 << 20

    init(_ name: String) { program = "docker-credential-\(name)" }

    /// - Returns: nil where the helper has no credentials for the server.
    func get(_ server: String) throws(CommandFailure) -> (username: String, secret: String)? {
        let answer = try call("get", server)
        if answer.status != 0 {
            if trimmed(answer.output) == Self.notFound { return nil }
            throw failure("get", answer.output)
        }
        guard let document = try? OrderedJSON(parsing: Array(answer.output.utf8)),
            let username = document["Username"].string, let secret = document["Secret"].string
        else { throw failure("get", "its answer is not what was asked for") }
        return (username, secret)
    }

    func store(_ server: String, username: String, secret: String) throws(CommandFailure) {
        let document = OrderedJSON.object(
            JSONObject([
                ("ServerURL", .string(server)), ("Username", .string(username)), ("Secret", .string(secret)),
            ]))
        let answer = try call("store", document.text)
        if answer.status != 0 { throw failure("store", answer.output) }
    }

    /// - Returns: false where there was nothing to erase.
    func erase(_ server: String) throws(CommandFailure) -> Bool {
        let answer = try call("erase", server)
        if answer.status != 0 && trimmed(answer.output) != Self.notFound { throw failure("erase", answer.output) }
        return answer.status == 0
    }

    /// The servers that the helper has credentials for.
    func list() throws(CommandFailure) -> [String] {
        let answer = try call("list", "")
        guard answer.status == 0, let document = try? OrderedJSON(parsing: Array(answer.output.utf8)) else {
            throw failure("list", answer.output)
        }
        return document.members.map(\.key)
    }

    private func failure(_ verb: String, _ reason: String) -> CommandFailure {
        CommandFailure("the credential helper \(program) failed to \(verb) credentials: \(trimmed(reason))")
    }

    private func call(_ verb: String, _ question: String) throws(CommandFailure) -> (status: Int32, output: String) {
        var input: [Int32] = [-1, -1]
        var output: [Int32] = [-1, -1]
        guard pipe(&input) == 0, pipe(&output) == 0 else { throw failure(verb, goReason(errno)) }
        // pipe2(2) is not visible from Swift; there is one thread, so nothing is spawned in between.
        for descriptor in input + output { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input[0], 0)
        posix_spawn_file_actions_adddup2(&actions, output[1], 1)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // This program ignores SIGPIPE; the helper must not inherit that.
        var broken = sigset_t()
        sigemptyset(&broken)
        sigaddset(&broken, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &broken)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup(verb), nil]
        var variables: [UnsafeMutablePointer<CChar>?] = ProcessInfo.processInfo.environment.map { name, value in
            strdup("\(name)=\(value)")
        }
        variables.append(nil)
        defer { (arguments + variables).forEach { free($0) } }
        var child = pid_t()
        let result = posix_spawnp(&child, program, &actions, &attributes, &arguments, &variables)
        close(input[0])
        close(output[1])
        defer { close(output[0]) }
        if result != 0 {
            close(input[1])
            throw failure(verb, result == ENOENT ? "there is no such program in PATH" : goReason(result))
        }
        // A question is far smaller than a pipe takes at once.
        _ = Array(question.utf8).withUnsafeBytes { writeAll($0, to: input[1]) }
        close(input[1])
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= Self.limit {
            let count = read(output[0], &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        if bytes.count > Self.limit { kill(child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        return (code, String(decoding: bytes, as: UTF8.self))
    }
}
