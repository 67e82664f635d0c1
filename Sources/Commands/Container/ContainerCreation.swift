import EngineAPI
import Glibc
import OCI

/// Makes a container for `run` and `create`: pulls a missing image, shows warnings, writes the id's file.
struct ContainerCreation {
    static let pull = Flag.string(
        "pull", "Pull image before running (\"always\", \"missing\", \"never\")", initially: "missing"
    ).completed(by: .words(["always", "missing", "never"]))
    static let quiet = Flag.toggle("quiet", short: "q", "Suppress the pull output")
    static let platform = Flag.string("platform", "Set platform if server is multi-platform capable")
    static let contentTrust = Flag.toggle("disable-content-trust", "Skip image verification", initially: true).hidden
    static let options = [pull.option, quiet.option, platform.option, contentTrust.option]

    let engine: EngineClient
    let arguments: ParsedArguments

    /// - Returns: the new container's id.
    func create(_ request: ContainerCreateRequest) throws -> String {
        let cidfile = try IDFile(request.hostConfig?.containerIDFile ?? "")
        let image = request.config.image
        let reference: ImageReference?
        do {
            reference = Digest(hex: image) == nil ? try ImageReference(parsing: image).withDefaultTag : nil
        } catch {
            cidfile.discard()
            throw CommandFailure("\(error)")
        }
        do {
            if arguments[Self.pull] == "always" { try pull(image) }
            let body = try JSON.encode(request)
            let answer: OrderedJSON
            do {
                answer = try send(body)
            } catch let error as DaemonError where isMissingImage(error) && arguments[Self.pull] == "missing" {
                guard let reference else { throw error }
                // Nothing but the container's id goes to standard output.
                if !arguments[Self.quiet] { complain("Unable to find image '\(reference.familiar)' locally") }
                try pull(image)
                answer = try send(body)
            }
            for warning in answer["Warnings"].elements { complain("WARNING: \(warning.string ?? "")") }
            let id = answer["Id"].string ?? ""
            try cidfile.write(id)
            return id
        } catch {
            cidfile.discard()
            throw error
        }
    }

    private func isMissingImage(_ error: DaemonError) -> Bool {
        error.isNotFound && error.message.lowercased().contains("no such image")
    }

    private func send(_ body: [UInt8]) throws -> OrderedJSON {
        let platform = arguments[Self.platform]
        let name = arguments[ContainerFlags.name]
        return try engine.json(
            .POST, "/containers/create",
            ["name": name.isEmpty ? nil : name, "platform": platform.isEmpty ? nil : platform], body: body)
    }

    private func pull(_ image: String) throws {
        let progress = PullProgress(descriptor: arguments[Self.quiet] ? nil : STDERR_FILENO)
        try PullCommand.pull(image, platform: arguments[Self.platform], engine, progress)
    }

    static func checkPullPolicy(_ arguments: ParsedArguments) throws(CommandFailure) {
        let policy = arguments[pull]
        if !["always", "missing", "never", ""].contains(policy) {
            throw CommandFailure(
                "invalid pull option: '\(policy)': must be one of \"always\", \"missing\" or \"never\"")
        }
    }
}

/// The file that `--cidfile` names: made before the container, gone again if there is none in the end.
private struct IDFile {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws(CommandFailure) {
        self.path = path
        if path.isEmpty {
            descriptor = -1
            return
        }
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        if descriptor < 0 && errno == EEXIST {
            throw CommandFailure(
                "container ID file found, make sure the other container isn't running or delete \(path)")
        }
        if descriptor < 0 { throw CommandFailure("failed to create the container ID file: \(goReason(errno))") }
    }

    func write(_ id: String) throws(CommandFailure) {
        if descriptor < 0 { return }
        defer { close(descriptor) }
        if !Array(id.utf8).withUnsafeBytes({ writeAll($0, to: descriptor) }) {
            throw CommandFailure("failed to write the container ID to \(path): \(goReason(errno))")
        }
    }

    func discard() {
        if descriptor >= 0 { unlink(path) }
    }
}
