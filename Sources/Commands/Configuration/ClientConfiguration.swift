import Glibc

/// What a user has set for every call: docker's `config.json`, in `--config`, `DOCKER_CONFIG` or `~/.docker`.
///
/// Members that this program does not know are kept as they are when the file is written.
struct ClientConfiguration: Sendable {
    /// The folder of `config.json` and of the contexts.
    let directory: String
    private(set) var document: OrderedJSON

    var path: String { directory + "/config.json" }

    /// Reads the file; one that is not there says nothing.
    ///
    /// - Throws: `CommandFailure` for a file that can't be read or is no JSON object.
    init(directory: String) throws(CommandFailure) {
        self.directory = directory
        document = .object(JSONObject())
        let path = directory + "/config.json"
        if access(path, F_OK) != 0 && [ENOENT, ENOTDIR, EACCES].contains(errno) { return }
        let bytes = try readFile(path)
        if bytes.allSatisfy({ [9, 10, 13, 32].contains($0) }) { return }
        do {
            document = try OrderedJSON(parsing: bytes)
        } catch {
            throw CommandFailure("cannot read the configuration \(path): \(error)")
        }
        guard case .object = document else {
            throw CommandFailure("cannot read the configuration \(path): it is no JSON object")
        }
    }

    /// Where the configuration is when `--config` says nothing.
    static var standardDirectory: String {
        if let directory = environment("DOCKER_CONFIG"), !directory.isEmpty { return directory }
        // The user database can't be asked: a static program has no access to all that may hold it.
        return (environment("HOME") ?? (getuid() == 0 ? "/root" : "")) + "/.docker"
    }

    // MARK: What it says

    /// The text of a member such as `psFormat`; empty where there is none.
    func text(_ name: String) -> String { document[name].string ?? "" }

    var detachKeys: String { text("detachKeys") }

    /// Header fields that go with every request.
    var headers: [(name: String, value: String)] {
        document["HttpHeaders"].members.compactMap { name, value in
            // The agent is this program whatever the file says, as with docker.
            guard let value = value.string, name.lowercased() != "user-agent" else { return nil }
            return (name, value)
        }
    }

    /// Filters that every `prune` has besides its own: `name=value`.
    var pruneFilters: [String] { document["pruneFilters"].elements.compactMap(\.string) }

    /// The variables that containers get for the proxies set for this daemon, or for all where it has none of its own.
    /// What `given` names already stays as it is; both spellings are set, since programs look for either.
    func proxyVariables(host: Host, given: [String]) -> [String] {
        let proxies = document["proxies"]
        let settings = proxies[host.display].isNull ? proxies["default"] : proxies[host.display]
        let names = Set(given.map { cut($0, "=").0 })
        let members = [
            ("httpProxy", "HTTP_PROXY"), ("httpsProxy", "HTTPS_PROXY"), ("noProxy", "NO_PROXY"),
            ("ftpProxy", "FTP_PROXY"), ("allProxy", "ALL_PROXY"),
        ]
        return members.flatMap { member, name -> [String] in
            guard let value = settings[member].string, !value.isEmpty else { return [] }
            return [name, name.lowercased()].filter { !names.contains($0) }.map { "\($0)=\(value)" }
        }
    }

    /// The context that `context use` chose. It is our own setting, kept where docker lets others keep theirs, so that
    /// neither program's choice redirects the other.
    var currentContext: String {
        get { document["plugins"]["mycontainer"]["currentContext"].string ?? "" }
        set {
            set(["plugins", "mycontainer", "currentContext"], newValue.isEmpty ? nil : .string(newValue))
        }
    }

    /// docker's own current context, used only where it is asked for.
    var dockerContext: String { text("currentContext") }

    // MARK: Changing it

    /// Sets the member at `path`, or takes it away; objects that become empty by that go too.
    mutating func set(_ path: [String], _ value: OrderedJSON?) {
        document = Self.changed(document, path[...], value) ?? .object(JSONObject())
    }

    private static func changed(_ value: OrderedJSON, _ path: ArraySlice<String>, _ new: OrderedJSON?) -> OrderedJSON? {
        guard let name = path.first else { return new }
        var members = value.members
        let inner = changed(value[name], path.dropFirst(), new)
        let index = members.firstIndex { $0.key == name }
        switch (index, inner) {
        case (let index?, let inner?): members[index].value = inner
        case (let index?, nil): members.remove(at: index)
        case (nil, let inner?): members.append((key: name, value: inner))
        case (nil, nil): break
        }
        return members.isEmpty ? nil : .object(JSONObject(members.map { ($0.key, $0.value) }))
    }

    /// Writes the file: whole or not at all, readable by its owner alone unless it was readable before.
    func save() throws(CommandFailure) {
        try makeDirectory(directory, mode: 0o700)
        // The file may be a link, to a folder that is kept elsewhere: what it leads to is replaced, not the link.
        let target = resolvedPath(path) ?? path
        var found = stat()
        let mode = stat(target, &found) == 0 ? found.st_mode & 0o777 : 0o600
        try replaceFile(target, Array((document.text(indentation: "\t") + "\n").utf8), mode: mode)
    }
}

/// Makes a directory and those above it.
func makeDirectory(_ path: String, mode: mode_t) throws(CommandFailure) {
    if mkdir(path, mode) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, let slash = path.lastIndex(byte: "/"), slash > path.startIndex else {
        throw CommandFailure("mkdir \(path): \(goReason(errno))")
    }
    try makeDirectory(String(path[..<slash]), mode: mode)
    if mkdir(path, mode) != 0 && errno != EEXIST { throw CommandFailure("mkdir \(path): \(goReason(errno))") }
}

/// Writes a file that appears under its name only when it is complete.
func replaceFile(_ path: String, _ bytes: [UInt8], mode: mode_t) throws(CommandFailure) {
    let partial = "\(path).partial-\(getpid())"
    let descriptor = withPath(partial) { open($0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode) }
    if descriptor < 0 { throw CommandFailure("open \(partial): \(goReason(errno))") }
    let isWritten = bytes.withUnsafeBytes { writeAll($0, to: descriptor) }
    let code = errno
    close(descriptor)
    if isWritten && renamed(partial, to: path) { return }
    let reason = goReason(isWritten ? errno : code)
    _ = withPath(partial) { unlink($0) }
    throw CommandFailure("cannot write \(path): \(reason)")
}

/// Gives a file of the user's another name; false, with `errno` set, where it can't have it.
func renamed(_ path: String, to target: String) -> Bool {
    withPath(path) { path in withPath(target) { rename(path, $0) } } == 0
}

/// Where a path leads to, links followed; nil where there is nothing.
private func resolvedPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
}
