import Glibc
import OCI

/// `save`: write images to an archive.
enum SaveCommand {
    private static let target = Flag.string("output", short: "o", "Write to a file, instead of STDOUT").namingFiles
    private static let platforms = Flag.list(
        "platform", type: "strings",
        "Save only the given platform(s). Formatted as a comma-separated list of "
            + "\"os[/arch[/variant]]\" (e.g., \"linux/amd64,linux/arm64/v8\")")

    static var command: Command {
        Command(
            spellings: ["save", "image save"],
            summary: "Save one or more images to a tar archive (streamed to STDOUT by default)",
            usage: "[OPTIONS] IMAGE [IMAGE...]", options: [target.option, platforms.option], operands: .atLeast(1),
            completion: .images
        ) { invocation in
            let path = invocation[target]
            try refuseTerminal(path, "save")
            try checkTarget(path, "save image")
            let query = ([:] as EngineClient.Query).adding("names", invocation.operands)
                .adding("platform", try HistoryCommand.platformDocuments(invocation[platforms]))
            let answer = try invocation.engine().stream(.GET, "/images/get", query)
            try write(answer, to: path)
            return 0
        }
    }
}

/// `load`: read images from an archive.
enum LoadCommand {
    private static let input = Flag.string("input", short: "i", "Read from tar archive file, instead of STDIN")
        .namingFiles
    private static let quiet = Flag.toggle("quiet", short: "q", "Suppress the load output")
    private static let platforms = Flag.list(
        "platform", type: "strings",
        "Load only the given platform(s). Formatted as a comma-separated list of "
            + "\"os[/arch[/variant]]\" (e.g., \"linux/amd64,linux/arm64/v8\")")

    static var command: Command {
        Command(
            spellings: ["load", "image load"], summary: "Load an image from a tar archive or STDIN", usage: "[OPTIONS]",
            options: [input.option, platforms.option, quiet.option], operands: .none
        ) { invocation in
            let path = invocation[input]
            if path.isEmpty && Terminal.isTerminal(STDIN_FILENO) {
                throw CommandFailure("requested load from stdin, but stdin is empty: give a file with --input")
            }
            let source = try FileSource(path)
            let isQuiet = invocation[quiet] || !Terminal.isTerminal(STDOUT_FILENO)
            let query = (["quiet": isQuiet ? "1" : "0"] as EngineClient.Query)
                .adding("platform", try HistoryCommand.platformDocuments(invocation[platforms]))
            let answer = try invocation.engine().upload(.POST, "/images/load", query) { try source.send($0) }
            let progress = PullProgress(descriptor: STDOUT_FILENO)
            try answer.eachDocument { try progress.show($0) }
            return 0
        }
    }
}

/// `import`: make an image of a file system's archive.
enum ImportCommand {
    private static let change = Flag.list("change", short: "c", "Apply Dockerfile instruction to the created image")
    private static let message = Flag.string("message", short: "m", "Set commit message for imported image")

    static var command: Command {
        Command(
            spellings: ["import", "image import"],
            summary: "Import the contents from a tarball to create a filesystem image",
            usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
            options: [change.option, message.option, ContainerCreation.platform.option], operands: .between(1, 2),
            completion: .files, operandsNameFiles: true
        ) { invocation in
            let source = invocation.operands[0]
            if source.hasPrefix("http://") || source.hasPrefix("https://") {
                throw CommandFailure(
                    "cannot import from \(source): the daemon fetches nothing from the network; download the file "
                        + "first and give its name, or '-' to read it from standard input")
            }
            let file = try FileSource(source == "-" ? "" : source)
            let changes = invocation[change]
            let platform = invocation[ContainerCreation.platform]
            let comment = invocation[message]
            let answer = try invocation.engine().upload(
                .POST, "/images/create",
                [
                    "changes": changes.isEmpty ? nil : changes.joined(separator: "\n"), "fromSrc": "-",
                    "message": comment.isEmpty ? nil : comment, "platform": platform.isEmpty ? nil : platform,
                    "repo": invocation.operands.count > 1 ? RawBytes.repaired(invocation.operands[1]) : nil,
                ]
            ) { try file.send($0) }
            let progress = PullProgress(descriptor: STDOUT_FILENO)
            try answer.eachDocument { try progress.show($0) }
            return 0
        }
    }
}

/// `export`: a container's file system as an archive.
enum ExportCommand {
    private static let target = Flag.string("output", short: "o", "Write to a file, instead of STDOUT").namingFiles

