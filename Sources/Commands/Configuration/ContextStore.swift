import Glibc
import LinuxKernel

/// Named daemons, in docker's own format and place, so that both programs share them:
/// `contexts/meta/<sha256 of the name>/meta.json`, and `contexts/tls/…` for the keys of daemons on TCP, which this
/// program keeps and hands on but never uses.
struct ContextStore: Sendable {
    static let defaultName = "default"

    private let root: String
    /// The host of the context `default`.
    private let defaultHost: String

    init(_ configuration: ClientConfiguration, defaultHost: String) {
        root = configuration.directory + "/contexts"
        self.defaultHost = defaultHost
    }

    /// One context's `meta.json`.
    struct Metadata: Sendable, Equatable {
        var document: OrderedJSON

        var name: String { document["Name"].string ?? "" }
        var description: String { document["Metadata"]["Description"].string ?? "" }
        var host: String { document["Endpoints"]["docker"]["Host"].string ?? "" }

        init(document: OrderedJSON) { self.document = document }

        init(name: String, description: String, host: String, skipsVerification: Bool = false) {
            document = .object(
                JSONObject([
                    ("Name", .string(name)),
                    (
                        "Metadata",
                        .object(JSONObject(description.isEmpty ? [] : [("Description", .string(description))]))
                    ), ("Endpoints", .object(JSONObject([("docker", Self.endpoint(host, skipsVerification))]))),
                ]))
        }

        static func endpoint(_ host: String, _ skipsVerification: Bool) -> OrderedJSON {
            .object(
                JSONObject(
                    (host.isEmpty ? [] : [("Host", .string(host))]) + [("SkipTLSVerify", .bool(skipsVerification))]))
        }

        mutating func set(_ name: String, _ value: OrderedJSON) {
            var members = document.members.map { ($0.key, $0.value) }
            if let index = members.firstIndex(where: { $0.0 == name }) {
                members[index].1 = value
            } else {
                members.append((name, value))
            }
            document = .object(JSONObject(members))
        }
    }

    // MARK: Names

