import EngineAPI

/// Turns the words of `run` or `create` into the document that the API takes. It is compared with what the `docker`
/// command line sends for the same words (Tests/CommandsTests/DockerRequestTests.swift).
struct ContainerRequest {
    private let invocation: Invocation
    private var arguments: ParsedArguments { invocation.arguments }
    private typealias Flags = ContainerFlags

    init(_ invocation: Invocation) { self.invocation = invocation }

    /// - Throws: `CommandFailure` for values that don't fit together, and for files that can't be read.
    func document() throws(CommandFailure) -> ContainerCreateRequest {
        let volumes = try volumes()
        let networks = try networks()
        var config = try config()
        var host = try hostConfig()
        config.volumes = volumes.anonymous
        host.binds = volumes.binds
        host.networkMode = arguments[Flags.network].first?.target ?? "default"
        do {
            try addPorts(&config, &host)
        } catch {
            throw CommandFailure(error.reason)
        }
        let request = ContainerCreateRequest(
            config: config, hostConfig: host, networkingConfig: NetworkingConfig { $0.endpointsConfig = networks })
        return request
    }

    // MARK: Config

    private func config() throws(CommandFailure) -> ContainerConfig {
        let attached = arguments[Flags.attach]
        var config = ContainerConfig()
        config.hostname = arguments[Flags.hostname]
        config.domainname = arguments[Flags.domainname]
        config.user = arguments[Flags.user]
        config.tty = arguments[Flags.tty]
        config.openStdin = arguments[Flags.interactive]
        config.attachStdin = attached.contains("stdin") || config.openStdin
        config.attachStdout = attached.isEmpty || attached.contains("stdout")
        config.attachStderr = attached.isEmpty || attached.contains("stderr")
        // The container's input ends with the client that gave it.
        config.stdinOnce = config.openStdin && config.attachStdin
        config.image = arguments.operands[0]
        let command = Array(arguments.operands.dropFirst())
        config.cmd = command.isEmpty ? nil : command
        config.entrypoint = arguments[Flags.entrypoint].map { [$0] }
        config.workingDir = arguments[Flags.workdir]
        config.stopSignal = arguments[Flags.stopSignal]
        config.stopTimeout = arguments[Flags.stopTimeout].map { Int($0) }
        config.healthcheck = try healthcheck()
        var environment: [String] = []
        for path in arguments[Flags.envFile] {
            environment += try readKeyValueFile(path, inherit: Commands.environment)
        }
        environment += arguments[Flags.env]
        if let settings = invocation.settings {
            environment += settings.proxyVariables(
                host: try invocation.global.host(settings), given: arguments[Flags.env])
        }
        config.env = environment.isEmpty ? nil : environment
        var labels: [String] = []
        for path in arguments[Flags.labelFile] {
            labels += try readKeyValueFile(path, inherit: { _ in nil })
        }
        config.labels = dictionary(labels + arguments[Flags.label])
        let action = arguments[Flags.healthOnFailure]
        if !action.isEmpty {
            config.labels = (config.labels ?? [:]).merging([HealthConfig.onFailureLabel: action]) { $1 }
        }
        return config
    }

    private func healthcheck() throws(CommandFailure) -> HealthConfig? {
        let command = arguments[Flags.healthCommand]
        let times = [
            (Flags.healthInterval, "interval"), (Flags.healthTimeout, "timeout"),
            (Flags.healthStartPeriod, "start-period"), (Flags.healthStartInterval, "start-interval"),
            (Flags.healthRetries, "retries"),
        ]
        let isConfigured = !command.isEmpty || times.contains { arguments[$0.0] != 0 }
        if arguments[Flags.noHealthcheck] {
            if isConfigured { throw CommandFailure("--no-healthcheck conflicts with --health-* options") }
            return HealthConfig { $0.test = ["NONE"] }
        }
        if !isConfigured { return nil }
        for (flag, name) in times where arguments[flag] < 0 {
            throw CommandFailure("--health-\(name) cannot be negative")
        }
        return HealthConfig {
            $0.test = command.isEmpty ? nil : ["CMD-SHELL", command]
            $0.interval = Int(arguments[Flags.healthInterval])
            $0.timeout = Int(arguments[Flags.healthTimeout])
            $0.startPeriod = Int(arguments[Flags.healthStartPeriod])
            $0.startInterval = Int(arguments[Flags.healthStartInterval])
            $0.retries = Int(arguments[Flags.healthRetries])
        }
    }

