import ContainerLog
import EngineAPI
import Glibc
import LinuxKernel

/// Log drivers and their options: dockerd's rules and sentences.
///
/// `journald` and `syslog` keep a file beside what they send, as dockerd's do, so that `logs` can be read with every
/// driver but `none`.
enum LogDrivers {
    /// What `info` lists.
    static let names = ["journald", "json-file", "local", "syslog"]

    private static let common: Set<String> = [
        "mode", "max-buffer-size", "labels", "labels-regex", "env", "env-regex", "tag",
    ]
    private static let file: Set<String> = ["max-size", "max-file", "compress"]
    private static let cache: Set<String> = ["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"]

    /// How the log is kept; nil for the driver `none`.
    static func settle(_ log: LogConfig) throws(EngineError) -> ContainerRecord.StoredLog? {
        let options = log.config ?? [:]
        var known = common
        var stored = ContainerRecord.StoredLog(format: "cri", maxSize: 20 << 20, maxFiles: 5)
        switch log.type {
        case "none": return nil
        case "local": known.formUnion(file)
        case "json-file":
            known.formUnion(file)
            // dockerd's json-file is unbounded by default; here everything has a bound, as it is for `local`.
            stored.format = "json"
        case "journald": known.formUnion(cache)
        case "syslog":
            known.formUnion(cache)
            known.formUnion(["syslog-address", "syslog-facility", "syslog-format"])
            try SyslogOptions.check(options)
        case let other:
            throw .invalid("error looking up logging plugin \(other): plugin \"\(other)\" not found")
        }
        if let unknown = options.keys.sorted().first(where: { !known.contains($0) }) {
            throw .invalid("unknown log opt '\(unknown)' for \(log.type) log driver")
        }
        try checkMode(options)
        try checkAttributes(options)
        for name in ["max-size", "cache-max-size"] {
            guard let value = options[name] else { continue }
            guard let size = ByteSize.parse(value), size > 0 || value == "-1" else {
                throw .invalid("invalid value for \(name): \(value): use a number with k, m or g")
            }
            stored.maxSize = max(size, 0)
        }
        for name in ["max-file", "cache-max-file"] {
            guard let value = options[name] else { continue }
            guard let count = Int(value), (1...1000).contains(count) else {
                throw .invalid("invalid value for \(name): \(value): it is a number from 1 to 1000")
            }
            stored.maxFiles = count
        }
        for name in ["compress", "cache-compress"] where try boolean(options[name], name) {
            guard stored.maxFiles > 1 else {
                throw .invalid("\(name) cannot be true when max-file is less than 2: nothing would be compressed")
            }
        }
        return stored
    }

    /// What of the options has no effect here.
    static func warnings(_ log: LogConfig) -> [String] {
        ["compress", "cache-compress"].filter { (try? boolean(log.config?[$0], $0)) == true }.map {
            "The log option \($0) has no effect: rotated log files are kept as they are, at most max-file times max-size."
        }
    }

    /// As Go reads one; absent is false.
    private static func boolean(_ text: String?, _ name: String) throws(EngineError) -> Bool {
        guard let text else { return false }
        if ["1", "t", "T", "true", "TRUE", "True"].contains(text) { return true }
        if ["0", "f", "F", "false", "FALSE", "False"].contains(text) { return false }
        throw .invalid("invalid value for \(name): \(text): it is true or false")
    }

    private static func checkMode(_ options: [String: String]) throws(EngineError) {
        let mode = options["mode"] ?? ""
        guard ["", "blocking", "non-blocking"].contains(mode) else {
            throw .invalid("logger: logging mode not supported: \(mode)")
        }
        guard let size = options["max-buffer-size"] else { return }
        guard mode == "non-blocking" else {
            throw .invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        }
        guard ByteSize.parse(size) != nil else {
            throw .invalid("error parsing option max-buffer-size: invalid size: '\(size)'")
        }
    }

    private static func checkAttributes(_ options: [String: String]) throws(EngineError) {
        for name in ["labels-regex", "env-regex"] {
            guard let pattern = options[name] else { continue }
            if (try? Regex(pattern)) == nil {
                throw .invalid("the log option \(name) is no regular expression: \(pattern)")
            }
        }
        if let tag = options["tag"] { _ = try LogTag.text(tag) { _ in "" } }
    }

