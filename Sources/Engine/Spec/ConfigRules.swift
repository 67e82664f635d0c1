import EngineAPI
import Glibc
import OCI

/// What `create` checks and fills in before anything is made: dockerd's rules and sentences.
enum ConfigRules {
    /// HOST_NAME_MAX of linux/limits.h.
    private static let maximumHostname = 64

    /// Puts the request over what the image says.
    static func merge(_ own: ContainerConfig, over image: OCI.ImageConfig.Execution?) -> ContainerConfig {
        var config = own
        guard let image else { return config }
        if config.user.isEmpty { config.user = image.user ?? "" }
        var ports = config.exposedPorts ?? [:]
        for port in image.exposedPorts?.keys.map({ $0 }) ?? [] where ports[port] == nil { ports[port] = .init() }
        config.exposedPorts = ports.isEmpty ? nil : ports
        let imageEnvironment = image.env ?? []
        let names = Set((config.env ?? []).map { $0.prefix(before: "=") })
        // dockerd puts the request's variables first and adds those of the image that it doesn't set.
        config.env = (config.env ?? []) + imageEnvironment.filter { !names.contains($0.prefix(before: "=")) }
        config.labels = (image.labels ?? [:]).merging(config.labels ?? [:]) { $1 }
        if config.entrypoint?.isEmpty ?? true {
            // An entrypoint of the request resets the image's command.
            if config.cmd?.isEmpty ?? true { config.cmd = image.cmd?.values }
            if config.entrypoint == nil { config.entrypoint = image.entrypoint?.values }
        }
        if config.workingDir.isEmpty { config.workingDir = image.workingDir ?? "" }
        var volumes = config.volumes ?? [:]
        for path in image.volumes?.keys.map({ $0 }) ?? [] where volumes[path] == nil { volumes[path] = .init() }
        config.volumes = volumes.isEmpty ? nil : volumes
        if config.stopSignal.isEmpty { config.stopSignal = image.stopSignal ?? "" }
        if config.shell == nil { config.shell = image.shell?.values }
        config.healthcheck = merge(config.healthcheck, over: image.healthcheck)
        return config
    }

    /// What a request leaves open of its health check is the image's.
    private static func merge(
        _ own: HealthConfig?, over image: OCI.ImageConfig.Healthcheck?
    ) -> HealthConfig? {
        guard let image = image.map(HealthConfig.init) else { return own }
        guard var config = own else { return image }
        if config.test?.isEmpty ?? true { config.test = image.test }
        for path in [\HealthConfig.interval, \.timeout, \.startPeriod, \.startInterval, \.retries]
        where config[keyPath: path] == 0 {
            config[keyPath: path] = image[keyPath: path]
        }
        return config
    }

    /// The program and its arguments.
    static func command(_ config: ContainerConfig) throws(EngineError) -> (path: String, arguments: [String]) {
        // `--entrypoint ""` arrives as [""] and means: none.
        let entrypoint = config.entrypoint == [""] ? [] : config.entrypoint ?? []
        let words = entrypoint + (config.cmd ?? [])
        guard let path = words.first else { throw .invalid("no command specified") }
        return (path, Array(words.dropFirst()))
    }