    static func validate(_ name: String) throws(CommandFailure) {
        if name.isEmpty { throw CommandFailure("context name cannot be empty") }
        if name == defaultName { throw CommandFailure("\"default\" is a reserved context name") }
        let bytes = Array(name.utf8)
        func isPlain(_ byte: UInt8) -> Bool {
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
        }
        if bytes.count < 2 || !isPlain(bytes[0]) || !bytes.allSatisfy({ isPlain($0) || "_.+-".utf8.contains($0) }) {
            throw CommandFailure(
                "context name \(quoted(name)) is invalid, names are validated against regexp "
                    + "\"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"")
        }
    }

    private func metadataDirectory(_ name: String) -> String { "\(root)/meta/\(sha256(name))" }
    private func keyDirectory(_ name: String) -> String { "\(root)/tls/\(sha256(name))" }

    // MARK: Reading

    func exists(_ name: String) -> Bool {
        name == Self.defaultName || access(metadataDirectory(name) + "/meta.json", F_OK) == 0
    }

    /// - Parameter isListed: whether it is for a list, where the context `default` says what it is.
    func metadata(_ name: String, isListed: Bool = false) throws(CommandFailure) -> Metadata {
        if name == Self.defaultName {
            let description = isListed ? "Current MYCONTAINER_HOST based configuration" : ""
            return Metadata(name: name, description: description, host: defaultHost)
        }
        let path = metadataDirectory(name) + "/meta.json"
        if access(path, F_OK) != 0 {
            throw CommandFailure(
                "context \(quoted(name)): context not found: open \(path): \(goReason(errno))", isAboutObject: true)
        }
        return try read(path)
    }

    private func read(_ path: String) throws(CommandFailure) -> Metadata {
        let bytes = try readFile(path)
        guard let document = try? OrderedJSON(parsing: bytes), case .object = document else {
            throw CommandFailure("parsing \(path): it is no JSON object")
        }
        return Metadata(document: document)
    }

    /// Every context, `default` among them, in the order of their names.
    func all() throws(CommandFailure) -> [Metadata] {
        var found = [try metadata(Self.defaultName, isListed: true)]
        for directory in names(in: "\(root)/meta") {
            let path = "\(root)/meta/\(directory)/meta.json"
            if access(path, F_OK) == 0 { found.append(try read(path)) }
        }
        return found.sorted { $0.name < $1.name }
    }

    /// The files of keys of each endpoint.
    func keyFiles(_ name: String) -> [(endpoint: String, files: [String])] {
        if name == Self.defaultName { return [] }
        return names(in: keyDirectory(name)).map { ($0, names(in: "\(keyDirectory(name))/\($0)")) }
    }

    /// Where `inspect` says that a context is.
    func storage(_ name: String) -> (metadata: String, keys: String) {
        name == Self.defaultName
            ? ("<IN MEMORY>", "<IN MEMORY>") : (metadataDirectory(name), keyDirectory(name))
    }

    private func names(in directory: String) -> [String] {
        (try? directoryEntries(directory)) ?? []
    }

    // MARK: Writing

    func save(_ metadata: Metadata) throws(CommandFailure) {
        let directory = metadataDirectory(metadata.name)
        try makeDirectory(directory, mode: 0o755)
        try replaceFile(directory + "/meta.json", Array(metadata.document.text.utf8), mode: 0o644)
    }

    func remove(_ name: String) throws(CommandFailure) {
        try removeTree(metadataDirectory(name))
        try removeTree(keyDirectory(name))
    }

    private func removeTree(_ path: String) throws(CommandFailure) {
        do throws(SystemError) {
            try TreeRemoval.remove(path)
        } catch {
            throw CommandFailure("remove \(path): \(goReason(error.errno))")
        }
    }

    // MARK: Archives

    /// What `export` writes: `meta.json`, then `tls/ENDPOINT/FILE`.
    func archive(_ name: String) throws(CommandFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ name: String, _ content: [UInt8]?) {
            var header = TarHeader(name: name, kind: content == nil ? .directory : .file, mode: 0o600)
            if content == nil { header.mode = 0o700 }
            header.size = Int64(content?.count ?? 0)
            bytes += header.blocks + (content ?? []) + TarHeader.padding(header.size)
        }
        add("meta.json", Array(try metadata(name).document.text.utf8))
        add("tls/", nil)
        for (endpoint, files) in keyFiles(name) {
            add("tls/\(endpoint)/", nil)
            for file in files {
                add("tls/\(endpoint)/\(file)", try readFile("\(keyDirectory(name))/\(endpoint)/\(file)"))
            }
        }
        return bytes + [UInt8](repeating: 0, count: 1024)
    }

    /// Makes a context of what `export` wrote. Nothing is written before all of it has been read and found in order.
    func importArchive(_ archive: [UInt8], as name: String) throws(CommandFailure) {
        var metadata: Metadata?
        var keys: [(endpoint: String, file: String, content: [UInt8])] = []
        do {
            var pending: [UInt8]? = archive
            var reader = TarReader {
                defer { pending = nil }
                return pending
            }
            while let header = try reader.nextEntry() {
                guard header.kind == .file else { continue }
                var content: [UInt8] = []
                while let piece = try reader.content() { content += piece }
                let name = String(decoding: header.name, as: UTF8.self)
                let parts = name.split(byte: "/", omittingEmptySubsequences: false).map(String.init)
                if parts == ["meta.json"] {
                    metadata = Metadata(document: try OrderedJSON(parsing: content))
                } else if parts.count == 3, parts[0] == "tls", !parts.contains(where: { ["", ".", ".."].contains($0) })
                {
                    keys.append((parts[1], parts[2], content))
                } else {
                    throw CommandFailure("\(name): unexpected context file")
                }
            }
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw CommandFailure("cannot read the context's archive: \(error)")
        }
        guard var metadata else { throw CommandFailure("invalid context: no metadata found") }
        metadata.set("Name", .string(name))
        try save(metadata)
        for key in keys {
            let directory = "\(keyDirectory(name))/\(key.endpoint)"
            try makeDirectory(directory, mode: 0o700)
            try replaceFile("\(directory)/\(key.file)", key.content, mode: 0o600)
        }
    }
}

/// The names in a directory, sorted.
func directoryEntries(_ path: String) throws(CommandFailure) -> [String] {
    do throws(SystemError) {
        return try FileNames.list(at: path).map { String(decoding: $0, as: UTF8.self) }.sorted()
    } catch {
        throw CommandFailure("open \(path): \(goReason(error.errno))")
    }
}
