import Engine
import EngineAPI
import FoundationEssentials
import Glibc

/// A sentence that says why the daemon does not start.
struct StartError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Flags and configuration file in one, with defaults filled in and paths made absolute.
struct Settings: Sendable {
    var dataRoot: String
    var executionRoot: String
    var hosts: [String]
    var registries: [String]
    var pidfile: String
    /// nil: the default group, if there is one.
    var group: String?
    var runtime: String?
    var logLevel: Log.Level
    var liveRestore: Bool
    var initByDefault: Bool
    var labels: [String]
    var logDriver: String
    var logOptions: [String: String]
    var shmSize: Int64
    var seccompProfile: String?
    var userNamespaces: String
    var userNamespaceRange: String?
    var labelsContainers: Bool
    var networks: NetworkDefaults

    static let defaultFile = "/etc/mycontainer/daemon.json"

    /// - Throws: a `StartError` for an unreadable file, a key that is unknown, one that is also given as a flag, and a
    ///   value that makes no sense.
    init(_ options: DaemonOptions) throws {
        let file = try ConfigurationFile(options.configFile ?? Self.defaultFile, required: options.configFile != nil)
        try file.refuseConflicts(with: options)
        dataRoot = absolute(options.dataRoot ?? file.text("data-root") ?? "/var/lib/mycontainer")
        executionRoot = absolute(options.execRoot ?? file.text("exec-root") ?? "/run/mycontainer")
        hosts = options.host.isEmpty ? file.list("hosts") ?? ["unix:///run/mycontainer.sock"] : options.host
        registries = (options.registry.isEmpty ? file.list("registries") ?? [] : options.registry).map(absolute)
        pidfile = absolute(options.pidfile ?? file.text("pidfile") ?? "/run/mycontainer.pid")
        group = options.group ?? file.text("group")
        runtime = (options.runtime ?? file.text("runtime")).map(absolute)
        let level = options.logLevel ?? file.text("log-level") ?? "info"
        guard let level = Log.Level(name: level) else {
            throw StartError("unknown log level \"\(level)\": use debug, info, warn, error or fatal")
        }
        logLevel = options.debug || file.flag("debug") == true ? .debug : level
        liveRestore = options.liveRestore ?? file.flag("live-restore") ?? true
        initByDefault = options.`init` ?? file.flag("init") ?? true
        labels = options.label.isEmpty ? file.list("labels") ?? [] : options.label
        if let label = labels.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) {
            throw StartError("bad attribute format: \(label); a label is key=value")
        }
        logDriver = options.logDriver ?? file.text("log-driver") ?? "local"
        guard ["local", "json-file", "journald", "syslog", "none"].contains(logDriver) else {
            throw StartError(
                "unknown log driver \"\(logDriver)\": there are local, json-file, journald, syslog and none")
        }
        logOptions = file.map("log-opts") ?? [:]
        for option in options.logOpt {
            guard let equals = option.firstIndex(byte: "="), equals != option.startIndex else {
                throw StartError("invalid --log-opt \"\(option)\": it must be key=value")
            }
            logOptions[String(option[..<equals])] = String(option[option.utf8.index(after: equals)...])
        }
        let size = options.defaultShmSize ?? file.text("default-shm-size") ?? "64M"
        guard let bytes = parseSize(size), bytes > 0 else {
            throw StartError(
                "invalid default-shm-size \"\(size)\": it must be a number of bytes, or one with k, m or g")
        }
        shmSize = bytes
        seccompProfile = options.seccompProfile ?? file.text("seccomp-profile")
        userNamespaces = options.userns ?? file.text("userns") ?? "host"
        guard userNamespaces == "host" || userNamespaces == "auto" || userNamespaces.hasPrefix("auto:") else {
            throw StartError(
                "unknown default user namespace \"\(userNamespaces)\": userns is host, or auto with options "
                    + "(auto:size=65536)")
        }
        userNamespaceRange = options.usernsAutoRange ?? file.text("userns-auto-range")
        labelsContainers = options.selinuxEnabled ?? file.flag("selinux-enabled") ?? true
        networks = try NetworkDefaults(options.networks, file)
    }

    /// What the engine needs of it.
    func engineConfiguration() throws -> EngineConfiguration {
        var configuration = EngineConfiguration(
            dataRoot: dataRoot, executionRoot: executionRoot, registries: registries, runtimePath: try runtimePath())
        configuration.labels = labels
        configuration.debug = logLevel == .debug
        configuration.liveRestore = liveRestore
        configuration.defaultLogDriver = logDriver
        configuration.defaultLogOptions = logOptions
        configuration.defaultInit = initByDefault
        configuration.defaultShmSize = shmSize
        configuration.seccompProfile = seccompProfile
        configuration.userNamespaces = userNamespaces
        configuration.userNamespaceRange = userNamespaceRange
        configuration.labelsContainers = labelsContainers
        configuration.networks = networks
        return configuration
    }

    /// The runtime that was asked for, or the one beside the daemon, or the one in the usual places.
    private func runtimePath() throws -> String {
        let name = "mycontainer-runtime"
        if let runtime {
            guard access(runtime, X_OK) == 0 else {
                throw StartError("the runtime \(runtime) is not an executable file; name another with --runtime")
            }
            return runtime
        }
        var places = ["/usr/local/bin", "/usr/bin", "/usr/local/libexec", "/usr/libexec"]
        var own = [CChar](repeating: 0, count: Int(PATH_MAX))
        if readlink("/proc/self/exe", &own, own.count - 1) > 0 {
            let path = String(decoding: own.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            places.insert(String(path.prefix(upTo: path.lastIndex(byte: "/") ?? path.endIndex)), at: 0)
        }
        for place in places where access("\(place)/\(name)", X_OK) == 0 { return "\(place)/\(name)" }
        throw StartError(
            "cannot find \(name) beside the daemon or in \(places.dropFirst().joined(separator: ", ")); "
                + "name it with --runtime")
    }
}

/// The path seen from the root.
private func absolute(_ path: String) -> String {
    if path.hasPrefix(bytes: "/") { return path }
    guard let directory = getcwd(nil, 0) else { return "/" + path }
    defer { free(directory) }
    return String(cString: directory) + "/" + path
}

/// Bytes of `64M`, `1g`, `100`.
private func parseSize(_ text: String) -> Int64? {
    var number = text.lowercased()
    if number.hasSuffix("b") { number.removeLast() }
    if number.hasSuffix("i") { number.removeLast() }
    let shift: Int64 =
        switch number.last {
        case "k": 10
        case "m": 20
        case "g": 30
        case "t": 40
        default: 0
        }
    if shift > 0 { number.removeLast() }
    guard let value = Int64(number), value >= 0 else { return nil }
    let (bytes, overflow) = value.multipliedReportingOverflow(by: 1 << shift)
    return overflow ? nil : bytes
}