    static func validate(_ config: inout ContainerConfig) throws(EngineError) {
        guard config.hostname.utf8.count <= maximumHostname else {
            throw .invalid("hostname \"\(config.hostname)\" is too long (maximum \(maximumHostname) bytes)")
        }
        for text in [config.hostname, config.domainname] where !isHostname(text) {
            throw .invalid("invalid hostname format: \(text)")
        }
        if !config.workingDir.isEmpty {
            guard config.workingDir.hasPrefix(bytes: "/") else {
                throw .invalid(
                    "the working directory '\(config.workingDir)' is invalid, it needs to be an absolute path")
            }
            config.workingDir = Paths.clean(config.workingDir)
        }
        if !config.stopSignal.isEmpty { _ = try Signal.parse(config.stopSignal) }
        for entry in config.env ?? [] where entry.isEmpty || entry.hasPrefix(bytes: "=") {
            throw .invalid("invalid environment variable: \(entry)")
        }
        for text in (config.env ?? []) + (config.cmd ?? []) + (config.entrypoint ?? []) + [
            config.workingDir, config.user,
        ]
        where text.utf8.contains(0) {
            throw .invalid("invalid configuration: \"\(text.filter { $0 != "\0" })\" has a NUL byte in it")
        }
        guard !config.user.contains(where: { $0.isNewline || $0 == "/" }) else {
            throw .invalid("invalid user \"\(config.user)\": it is a name or number, or user:group")
        }
        try validateHealth(config.healthcheck)
        if let action = config.labels?[HealthAction.label] { _ = try HealthAction(parsing: action) }
    }