    static var command: Command {
        Command(
            spellings: ["export", "container export"], summary: "Export a container's filesystem as a tar archive",
            usage: "[OPTIONS] CONTAINER", options: [target.option], operands: .exactly(1), completion: .containers
        ) { invocation in
            let path = invocation[target]
            try refuseTerminal(path, "export")
            try checkTarget(path, "export container")
            let answer = try invocation.engine().stream(
                .GET, "/containers/\(pathPart(invocation.operands[0]))/export")
            try write(answer, to: path)
            return 0
        }
    }
}

private func refuseTerminal(_ path: String, _ verb: String) throws(CommandFailure) {
    if path.isEmpty && Terminal.isTerminal(STDOUT_FILENO) {
        throw CommandFailure("cowardly refusing to \(verb) to a terminal. Use the -o flag or redirect")
    }
}

/// Refuses, before the daemon is asked for anything, a file that can't be made; the sentences are docker's.
private func checkTarget(_ path: String, _ task: String) throws(CommandFailure) {
    if path.isEmpty { return }
    func refusal(_ reason: String) -> CommandFailure { CommandFailure("failed to \(task): \(reason)") }
    var status = stat()
    let slash = path.lastIndex(byte: "/")
    let directory = slash.map { cleanPath(String(path[...$0])) } ?? "."
    let isThere = withPath(directory) { stat($0, &status) } == 0
    if !isThere || status.st_mode & S_IFMT != S_IFDIR {
        throw refusal("invalid output path: stat \(directory): \(goReason(isThere ? ENOTDIR : errno))")
    }
    guard withPath(path, { lstat($0, &status) }) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR { throw refusal("cannot write to a directory") }
    // What is written takes the name's place. A link to a device or a pipe is followed instead.
    if status.st_mode & S_IFMT == S_IFLNK, isReplaced(path) {
        throw refusal("cannot write to a symbolic link directly")
    }
}

/// Whether a file is written beside it and takes its name; a device or a pipe is written to as it is.
private func isReplaced(_ path: String) -> Bool {
    var status = stat()
    return withPath(path) { stat($0, &status) } != 0 || status.st_mode & S_IFMT == S_IFREG
}

/// Writes an answer to standard output, or to a file that appears under its name only when it is complete.
private func write(_ answer: Answer, to path: String) throws {
    if path.isEmpty {
        while let piece = try answer.next() {
            let isWritten = piece.withUnsafeBytes { writeAll($0, to: STDOUT_FILENO) }
            if !isWritten { throw CommandFailure("cannot write to standard output: \(goReason(errno))") }
        }
        return
    }
    let isPlain = isReplaced(path)
    let partial = isPlain ? "\(path).partial-\(getpid())" : path
    let descriptor = withPath(partial) { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600) }
    if descriptor < 0 { throw CommandFailure("cannot write \(path): \(goReason(errno))") }
    defer { close(descriptor) }
    do {
        while let piece = try answer.next() {
            let isWritten = piece.withUnsafeBytes { writeAll($0, to: descriptor) }
            if !isWritten { throw CommandFailure("cannot write \(path): \(goReason(errno))") }
        }
        if isPlain && !renamed(partial, to: path) { throw CommandFailure("cannot write \(path): \(goReason(errno))") }
    } catch {
        if isPlain { _ = withPath(partial) { unlink($0) } }
        throw error
    }
}

/// A file, or standard input where the path is empty, read in pieces.
final class FileSource {
    private let descriptor: Int32
    private let path: String

    init(_ path: String) throws(CommandFailure) {
        self.path = path.isEmpty ? "standard input" : path
        descriptor = path.isEmpty ? dup(STDIN_FILENO) : withPath(path) { open($0, O_RDONLY | O_CLOEXEC) }
        if descriptor < 0 { throw CommandFailure("open \(path): \(goReason(errno))") }
    }

    /// Hands everything on, piece by piece.
    func send(_ send: ([UInt8]) throws -> Void) throws {
        while let piece = try next() { try send(piece) }
    }

    private func next() throws(CommandFailure) -> [UInt8]? {
        let descriptor = descriptor
        var code: Int32 = 0
        let piece = [UInt8](unsafeUninitializedCapacity: 1 << 17) { buffer, count in
            var result = read(descriptor, buffer.baseAddress, buffer.count)
            while result < 0 && errno == EINTR { result = read(descriptor, buffer.baseAddress, buffer.count) }
            code = result < 0 ? errno : 0
            count = max(0, result)
        }
        if code != 0 { throw CommandFailure("read \(path): \(goReason(code))") }
        return piece.isEmpty ? nil : piece
    }

    deinit { close(descriptor) }
}
