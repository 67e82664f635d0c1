import EngineAPI

/// The options of `run` and `create`, in groups. `ContainerRequest` turns what was given into the API's document.
enum ContainerFlags {
    // MARK: Streams and identity
    static let attach = Flag.list(
        "attach", short: "a", "Attach to STDIN, STDOUT or STDERR",
        check: { word throws(InvalidValue) in
            let stream = word.lowercased()
            guard ["stdin", "stdout", "stderr"].contains(stream) else {
                throw InvalidValue("valid streams are STDIN, STDOUT and STDERR")
            }
            return stream
        }
    ).completed(by: .words(["stdin", "stdout", "stderr"]))
    static let interactive = Flag.toggle("interactive", short: "i", "Keep STDIN open even if not attached")
    static let tty = Flag.toggle("tty", short: "t", "Allocate a pseudo-TTY")
    static let name = Flag.string("name", "Assign a name to the container")
    static let hostname = Flag.string("hostname", short: "h", "Container host name")
    static let domainname = Flag.string("domainname", "Container NIS domain name")
    static let label = Flag.list("label", short: "l", "Set meta data on a container", check: parseLabel)
    static let labelFile = Flag.list("label-file", "Read in a line delimited file of labels").namingFiles
    static let annotation = Flag.list(
        "annotation", type: "map", "Add an annotation to the container (passed through to the OCI runtime)")
    static let cidfile = Flag.string("cidfile", "Write the container ID to the file").namingFiles
    static let autoRemove = Flag.toggle(
        "rm", "Automatically remove the container and its associated anonymous volumes when it exits")
    static let restart = Flag.string(
        "restart", "Restart policy to apply when a container exits", initially: "no"
    ).completed(by: .words(["no", "always", "on-failure", "unless-stopped"]))

    // MARK: Process
    static let entrypoint = Flag.optionalString("entrypoint", "Overwrite the default ENTRYPOINT of the image")
    static let env = Flag.list("env", short: "e", "Set environment variables", check: parseEnvironmentEntry)
    static let envFile = Flag.list("env-file", "Read in a file of environment variables").namingFiles
    static let user = Flag.string("user", short: "u", "Username or UID (format: <name|uid>[:<group|gid>])")
    static let groupAdd = Flag.list("group-add", "Add additional groups to join")
    static let workdir = Flag.string("workdir", short: "w", "Working directory inside the container")
    static let stopSignal = Flag.string("stop-signal", "Signal to stop the container").completed(
        by: .words(SignalName.completions))
    static let stopTimeout = Flag.optionalInteger("stop-timeout", "Timeout (in seconds) to stop a container")
    static let initProcess = Flag<Bool?>(
        "init", type: "", "Run a reaper as PID 1 that forwards signals (the default; --init=false turns it off)",
        initial: nil, impliedValue: "true"
    ) { value, word throws(InvalidValue) in value = try parseBool(word) }
    static let ulimit = Flag<[Ulimit]>("ulimit", type: "ulimit", "Ulimit options", initial: []) {
        value, word throws(InvalidValue) in
        let limit = try parseUlimit(word)
        value.removeAll { $0.name == limit.name }
        value.append(limit)
    }
    static let oomScoreAdjust = Flag.integer("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)")

    // MARK: Isolation and privileges
    static let privileged = Flag.toggle("privileged", "Give extended privileges to this container")
    static let capAdd = Flag.list("cap-add", "Add Linux capabilities")
    static let capDrop = Flag.list("cap-drop", "Drop Linux capabilities")
    static let securityOption = Flag.list("security-opt", "Security options")
    static let sysctl = Flag.list("sysctl", type: "map", "Sysctl options", check: parseSysctl)
    static let cgroupParent = Flag.string("cgroup-parent", "Optional parent cgroup for the container")
    static let cgroupNamespace = Flag.string("cgroupns", "Cgroup namespace to use (host|private)")
        .completed(by: .words(["host", "private"]))
    static let ipc = Flag.string("ipc", "IPC mode to use")
    static let pid = Flag.string("pid", "PID namespace to use")
    static let uts = Flag.string("uts", "UTS namespace to use").completed(by: .words(["host"]))
    static let userns = Flag.string(
        "userns", "User namespace to use (host|auto[:size=N,...]|keep-id|map:...|container:NAME)"
    ).completed(by: .words(["host", "auto", "keep-id"]))
    static let uidMap = Flag.list("uidmap", "UID mapping of the user namespace (container:host:size)")
    static let gidMap = Flag.list("gidmap", "GID mapping of the user namespace (container:host:size)")
    static let isolation = Flag.string("isolation", "Container isolation technology")
    static let runtime = Flag.string("runtime", "Runtime to use for this container")
    static let device = Flag<[DeviceArgument]>(
        "device", type: "list", "Add a host device to the container", initial: []
    ) {
        value, word throws(InvalidValue) in value.append(DeviceArgument(word))
    }.completed(by: .files).namingFilesOfTheDaemon
    static let deviceRule = Flag.list(
        "device-cgroup-rule", "Add a rule to the cgroup allowed devices list", check: parseDeviceRule)
    static let gpus = Flag<DeviceRequest?>(
        "gpus", type: "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)", initial: nil
    ) { value, word throws(InvalidValue) in value = try parseGPUs(word) }

