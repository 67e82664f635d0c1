/// One mount that a container asks for, from `-v`, `--mount`, `--tmpfs`, the image's volumes or `--volumes-from`:
/// parsed, not yet looked at on the host.
struct MountRequest: Sendable, Equatable {
    enum Kind: String, Sendable { case bind, volume, tmpfs }

    var kind: Kind
    /// Host path of a bind; name of a volume, empty for an anonymous one.
    var source: String
    /// Absolute and clean.
    var destination: String
    var readOnly = false
    /// `rprivate`, `shared` …; empty takes the default of the kind.
    var propagation = ""
    /// What stood behind the second colon of `-v`.
    var mode = ""
    /// Whether a new volume takes over what the image has at the destination.
    var copiesImageContent = true
    /// Whether a missing bind source is made (`-v` does, `--mount` doesn't).
    var createsSource = false
    /// Bind only this mount, not those below it.
    var nonRecursive = false
    /// Whether mounts below a read-only one stay writable.
    var readOnlyNonRecursive = false
    /// Whether it is an error if mounts below can't be made read-only.
    var readOnlyForceRecursive = false
    /// Directory inside the volume that is mounted.
    var subpath = ""
    var volumeDriver = ""
    var volumeOptions: [String: String] = [:]
    var volumeLabels: [String: String] = [:]
    /// bind: files have the container's ids inside and keep their own on disk.
    var mapsOwners = false
    /// What the container's SELinux label becomes on what is mounted.
    var relabeling: Relabeling?
    /// tmpfs: mount options.
    var tmpfsOptions: [String] = []

    /// The values are the mode's and the runtime's words.
    enum Relabeling: String, Sendable, Codable {
        case shared = "z"
        case own = "Z"
    }

    static let propagations: Set<String> = ["private", "rprivate", "shared", "rshared", "slave", "rslave"]

    /// Parses one `-v`/`Binds` entry: `[source:]destination[:mode]`.
    static func parse(bind specification: String) throws(EngineError) -> MountRequest {
        let parts = specification.split(byte: ":", omittingEmptySubsequences: false).map(String.init)
        guard (1...3).contains(parts.count), !parts.contains("") else {
            throw .invalid("invalid volume specification: '\(specification)'")
        }
        if parts.count == 1 {
            return MountRequest(
                kind: .volume, source: "", destination: try cleanDestination(parts[0], in: specification))
        }
        var source = parts[0]
        let destination = try cleanDestination(parts[1], in: specification)
        let isPath = source.hasPrefix(bytes: "/")
        if isPath {
            source = Paths.clean(source)
        } else {
            guard Names.isValid(source) else {
                throw .invalid(
                    "create \(source): \"\(source)\" includes invalid characters for a local volume name, only "
                        + "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
                        + "absolute path")
            }
        }
        var request = MountRequest(kind: isPath ? .bind : .volume, source: source, destination: destination)
        request.createsSource = isPath
        if parts.count == 3 { try request.apply(mode: parts[2], of: specification) }
        if !isPath, request.mode.isEmpty { request.mode = "z" }
        return request
    }

    private mutating func apply(mode: String, of specification: String) throws(EngineError) {
        self.mode = mode
        var seen: Set<String> = []
        for option in mode.split(byte: ",", omittingEmptySubsequences: false).map(String.init) {
            let group: String
            switch option {
            case "ro", "rw":
                readOnly = option == "ro"
                group = "access"
            case "z", "Z":
                // Means nothing on hosts without SELinux, as in dockerd.
                relabeling = Relabeling(rawValue: option)
                group = "label"
            case "nocopy":
                guard kind == .volume else { throw .invalid("invalid mode: \(mode)") }
                copiesImageContent = false
                group = "copy"
            case "idmap":
                // Volumes are mapped in any case.
                mapsOwners = kind == .bind
                group = "idmap"
            case "cached", "delegated", "consistent", "default":
                group = "consistency"
            case _ where MountRequest.propagations.contains(option):
                guard kind == .bind else { throw .invalid("invalid mode: \(mode)") }
                propagation = option
                group = "propagation"
            default:
                throw .invalid("invalid mode: \(mode)")
            }
            guard seen.insert(group).inserted else { throw .invalid("invalid mode: \(mode)") }
        }
    }

    /// A destination must be absolute and not the root itself.
    static func cleanDestination(_ path: String, in specification: String) throws(EngineError) -> String {
        guard path.hasPrefix(bytes: "/") else {
            throw .invalid(
                "invalid volume specification: '\(specification)': invalid mount config for type \"bind\": invalid "
                    + "mount path: '\(path)' mount path must be absolute")
        }
        let clean = Paths.clean(path)
        guard clean != "/" else {
            throw .invalid(
                "invalid volume specification: '\(specification)': invalid mount config for type \"bind\": invalid "
                    + "specification: destination can't be '/'")
        }
        return clean
    }

    /// A request for a tmpfs from `--tmpfs destination[:options]`.
    static func tmpfs(destination: String, options: String) throws(EngineError) -> MountRequest {
        guard destination.hasPrefix(bytes: "/") else {
            throw .invalid("invalid mount path: '\(destination)' mount path must be absolute")
        }
        let clean = Paths.clean(destination)
        guard clean != "/" else { throw .invalid("invalid specification: destination can't be '/'") }
        var request = MountRequest(kind: .tmpfs, source: "", destination: clean)
        request.tmpfsOptions = try TmpfsOptions.merged(options)
        return request
    }
}

/// Options of a tmpfs mount as `--tmpfs` takes them.
enum TmpfsOptions {
    private static let flags: Set<String> = [
        "defaults", "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync",
        "remount", "mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "bind", "rbind", "unbindable",
        "runbindable", "private", "rprivate", "shared", "rshared", "slave", "rslave", "relatime", "norelatime",
        "strictatime", "nostrictatime",
    ]
    private static let keys: Set<String> = ["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"]
    private static let opposite = [
        "rw": "ro", "ro": "rw", "suid": "nosuid", "nosuid": "suid", "dev": "nodev", "nodev": "dev", "exec": "noexec",
        "noexec": "exec",
    ]

    /// Docker's defaults (`noexec,nosuid,nodev`) with `text`'s options over them. Unknown ones are refused.
    static func merged(_ text: String) throws(EngineError) -> [String] {
        var result = ["noexec", "nosuid", "nodev"]
        for option in text.split(byte: ",").map(String.init) {
            if let equals = option.firstIndex(byte: "=") {
                guard keys.contains(String(option[..<equals])) else {
                    throw .invalid("invalid tmpfs option [\"\(option)\"]")
                }
            } else {
                guard flags.contains(option) else { throw .invalid("invalid tmpfs option [\"\(option)\"]") }
            }
            if let other = opposite[option] { result.removeAll { $0 == other } }
            result.removeAll { $0 == option }
            result.append(option)
        }
        return result
    }
}