    // MARK: HostConfig

    private func hostConfig() throws(CommandFailure) -> HostConfig {
        var host = HostConfig()
        host.resources = try LimitFlags.all(arguments)
        try addDevices(&host.resources)
        host.resources.cgroupParent = arguments[Flags.cgroupParent]
        host.resources.ulimits = arguments[Flags.ulimit].sorted { $0.name < $1.name }
        host.containerIDFile = RawBytes.repaired(arguments[Flags.cidfile])
        host.oomScoreAdj = Int(arguments[Flags.oomScoreAdjust])
        host.autoRemove = arguments[Flags.autoRemove]
        host.privileged = arguments[Flags.privileged]
        host.publishAllPorts = arguments[Flags.publishAll]
        host.readonlyRootfs = arguments[Flags.readOnly]
        host.links = list(Flags.link)
        host.dns = arguments[Flags.dns]
        host.dnsSearch = arguments[Flags.dnsSearch]
        host.dnsOptions = arguments[Flags.dnsOption]
        host.extraHosts = list(Flags.addHost)
        host.volumesFrom = list(Flags.volumesFrom)
        host.volumeDriver = arguments[Flags.volumeDriver]
        host.capAdd = list(Flags.capAdd)
        host.capDrop = list(Flags.capDrop)
        host.groupAdd = list(Flags.groupAdd)
        host.isolation = arguments[Flags.isolation]
        host.shmSize = arguments[Flags.shmSize]
        host.runtime = arguments[Flags.runtime]
        host.`init` = arguments[Flags.initProcess]
        host.tmpfs = Dictionary(
            arguments[Flags.tmpfs].map { word in
                let (path, options) = cut(word, ":")
                return (path, options ?? "")
            }, uniquingKeysWith: { $1 })
        host.sysctls = dictionary(arguments[Flags.sysctl])
        host.annotations = dictionary(arguments[Flags.annotation])
        host.mounts = arguments[Flags.mount]
        try addNamespaces(&host)
        host.restartPolicy = try restartPolicy(arguments[Flags.restart])
        if host.autoRemove && !["", "no"].contains(host.restartPolicy.name) {
            throw CommandFailure("conflicting options: cannot specify both --restart and --rm")
        }
        let logOptions = arguments[Flags.logOption]
        if arguments[Flags.logDriver] == "none" && !logOptions.isEmpty {
            throw CommandFailure("invalid logging opts for driver none")
        }
        host.logConfig = LogConfig(type: arguments[Flags.logDriver], config: dictionary(logOptions))
        for option in arguments[Flags.storageOption] where !option.contains("=") {
            throw CommandFailure("invalid storage option")
        }
        host.storageOpt = dictionary(arguments[Flags.storageOption])
        try addSecurityOptions(&host)
        return host
    }

    private func list(_ flag: Flag<[String]>) -> [String]? {
        arguments.isGiven(flag) ? arguments[flag] : nil
    }

