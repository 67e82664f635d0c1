import EngineAPI
import Glibc

/// Splits one line of comma-separated values, in which a field in double quotes may hold commas (RFC 4180).
func csvFields(_ line: String) throws(InvalidValue) -> [String] {
    var fields: [String] = []
    var field = ""
    var inQuotes = false
    var rest = line[...]
    while let character = rest.popFirst() {
        switch character {
        case "\"" where inQuotes:
            if rest.first == "\"" {
                rest = rest.dropFirst()
                field.append("\"")
            } else {
                inQuotes = false
                if let next = rest.first, next != "," {
                    throw InvalidValue("parse error: extraneous or missing \" in quoted-field")
                }
            }
        case "\"":
            if !field.isEmpty { throw InvalidValue("parse error: bare \" in non-quoted-field") }
            inQuotes = true
        case "," where !inQuotes:
            fields.append(field)
            field = ""
        default: field.append(character)
        }
    }
    if inQuotes { throw InvalidValue("parse error: extraneous or missing \" in quoted-field") }
    return fields + [field]
}

/// Reads `--mount type=bind,source=…,target=…,…`.
func parseMount(_ word: String) throws(InvalidValue) -> Mount {
    let word = trimmed(word)
    if word.isEmpty { throw InvalidValue("value is empty") }
    var mount = Mount()
    mount.type = "volume"
    for field in try csvFields(word) {
        let (name, value) = cut(field, "=")
        if trimmed(name) != name {
            throw InvalidValue("invalid option '\(trimmed(name))' in '\(field)': option should not have whitespace")
        }
        let key = name.lowercased()
        if let value {
            if trimmed(value).isEmpty { throw InvalidValue("invalid value for '\(name)': value is empty") }
            if trimmed(value) != value {
                throw InvalidValue("invalid value for '\(name)' in '\(field)': value should not have whitespace")
            }
        } else if !["readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src", "idmap"].contains(key) {
            throw InvalidValue("invalid field '\(field)' must be a key=value pair")
        }
        try apply(key, value, field, to: &mount)
    }
    try validate(mount)
    return mount
}

private func apply(_ key: String, _ value: String?, _ field: String, to mount: inout Mount) throws(InvalidValue) {
    let text = value ?? ""
    switch key {
    case "type": mount.type = text.lowercased()
    case "source", "src": mount.source = text.hasPrefix(".") ? try pathForDaemon(text) : text
    case "target", "dst", "destination": mount.target = text
    case "readonly", "ro": mount.readOnly = try boolean(key, value)
    case "consistency": mount.consistency = text.lowercased()
    case "bind-propagation": set(&mount.bindOptions) { $0.propagation = text.lowercased() }
    case "bind-nonrecursive":
        throw InvalidValue("bind-nonrecursive is deprecated, use bind-recursive=disabled instead")
    case "bind-recursive":
        switch text {
        case "enabled": break
        case "disabled": set(&mount.bindOptions) { $0.nonRecursive = true }
        case "writable": set(&mount.bindOptions) { $0.readOnlyNonRecursive = true }
        case "readonly": set(&mount.bindOptions) { $0.readOnlyForceRecursive = true }
        default:
            throw InvalidValue(
                "invalid value for \(key): \(text) (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")")
        }
    case "bind-create-src":
        let flag = try boolean(key, value)
        set(&mount.bindOptions) { $0.createMountpoint = flag }
    case "idmap":
        let flag = try boolean(key, value)
        set(&mount.bindOptions) { $0.mapsOwners = flag }
    case "volume-subpath": set(&mount.volumeOptions) { $0.subpath = text }
    case "volume-nocopy":
        let flag = try boolean(key, value)
        set(&mount.volumeOptions) { $0.noCopy = flag }
    case "volume-label":
        set(&mount.volumeOptions) { $0.labels = ($0.labels ?? [:]).merging(dictionary([text])) { $1 } }
    case "volume-driver":
        set(&mount.volumeOptions) { options in set(&options.driverConfig) { $0.name = text } }
    case "volume-opt":
        set(&mount.volumeOptions) { options in
            set(&options.driverConfig) { $0.options = ($0.options ?? [:]).merging(dictionary([text])) { $1 } }
        }
    case "image-subpath": set(&mount.imageOptions) { $0.subpath = text }
    case "tmpfs-size":
        guard let size = try? parseBytes(text) else { throw InvalidValue("invalid value for \(key): \(text)") }
        set(&mount.tmpfsOptions) { $0.sizeBytes = size }
    case "tmpfs-mode":
        guard let mode = UInt32(text, radix: 8) else { throw InvalidValue("invalid value for \(key): \(text)") }
        set(&mount.tmpfsOptions) { $0.mode = mode }
    default: throw InvalidValue("unknown option '\(key)' in '\(field)'")
    }
}

