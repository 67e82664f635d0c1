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
    static let contentTrust = Flag.toggle("disable-content-trust", "Skip image verification", initially: true)
    static let useSocket = Flag.toggle(
        "use-api-socket", "Bind mount the daemon's API socket and the credentials it needs")
    static let options = [pull.option, quiet.option, platform.option, contentTrust.option, useSocket.option]

    let engine: EngineClient
    let invocation: Invocation
    private var arguments: ParsedArguments { invocation.arguments }

    init(engine: EngineClient, invocation: Invocation) {
        self.engine = engine
        self.invocation = invocation
    }

    /// - Returns: the new container's id.
    func create(_ request: ContainerCreateRequest) throws -> String {
        var request = request
        let credentials = try arguments[Self.useSocket] ? shareSocket(&request) : []
        var cidfile = try IDFile(arguments[ContainerFlags.cidfile])
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
            } catch let error as DaemonError where error.isNotFound && arguments[Self.pull] == "missing" {
                guard let reference, Self.isAboutImage(error) else { throw error }
                // Nothing but the container's id goes to standard output.
                if !arguments[Self.quiet] { complain("Unable to find image '\(reference.familiar)' locally") }
                try pull(image)
                answer = try send(body)
            }
            for warning in answer["Warnings"].elements { complain("WARNING: \(warning.string ?? "")") }
            let id = answer["Id"].string ?? ""
            try cidfile.write(id)
            if !credentials.isEmpty { try hand(credentials, to: id) }
            return id
        } catch {
            cidfile.discard()
            throw error
        }
    }

    /// Where a container with `--use-api-socket` finds the user's credentials.
    private static let sharedConfiguration = "/run/secrets/docker"

    /// Mounts the daemon's socket where a docker client in the container looks for it.
    ///
    /// - Returns: the credentials to hand over; none where the container's environment names its own.
    private func shareSocket(_ request: inout ContainerCreateRequest) throws(CommandFailure) -> [Credentials] {
        let socket = Mount {
            $0.type = "bind"
            $0.source = engine.host.path
            $0.target = "/var/run/docker.sock"
            $0.bindOptions = Mount.BindOptions()
        }
        let mounts = (request.hostConfig?.mounts ?? []) + [socket]
        request.hostConfig?.mounts = mounts
        let variables = request.config.env ?? []
        guard let settings = invocation.settings, !variables.contains(where: { $0.hasPrefix("DOCKER_CONFIG=") }) else {
            return []
        }
        let found = try CredentialStore(settings).all()
        if !found.isEmpty { request.config.env = variables + ["DOCKER_CONFIG=\(Self.sharedConfiguration)"] }
        return found
    }

    /// Puts a `config.json` with the credentials into the container.
    private func hand(_ credentials: [Credentials], to id: String) throws {
        let entries = credentials.map { ($0.serverAddress, $0.entry) }
        let document = OrderedJSON.object(JSONObject([("auths", .object(JSONObject(entries)))]))
        let content = Array(document.text(indentation: "\t").utf8)
        let name = String((Self.sharedConfiguration + "/config.json").dropFirst())
        let header = TarHeader(name: name, kind: .file, mode: 0o600, size: Int64(content.count))
        let answer = try engine.upload(.PUT, "/containers/\(id)/archive", ["path": "/"]) { send in
            // The folders above it.
            var path = ""
            for part in Self.sharedConfiguration.split(byte: "/") {
                path += part + "/"
                try send(TarHeader(name: path, kind: .directory, mode: 0o755).blocks)
            }
            try send(header.blocks + content + TarHeader.padding(header.size) + [UInt8](repeating: 0, count: 1024))
        }
        _ = try answer.rest()
    }

    /// Whether the image is missing, wholly or for the platform asked for; a network or a volume may be, too.
    private static func isAboutImage(_ error: DaemonError) -> Bool {
        let message = error.message.lowercased()
        return message.contains("no such image") || message.contains("image with reference")
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
        try PullCommand.pull(
            image, platform: arguments[Self.platform], engine, progress, settings: invocation.settings)
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
    /// -1: none is asked for, or it has been written.
    private var descriptor: Int32

    init(_ path: String) throws(CommandFailure) {
        self.path = path
        if path.isEmpty {
            descriptor = -1
            return
        }
        descriptor = withPath(path) { open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644) }
        if descriptor < 0 && errno == EEXIST {
            throw CommandFailure(
                "container ID file found, make sure the other container isn't running or delete \(path)")
        }
        if descriptor < 0 { throw CommandFailure("failed to create the container ID file: \(goReason(errno))") }
    }

    mutating func write(_ id: String) throws(CommandFailure) {
        if descriptor < 0 { return }
        if !Array(id.utf8).withUnsafeBytes({ writeAll($0, to: descriptor) }) {
            throw CommandFailure("failed to write the container ID to \(path): \(goReason(errno))")
        }
        close(descriptor)
        descriptor = -1
    }

    func discard() {
        if descriptor < 0 { return }
        _ = withPath(path) { unlink($0) }
        close(descriptor)
    }
}