    /// Whether the log can be read back.
    static func isReadable(_ log: LogConfig) -> Bool { log.config?["cache-disabled"] != "true" }

    /// What goes with every line: the labels and variables that the options name, and the tag where one was asked for.
    static func attributes(_ record: ContainerRecord) -> [String: String] {
        let options = record.hostConfig.logConfig.config ?? [:]
        let variables = (record.config.env ?? []).map { entry in
            let parts = entry.split(byte: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            return (parts[0], parts.count == 2 ? parts[1] : "")
        }
        let labels = chosen(Array(record.config.labels ?? [:]), by: options["labels"], options["labels-regex"])
        let environment = chosen(variables, by: options["env"], options["env-regex"])
        var result = labels.merging(environment) { $1 }
        if let tag = options["tag"], !tag.isEmpty { result["tag"] = (try? LogTag.text(tag, of: record)) ?? tag }
        return result
    }

    private static func chosen(
        _ pairs: [(key: String, value: String)], by list: String?, _ pattern: String?
    ) -> [String: String] {
        let names = Set((list ?? "").split(byte: ",").map(String.init))
        let regex = pattern.flatMap { try? Regex($0) }
        let kept = pairs.filter { pair in
            names.contains(pair.key) || regex.map { pair.key.contains($0) } ?? false
        }
        return Dictionary(kept) { $1 }
    }

    /// Where the log is sent beside its file.
    ///
    /// - Throws: where nothing listens on this host, which only the start can know.
    static func destination(
        _ record: ContainerRecord, hostname: String, journal socket: String
    ) throws(EngineError) -> LogDestination? {
        let log = record.hostConfig.logConfig
        let options = log.config ?? [:]
        let tag = try LogTag.text(options["tag"].flatMap { $0.isEmpty ? nil : $0 } ?? "{{.ID}}", of: record)
        switch log.type {
        case "journald":
            guard Files.exists(socket) else {
                throw unavailable("journald is not enabled on this host")
            }
            var fields = [
                "CONTAINER_ID": record.shortID, "CONTAINER_ID_FULL": record.id, "CONTAINER_NAME": record.name,
                "CONTAINER_TAG": tag, "IMAGE_NAME": record.config.image, "SYSLOG_IDENTIFIER": tag,
            ]
            for (name, value) in attributes(record) where name != "tag" { fields[fieldName(name)] = value }
            return .journal(socket: socket, fields: fields)
        case "syslog": return .syslog(try SyslogOptions.destination(options, tag: tag, hostname: hostname))
        default: return nil
        }
    }

    /// A driver that can't be had on this host, which only the start finds out.
    static func unavailable(_ why: String) -> EngineError {
        .internal("failed to create task for container: failed to initialize logging driver: \(why)")
    }

    /// A journal field's name: capitals, digits and underscores, none of these first.
    private static func fieldName(_ name: String) -> String {
        let letters = name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
        return String(letters.drop { $0 == "_" })
    }
}

/// The log option `tag`: text with the names of the container's properties in double braces.
enum LogTag {
    static func text(_ template: String, of record: ContainerRecord) throws(EngineError) -> String {
        try text(template) { name in
            switch name {
            case ".ID": record.shortID
            case ".FullID": record.id
            case ".Name": record.name
            case ".ImageID": String(record.document.imageID.dropFirst(7).prefix(12))
            case ".ImageFullID": record.document.imageID
            case ".ImageName": record.config.image
            case ".DaemonName": "mycontainer"
            case ".Command": ([record.document.path] + record.document.arguments).joined(separator: " ")
            default: nil
            }
        }
    }

    private static let names = [
        ".ID", ".FullID", ".Name", ".ImageID", ".ImageFullID", ".ImageName", ".DaemonName", ".Command",
    ]

    static func text(_ template: String, _ value: (String) -> String?) throws(EngineError) -> String {
        var result = ""
        var rest = template[...]
        while let open = rest.firstRange(of: "{{") {
            result += rest[..<open.lowerBound]
            guard let close = rest[open.upperBound...].firstRange(of: "}}") else {
                throw .invalid("the log tag \(template) has braces that are never closed")
            }
            let name = String(rest[open.upperBound..<close.lowerBound].filter { $0 != " " })
            guard names.contains(name), let value = value(name) else {
                throw .invalid(
                    "the log tag \(template) asks for \(name): there are \(names.joined(separator: ", "))")
            }
            result += value
            rest = rest[close.upperBound...]
        }
        return result + rest
    }
}

/// The options of the log driver `syslog`.
enum SyslogOptions {
    /// RFC 5424, table 1.
    private static let facilities = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    ]
    private static let local = ["/dev/log", "/var/run/syslog", "/var/run/log"]