    private static func isHostname(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }
    }

    private static func validateHealth(_ health: HealthConfig?) throws(EngineError) {
        guard let health else { return }
        let durations = [
            ("Interval", health.interval), ("Timeout", health.timeout), ("StartPeriod", health.startPeriod),
            ("StartInterval", health.startInterval),
        ]
        for (name, value) in durations where value != 0 && value < 1_000_000 {
            throw .invalid("\(name) in Healthcheck cannot be less than 1ms")
        }
        guard health.retries >= 0 else { throw .invalid("Retries in Healthcheck cannot be negative") }
    }

    /// Checks and completes the host configuration; returns warnings.
    static func validate(
        _ host: inout HostConfig, config: ContainerConfig, capacity: HostCapacity,
        defaults: EngineConfiguration
    ) throws(EngineError) -> [String] {
        complete(&host, defaults: defaults)
        var warnings = try ResourceRules.validate(&host.resources, host: capacity, isUpdate: false)
        let modes = try NamespaceModes(host)
        let rule = try RestartRule(
            name: host.restartPolicy.name, maximumRetryCount: host.restartPolicy.maximumRetryCount)
        if host.autoRemove && rule != .no {
            throw .invalid("can't create 'AutoRemove' container with restart policy")
        }
        if host.shmSize < 0 { throw .invalid("SHM size can not be less than 0") }
        guard (-1000...1000).contains(host.oomScoreAdj) else {
            throw .invalid("Invalid value \(host.oomScoreAdj), range for oom score adj is [-1000, 1000]")
        }
        if let bindings = host.portBindings { host.portBindings = try PortRules.normalized(bindings) }
        for port in config.exposedPorts?.keys.map({ $0 }) ?? [] { _ = try PortRules.parse(port) }
        try conflicts(host, config, modes)
        if !host.cgroupParent.isEmpty {
            throw .invalid("cgroup-parent is not supported: containers have their cgroups under the daemon's own")
        }
        guard host.runtime == ConfigRules.runtimeName else {
            throw .invalid("unknown or invalid runtime name: \(host.runtime)")
        }
        guard host.isolation.isEmpty || host.isolation == "default" else {
            throw .invalid("invalid isolation (\(host.isolation)): linux only supports 'default'")
        }
        if host.storageOpt?.isEmpty == false {
            throw .invalid("--storage-opt is not supported: the overlay has no quota of its own")
        }
        for key in host.annotations?.keys.map({ $0 }) ?? [] where key.isEmpty {
            throw .invalid("invalid Annotations: the empty string is not permitted as an annotation key")
        }
        for entry in host.extraHosts ?? [] { _ = try ContainerFiles.parse(extraHost: entry) }
        _ = try SecurityOptions(host.securityOpt ?? [])
        _ = try SpecGenerator.rlimits(host.ulimits ?? [])
        _ = try SpecGenerator.capabilities(
            add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: host.privileged, user: config.user)
        for text in host.deviceCgroupRules ?? [] { _ = try Devices.parse(rule: text) }
        try Sysctls.validate(
            host.sysctls ?? [:], hostNetwork: modes.network == .host, hostIPC: modes.ipc == .host,
            hostUTS: modes.uts == .host)
        if let test = config.healthcheck?.test?.first, !["CMD", "CMD-SHELL", "NONE"].contains(test) {
            warnings.append(
                "The health check is not run: its kind is '\(test)', and only CMD, CMD-SHELL and NONE are known.")
        }
        return warnings
    }

    static let runtimeName = "mycontainer"

    /// Docker's defaults for what the request leaves open.
    private static func complete(_ host: inout HostConfig, defaults: EngineConfiguration) {
        if host.networkMode.isEmpty || host.networkMode == "default" { host.networkMode = "bridge" }
        if host.ipcMode.isEmpty { host.ipcMode = "private" }
        if host.cgroupnsMode.isEmpty { host.cgroupnsMode = "private" }
        if host.restartPolicy.name.isEmpty { host.restartPolicy.name = "no" }
        if host.runtime.isEmpty { host.runtime = runtimeName }
        if host.shmSize == 0 { host.shmSize = defaults.defaultShmSize }
        if host.memory > 0 && host.memorySwap == 0 { host.memorySwap = host.memory.addingClamped(host.memory) }
        if host.logConfig.type.isEmpty {
            host.logConfig.type = defaults.defaultLogDriver
            if host.logConfig.config == nil { host.logConfig.config = defaults.defaultLogOptions }
        }
        if host.logConfig.config == nil { host.logConfig.config = [:] }
        if host.privileged || host.pidMode == "host" || host.ipcMode == "host",
            host.securityOpt?.contains("label=disable") != true
        {
            host.securityOpt = (host.securityOpt ?? []) + ["label=disable"]
        }
        if !host.privileged {
            if host.maskedPaths == nil { host.maskedPaths = DefaultSpec.maskedPaths }
            if host.readonlyPaths == nil { host.readonlyPaths = DefaultSpec.readonlyPaths }
        }
    }

    private static func conflicts(
        _ host: HostConfig, _ config: ContainerConfig, _ modes: NamespaceModes
    ) throws(EngineError) {
        if modes.uts == .host && !config.hostname.isEmpty {
            throw .invalid("conflicting options: hostname and the UTS mode")
        }
        if modes.network == .host, host.links?.isEmpty == false {
            throw .invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined "
                    + "behavior")
        }
        guard case .container = modes.network else { return }
        if !config.hostname.isEmpty { throw .invalid("conflicting options: hostname and the network mode") }
        if host.links?.isEmpty == false {
            throw .invalid(
                "conflicting options: container type network can't be used with links. This would result in undefined "
                    + "behavior")
        }
        if host.dns?.isEmpty == false { throw .invalid("conflicting options: dns and the network mode") }
        if host.extraHosts?.isEmpty == false {
            throw .invalid("conflicting options: custom host-to-IP mapping and the network mode")
        }
        if host.portBindings?.isEmpty == false || host.publishAllPorts {
            throw .invalid("conflicting options: port publishing and the container type network mode")
        }
    }

    /// Whether a program must itself be PID 1: init systems refuse to run as anything else.
    static func mustBeFirstProcess(_ path: String) -> Bool {
        ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "systemd", "/init"]
            .contains(path)
    }
}

/// Sizes as Docker's options have them: `10m`, `1g`, `512k`, `-1`.
enum ByteSize {
    static func parse(_ text: String) -> Int64? {
        if text == "-1" { return -1 }
        let digits = text.prefix { $0.isNumber || $0 == "." }
        guard let number = Double(digits), number >= 0 else { return nil }
        let scale: Double
        switch text.dropFirst(digits.count).lowercased() {
        case "", "b": scale = 1
        case "k", "kb", "kib": scale = 1024
        case "m", "mb", "mib": scale = 1_048_576
        case "g", "gb", "gib": scale = 1_073_741_824
        case "t", "tb", "tib": scale = 1_099_511_627_776
        default: return nil
        }
        let result = number * scale
        return result < 9e18 ? Int64(result) : nil
    }
}