    private func addNamespaces(_ host: inout HostConfig) throws(CommandFailure) {
        func isContainer(_ mode: String) -> Bool { mode.hasPrefix("container:") && mode.utf8.count > 10 }
        host.pidMode = arguments[Flags.pid]
        guard ["", "host"].contains(host.pidMode) || isContainer(host.pidMode) else {
            throw CommandFailure("--pid: invalid PID mode")
        }
        host.utsMode = arguments[Flags.uts]
        guard ["", "host"].contains(host.utsMode) else { throw CommandFailure("--uts: invalid UTS mode") }
        host.usernsMode = try userNamespace()
        host.cgroupnsMode = arguments[Flags.cgroupNamespace]
        guard ["", "host", "private"].contains(host.cgroupnsMode) else {
            throw CommandFailure("--cgroupns: invalid CGROUP mode")
        }
        host.ipcMode = arguments[Flags.ipc]
    }

    /// `--userns`, or what `--uidmap` and `--gidmap` stand for.
    private func userNamespace() throws(CommandFailure) -> String {
        let mode = arguments[Flags.userns]
        let kinds = ["", "host", "auto", "keep", "keep-id", "map", "container"]
        guard kinds.contains(cut(mode, ":").0) else { throw CommandFailure("--userns: invalid USER mode") }
        let mappings =
            arguments[Flags.uidMap].map { "uidmapping=\($0)" } + arguments[Flags.gidMap].map { "gidmapping=\($0)" }
        if mappings.isEmpty { return mode }
        guard mode.isEmpty else {
            throw CommandFailure("conflicting options: --uidmap and --gidmap can't be used with --userns \(mode)")
        }
        return "map:" + mappings.joined(separator: ",")
    }

    private func addDevices(_ resources: inout Resources) throws(CommandFailure) {
        let given = arguments[Flags.device]
        var devices: [DeviceMapping] = []
        for device in given where !device.isCDIName {
            do {
                devices.append(try parseDevice(device.word))
            } catch {
                throw CommandFailure(error.reason)
            }
        }
        resources.devices = devices
        resources.deviceCgroupRules = list(Flags.deviceRule)
        var requests = arguments[Flags.gpus].map { [$0] } ?? []
        let names = given.filter(\.isCDIName).map(\.word)
        if !names.isEmpty {
            requests.append(
                DeviceRequest {
                    $0.driver = "cdi"
                    $0.deviceIDs = names
                })
        }
        resources.deviceRequests = requests.isEmpty ? nil : requests
    }

    /// A seccomp profile's file is read here, on the user's side, and its content sent; `systempaths=unconfined` is
    /// expressed by empty lists.
    private func addSecurityOptions(_ host: inout HostConfig) throws(CommandFailure) {
        var options: [String] = []
        for option in arguments[Flags.securityOption] {
            var (name, value) = cut(option, "=")
            if value == nil && name != "no-new-privileges" { (name, value) = cut(option, ":") }
            if (value ?? "").isEmpty && name != "no-new-privileges" {
                throw CommandFailure("Invalid --security-opt: \(quoted(option))")
            }
            if option == "systempaths=unconfined" {
                host.maskedPaths = []
                host.readonlyPaths = []
            } else if name == "seccomp", let path = value, !["audit", "builtin", "unconfined"].contains(path) {
                options.append("seccomp=" + (try seccompProfile(path)))
            } else {
                options.append(option)
            }
        }
        host.securityOpt = arguments.isGiven(Flags.securityOption) ? options : nil
    }

    private func seccompProfile(_ path: String) throws(CommandFailure) -> String {
        let bytes: [UInt8]
        do {
            bytes = try readFile(path)
        } catch {
            throw CommandFailure("opening seccomp profile (\(path)) failed: \(error.message ?? "")")
        }
        do {
            return try OrderedJSON(parsing: bytes).text
        } catch {
            throw CommandFailure("compacting json for seccomp profile (\(path)) failed: \(error)")
        }
    }

    // MARK: Volumes, ports, networks

    private func volumes() throws(CommandFailure) -> (binds: [String]?, anonymous: [String: EmptyObject]) {
        var binds: [String] = []
        var anonymous: [String: EmptyObject] = [:]
        for word in arguments[Flags.volume] {
            do {
                switch try VolumeArgument(word) {
                case .anonymous(let path): anonymous[path] = EmptyObject()
                case .bind(let bind): if !binds.contains(bind) { binds.append(bind) }
                }
            } catch {
                throw CommandFailure(error.reason)
            }
        }
        return (binds.isEmpty ? nil : binds, anonymous)
    }