    static func check(_ options: [String: String]) throws(EngineError) {
        _ = try facility(options["syslog-facility"] ?? "")
        _ = try format(options["syslog-format"] ?? "")
        let (scheme, rest) = try split(options["syslog-address"] ?? "")
        switch scheme {
        case "": break
        case "unix", "unixgram":
            guard Files.exists(rest) else { throw .invalid("stat \(rest): no such file or directory") }
        case "udp", "tcp": _ = try port(rest)
        case "tcp+tls":
            throw .invalid(
                "syslog over tcp+tls is not supported: use tcp, udp, unix or unixgram, or a relay that encrypts")
        default: throw .invalid("unsupported scheme: '\(scheme)'")
        }
    }

    static func destination(
        _ options: [String: String], tag: String, hostname: String
    ) throws(EngineError) -> LogDestination.Syslog {
        let (scheme, rest) = try split(options["syslog-address"] ?? "")
        let address: LogAddress
        switch scheme {
        case "unix": address = .unixStream(rest)
        case "unixgram": address = .unixDatagram(rest)
        case "udp", "tcp":
            let (host, port) = try port(rest)
            let numeric = try resolve(host)
            address = scheme == "udp" ? .udp(numeric, port: port) : .tcp(numeric, port: port)
        default:
            guard let socket = local.first(where: Files.exists) else {
                throw LogDrivers.unavailable("Unix syslog delivery error")
            }
            address = .unixDatagram(socket)
        }
        return LogDestination.Syslog(
            address: address, format: try format(options["syslog-format"] ?? ""),
            facility: try facility(options["syslog-facility"] ?? ""), tag: tag, hostname: hostname)
    }

    private static func facility(_ text: String) throws(EngineError) -> Int {
        if text.isEmpty { return 3 }
        if let number = Int(text), (0...23).contains(number) { return number }
        if let index = facilities.firstIndex(of: text) { return index }
        if text.hasPrefix("local"), let number = Int(text.dropFirst(5)), (0...7).contains(number) { return 16 + number }
        throw .invalid("invalid syslog facility")
    }

    private static func format(_ text: String) throws(EngineError) -> LogDestination.Syslog.Format {
        if text.isEmpty { return .local }
        guard text != "local", let format = LogDestination.Syslog.Format(rawValue: text) else {
            throw .invalid("Invalid syslog format")
        }
        return format
    }

    private static func split(_ address: String) throws(EngineError) -> (scheme: String, rest: String) {
        if address.isEmpty { return ("", "") }
        guard let mark = address.firstRange(of: "://") else {
            throw .invalid("syslog-address should be in form proto://address, got \(address)")
        }
        return (String(address[..<mark.lowerBound]), String(address[mark.upperBound...]))
    }

    /// Host and port; syslog's port is 514.
    private static func port(_ text: String) throws(EngineError) -> (host: String, port: UInt16) {
        var host = text[...]
        var port: UInt16 = 514
        let afterBracket = text.lastIndex(of: "]") ?? text.startIndex
        if let colon = text[afterBracket...].lastIndex(byte: ":") {
            guard let number = UInt16(text[text.utf8.index(after: colon)...]), number > 0 else {
                throw .invalid("invalid port in syslog-address: \(text)")
            }
            port = number
            host = text[..<colon]
        }
        let bare = String(host.filter { $0 != "[" && $0 != "]" })
        if bare.isEmpty { throw .invalid("syslog-address names no host: \(text)") }
        return (bare, port)
    }

    /// The first address of a host, in numbers: whoever sends the log must not look names up.
    private static func resolve(_ host: String) throws(EngineError) -> String {
        var found: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, nil, &found)
        defer { if let found { freeaddrinfo(found) } }
        guard result == 0, let first = found else {
            throw LogDrivers.unavailable("lookup \(host): \(String(cString: gai_strerror(result)))")
        }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        getnameinfo(
            first.pointee.ai_addr, first.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