private func validate(_ mount: Mount) throws(InvalidValue) {
    for (present, prefix) in [
        (mount.bindOptions != nil, "bind"), (mount.volumeOptions != nil, "volume"),
        (mount.imageOptions != nil, "image"), (mount.tmpfsOptions != nil, "tmpfs"),
    ] where present && mount.type != prefix {
        throw InvalidValue("cannot mix '\(prefix)-*' options with mount type '\(mount.type)'")
    }
    if mount.type.isEmpty { throw InvalidValue("type is required") }
    if mount.target.isEmpty { throw InvalidValue("target is required") }
    guard let bind = mount.bindOptions else { return }
    for (isSet, name) in [(bind.readOnlyNonRecursive, "writable"), (bind.readOnlyForceRecursive, "readonly")]
    where isSet && !mount.readOnly {
        throw InvalidValue("option 'bind-recursive=\(name)' requires 'readonly' to be specified in conjunction")
    }
    if bind.readOnlyForceRecursive && bind.propagation != "rprivate" {
        throw InvalidValue(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
    }
}

private func set<Options: WireObject>(_ options: inout Options?, _ change: (inout Options) -> Void) {
    var value = options ?? Options()
    change(&value)
    options = value
}

private func boolean(_ key: String, _ value: String?) throws(InvalidValue) -> Bool {
    switch value {
    case nil, "1", "true": true
    case "0", "false": false
    case let other?:
        throw InvalidValue(
            "invalid value for '\(key)': invalid boolean value (\(quoted(other))): must be one of \"true\", \"1\", "
                + "\"false\", or \"0\" (default \"true\")")
    }
}

/// Where `--volume` puts something: the path in the container, and what is bound there, if anything.
enum VolumeArgument: Equatable {
    /// A path that gets an anonymous volume.
    case anonymous(String)
    /// `source:target[:options]` for `HostConfig.Binds`, a relative source made absolute.
    case bind(String)

    init(_ word: String) throws(InvalidValue) {
        let parts = word.split(byte: ":", omittingEmptySubsequences: false)
        if word.isEmpty { throw InvalidValue("invalid empty volume spec") }
        if word.utf8.count > 2 && parts.contains("") {
            throw InvalidValue("invalid spec: \(word): empty section between colons")
        }
        if parts.count > 3 { throw InvalidValue("invalid spec: \(word): too many colons") }
        if parts.count == 1 || word.utf8.count <= 2 {
            self = .anonymous(word)
        } else if parts[0].hasPrefix(".") {
            self = .bind(try pathForDaemon(String(parts[0])) + word.dropFirst(parts[0].count))
        } else {
            self = .bind(word)
        }
    }
}

/// A path of the user's, made absolute with the current directory and tidied (`.`, `..`, `//`) without looking at the
/// disk.
func absolutePath(_ path: String) -> String {
    var path = path
    if !path.hasPrefix(bytes: "/") {
        guard let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        path = RawBytes.text(UnsafeRawBufferPointer(start: directory, count: strlen(directory))) + "/" + path
    }
    return cleanPath(path)
}

/// A relative path, made absolute for the daemon.
private func pathForDaemon(_ path: String) throws(InvalidValue) -> String {
    let path = absolutePath(path)
    do {
        try RawBytes.requireText(path)
    } catch {
        throw InvalidValue("invalid path \(path): \(error.reason)")
    }
    return path
}

/// The shortest spelling of a path, as Go's `path.Clean`.
func cleanPath(_ path: String) -> String {
    var parts: [Substring] = []
    let isAbsolute = path.hasPrefix(bytes: "/")
    for part in path.split(byte: "/") where part != "." {
        if part == "..", let last = parts.last, last != ".." {
            parts.removeLast()
        } else if part != ".." || !isAbsolute {
            parts.append(part)
        }
    }
    let text = (isAbsolute ? "/" : "") + parts.joined(separator: "/")
    return text.isEmpty ? "." : text
}