    private func addPorts(_ config: inout ContainerConfig, _ host: inout HostConfig) throws(InvalidValue) {
        var exposed: [String: EmptyObject] = [:]
        var bindings: [String: [PortBinding]?] = [:]
        for word in arguments[Flags.publish] {
            for mapping in try parsePublish(word) {
                exposed[mapping.port] = EmptyObject()
                bindings[mapping.port] = ((bindings[mapping.port] ?? nil) ?? []) + [mapping.binding]
            }
        }
        for word in arguments[Flags.expose] {
            for port in try parseExpose(word) { exposed[port] = EmptyObject() }
        }
        config.exposedPorts = exposed
        host.portBindings = bindings
    }

    private func networks() throws(CommandFailure) -> [String: EndpointSettings] {
        var attachments = arguments[Flags.network]
        let isImplied = attachments.isEmpty
        if isImplied { attachments = [NetworkAttachment(name: "default")] }
        try addOptions(to: &attachments[0])
        var endpoints: [String: EndpointSettings] = [:]
        for attachment in attachments {
            if trimmed(attachment.target).isEmpty { throw CommandFailure("no name set for network") }
            let endpoint = try attachment.endpoint()
            if endpoints[attachment.target] != nil {
                throw CommandFailure("network \(quoted(attachment.target)) is specified multiple times")
            }
            // The daemon makes the endpoint of a single plain network itself.
            if attachments.count == 1 && !isImplied && endpoint == EndpointSettings() { continue }
            endpoints[attachment.target] = endpoint
        }
        if attachments.contains(where: { $0.isUserDefined != attachments[0].isUserDefined }) {
            throw CommandFailure(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes")
        }
        return endpoints
    }

    /// The options that are about a network but not written within `--network` belong to the first one.
    private func addOptions(to network: inout NetworkAttachment) throws(CommandFailure) {
        func conflict(_ option: String, _ what: String) -> CommandFailure {
            CommandFailure("conflicting options: cannot specify both --\(option) and per-network \(what)")
        }
        if arguments.isGiven(Flags.networkAlias) {
            if !network.aliases.isEmpty { throw conflict("network-alias", "alias") }
            network.aliases = arguments[Flags.networkAlias]
        }
        if network.isUserDefined { network.links = arguments[Flags.link] }
        func add(_ flag: Flag<String>, to address: inout String, _ what: String) throws(CommandFailure) {
            if arguments[flag].isEmpty { return }
            if !address.isEmpty { throw conflict(flag.option.name, what) }
            address = arguments[flag]
        }
        try add(Flags.ipv4, to: &network.ipv4Address, "IPv4 address")
        try add(Flags.ipv6, to: &network.ipv6Address, "IPv6 address")
        try add(Flags.macAddress, to: &network.macAddress, "MAC address")
        if arguments.isGiven(Flags.linkLocal) {
            if !network.linkLocalAddresses.isEmpty { throw conflict("link-local-ip", "link-local IP addresses") }
            network.linkLocalAddresses = arguments[Flags.linkLocal]
        }
    }
}

/// Reads `--restart name[:count]`.
func restartPolicy(_ word: String) throws(CommandFailure) -> RestartPolicy {
    let (name, count) = cut(word, ":")
    if count != nil && name.isEmpty {
        throw CommandFailure("invalid restart policy format: no policy provided before colon")
    }
    guard let count, !count.isEmpty else { return RestartPolicy(name: name) }
    guard let number = Int(count) else {
        throw CommandFailure("invalid restart policy format: maximum retry count must be an integer")
    }
    return RestartPolicy(name: name, maximumRetryCount: number)
}