    // MARK: Files
    static let volume = Flag.list("volume", short: "v", "Bind mount a volume").completed(by: .volumes)
        .namingFilesOfTheDaemon
    static let mount = Flag<[Mount]>("mount", type: "mount", "Attach a filesystem mount to the container", initial: [])
    {
        value, word throws(InvalidValue) in value.append(try parseMount(word))
    }.namingFilesOfTheDaemon
    static let tmpfs = Flag.list("tmpfs", "Mount a tmpfs directory")
    static let readOnly = Flag.toggle("read-only", "Mount the container's root filesystem as read only")
    static let volumesFrom = Flag.list("volumes-from", "Mount volumes from the specified container(s)")
        .completed(by: .containers)
    static let volumeDriver = Flag.string("volume-driver", "Optional volume driver for the container")
    static let storageOption = Flag.list("storage-opt", "Storage driver options for the container")
    static let shmSize = Flag.bytes("shm-size", "Size of /dev/shm")

    // MARK: Network
    static let network = Flag<[NetworkAttachment]>(
        "network", type: "network", "Connect a container to a network", initial: []
    ) {
        value, word throws(InvalidValue) in value.append(try NetworkAttachment(parsing: word))
    }.alsoSpelled("net").completed(by: .networks)
    static let networkAlias = Flag.list("network-alias", "Add network-scoped alias for the container")
        .alsoSpelled("net-alias")
    static let publish = Flag.list("publish", short: "p", "Publish a container's port(s) to the host")
    static let publishAll = Flag.toggle("publish-all", short: "P", "Publish all exposed ports to random ports")
    static let expose = Flag.list("expose", "Expose a port or a range of ports")
    static let addHost = Flag.list(
        "add-host", "Add a custom host-to-IP mapping (host:ip)", check: parseExtraHost)
    static let dns = Flag.list("dns", "Set custom DNS servers", check: parseAddress)
    static let dnsOption = Flag.list("dns-option", "Set DNS options").alsoSpelled("dns-opt")
    static let dnsSearch = Flag.list("dns-search", "Set custom DNS search domains", check: parseSearchDomain)
    static let ipv4 = Flag.string("ip", "IPv4 address (e.g., 172.30.100.104)")
    static let ipv6 = Flag.string("ip6", "IPv6 address (e.g., 2001:db8::33)")
    static let link = Flag.list("link", "Add link to another container", check: parseLink)
    static let linkLocal = Flag.list("link-local-ip", "Container IPv4/IPv6 link-local addresses", check: parseAddress)
    static let macAddress = Flag.string("mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")

    // MARK: Logging and health
    static let logDriver = Flag.string("log-driver", "Logging driver for the container")
        .completed(by: .words(["local", "json-file", "journald", "syslog", "none"]))
    static let logOption = Flag.list("log-opt", "Log driver options")
    static let healthCommand = Flag.string("health-cmd", "Command to run to check health")
    static let healthInterval = Flag.duration("health-interval", "Time between running the check (ms|s|m|h)")
    static let healthTimeout = Flag.duration("health-timeout", "Maximum time to allow one check to run (ms|s|m|h)")
    static let healthRetries = Flag.integer("health-retries", "Consecutive failures needed to report unhealthy")
    static let healthStartPeriod = Flag.duration(
        "health-start-period", "Time to initialize before failures count (ms|s|m|h)")
    static let healthStartInterval = Flag.duration(
        "health-start-interval", "Time between running the check during the start period (ms|s|m|h)")
    static let healthOnFailure = Flag.string(
        "health-on-failure", "What to do once the container is unhealthy (none|kill|restart|stop)"
    ).completed(by: .words(["none", "kill", "restart", "stop"]))
    static let noHealthcheck = Flag.toggle("no-healthcheck", "Disable any container-specified HEALTHCHECK")

    /// What `create` has beside the limits; `run` adds its own.
    static let options: [Option] = [
        addHost.option, annotation.option, attach.option, capAdd.option, capDrop.option, cgroupParent.option,
        cgroupNamespace.option, cidfile.option, device.option, deviceRule.option, dns.option, dnsOption.option,
        dnsSearch.option, domainname.option, entrypoint.option, env.option, envFile.option, expose.option,
        gpus.option, groupAdd.option, healthCommand.option, healthInterval.option,
        healthOnFailure.option, healthRetries.option, healthStartInterval.option, healthStartPeriod.option,
        healthTimeout.option, hostname.option, initProcess.option, interactive.option, ipv4.option, ipv6.option,
        ipc.option, isolation.option, label.option,
        labelFile.option, link.option, linkLocal.option, logDriver.option, logOption.option, macAddress.option,
        mount.option, name.option, network.option, networkAlias.option, noHealthcheck.option, oomScoreAdjust.option,
        pid.option, privileged.option, publish.option, publishAll.option, readOnly.option, restart.option,
        autoRemove.option, runtime.option, securityOption.option, shmSize.option, stopSignal.option,
        stopTimeout.option, storageOption.option, sysctl.option, tmpfs.option, tty.option, ulimit.option, user.option,
        uidMap.option, gidMap.option, userns.option, uts.option, volume.option, volumeDriver.option, volumesFrom.option,
        workdir.option,
    ]
}

/// A `--device` as it was given: a path is examined only when the request is built, as docker does, a CDI name
/// (`vendor.com/class=name`) goes to the daemon as it is.
struct DeviceArgument: Sendable {
    let word: String
    init(_ word: String) { self.word = word }

    /// Whether this is a name of the Container Device Interface rather than a path.
    var isCDIName: Bool {
        let (kind, name) = cut(word, "=")
        return name?.isEmpty == false && !kind.hasPrefix(bytes: "/") && cut(kind, "/").1?.isEmpty == false
    }
}
