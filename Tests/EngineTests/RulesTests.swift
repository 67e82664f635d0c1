import EngineAPI
import OCI
import Testing

@testable import Engine

@Suite struct ResourceRulesTests {
    @Test(arguments: [
        ("memory", "Minimum memory limit allowed is 6MB"),
        ("swap", "Minimum memoryswap limit should be larger than memory limit, see usage"),
        ("swapAlone", "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ("reservation", "Minimum memory limit can not be less than memory reservation limit, see usage"),
        ("cpus", "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ("cpusAndPeriod", "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ("quota", "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ("cpuset", "Requested CPUs are not available - requested 0-9, available: 0-3"),
        ("weight", "Range of blkio weight is from 10 to 1000"),
        ("swappiness", "Invalid value: 101, valid memory swappiness range is 0-100"),
    ])
    func refused(_ what: String, _ sentence: String) {
        var resources = Resources()
        switch what {
        case "memory": resources.memory = 6 << 20 - 1
        case "swap": (resources.memory, resources.memorySwap) = (64 << 20, 32 << 20)
        case "swapAlone": resources.memorySwap = 64 << 20
        case "reservation": (resources.memory, resources.memoryReservation) = (64 << 20, 65 << 20)
        case "cpus": resources.nanoCpus = 4_000_000_001
        case "cpusAndPeriod": (resources.nanoCpus, resources.cpuPeriod) = (1_000_000_000, 100_000)
        case "quota": resources.cpuQuota = 999
        case "cpuset": resources.cpusetCpus = "0-9"
        case "weight": resources.blkioWeight = 9
        default: resources.memorySwappiness = 101
        }
        if what == "memory" { resources.memory = 6_291_455 }
        #expect(refusal { _ = try ResourceRules.validate(&resources, host: .full, isUpdate: false) } == sentence)
    }

    @Test func whatTheHostLacksIsDroppedWithAWarning() throws {
        var host = HostCapacity.full
        host.swap = false
        host.blockIOWeight = false
        var resources = Resources()
        resources.memory = 64 << 20
        resources.memorySwap = 128 << 20
        resources.blkioWeight = 300
        let warnings = try ResourceRules.validate(&resources, host: host, isUpdate: false)
        #expect(warnings.count == 2)
        #expect(resources.memorySwap == -1)
        #expect(resources.blkioWeight == 0)
    }

    @Test(arguments: ["1-", "a", "3-1", "0,,1", "-1", "0-99999999"]) func badLists(_ text: String) {
        #expect(refusal { _ = try ResourceRules.parse(list: text) } != nil)
    }

    @Test func goodLists() throws {
        #expect(try ResourceRules.parse(list: "0-2,7") == [0, 1, 2, 7])
        #expect(try ResourceRules.parse(list: "") == [])
    }
}

@Suite struct ConfigRulesTests {
    private var image: OCI.ImageConfig.Execution {
        OCI.ImageConfig.Execution(
            user: "redis", env: ["PATH=/bin", "A=image"], entrypoint: ["/entry"], cmd: ["serve"],
            volumes: ["/data": .init()], workingDir: "/data", labels: ["a": "1", "b": "2"], stopSignal: "SIGINT")
    }

    @Test func theRequestGoesOverTheImage() throws {
        var own = ContainerConfig()
        own.env = ["A=own"]
        own.labels = ["b": "3"]
        let merged = ConfigRules.merge(own, over: image)
        #expect(merged.user == "redis")
        #expect(merged.env == ["A=own", "PATH=/bin"])
        #expect(merged.labels == ["a": "1", "b": "3"])
        #expect(merged.volumes?.keys.sorted() == ["/data"])
        #expect(merged.stopSignal == "SIGINT")
        let command = try ConfigRules.command(merged)
        #expect(command.path == "/entry")
        #expect(command.arguments == ["serve"])
    }

    @Test func aCommandReplacesTheImagesCommandOnly() throws {
        var own = ContainerConfig()
        own.cmd = ["other"]
        let command = try ConfigRules.command(ConfigRules.merge(own, over: image))
        #expect([command.path] + command.arguments == ["/entry", "other"])
    }

    @Test func anEntrypointResetsTheImagesCommand() throws {
        var own = ContainerConfig()
        own.entrypoint = ["/mine"]
        let command = try ConfigRules.command(ConfigRules.merge(own, over: image))
        #expect([command.path] + command.arguments == ["/mine"])
    }

    @Test func anEmptyEntrypointMeansNone() throws {
        var own = ContainerConfig()
        own.entrypoint = [""]
        own.cmd = ["ls"]
        let command = try ConfigRules.command(ConfigRules.merge(own, over: image))
        #expect([command.path] + command.arguments == ["ls"])
        own.cmd = nil
        #expect(refusal { _ = try ConfigRules.command(ConfigRules.merge(own, over: image)) } == "no command specified")
    }

    @Test(
        arguments: [
            { (config: inout ContainerConfig) in config.workingDir = "relative" },
            { config in config.hostname = String(repeating: "a", count: 65) },
            { config in config.hostname = "two\nlines" },
            { config in config.env = ["=x"] },
            { config in config.stopSignal = "SIGNONE" },
            { config in config.user = "a\nroot" },
            { config in config.cmd = ["a\0b"] },
        ] as [@Sendable (inout ContainerConfig) -> Void])
    func refusedConfigurations(_ change: @Sendable (inout ContainerConfig) -> Void) {
        var config = ContainerConfig()
        change(&config)
        #expect(refusal { try ConfigRules.validate(&config) } != nil)
    }

    private func validate(_ change: (inout HostConfig) -> Void) -> String? {
        var host = HostConfig()
        change(&host)
        let defaults = EngineConfiguration(dataRoot: "/d", executionRoot: "/e", registries: [], runtimePath: "/r")
        return refusal {
            _ = try ConfigRules.validate(&host, config: ContainerConfig(), capacity: .full, defaults: defaults)
        }
    }

    @Test func hostConfigurations() {
        #expect(validate { _ in } == nil)
        #expect(
            validate { $0.portBindings = ["80/quic": [PortBinding(hostIP: "", hostPort: "80")]] }?
                .contains("invalid proto: quic") == true)
        #expect(validate { $0.portBindings = ["80": [PortBinding(hostIP: "", hostPort: "80-90")]] } == nil)
        #expect(
            validate {
                $0.autoRemove = true
                $0.restartPolicy.name = "always"
            } == "can't create 'AutoRemove' container with restart policy")
        #expect(
            validate { $0.networkMode = "container:" } == "invalid container format container:<name|id>")
        #expect(
            validate {
                $0.networkMode = "container:x"
                $0.publishAllPorts = true
            } == "conflicting options: port publishing and the container type network mode")
        #expect(validate { $0.capAdd = ["NOT_ONE"] } != nil)
        #expect(validate { $0.capAdd = ["NET_ADMIN"] } == nil)
        #expect(validate { $0.oomScoreAdj = 1001 } != nil)
        #expect(validate { $0.securityOpt = ["seccomp"] } == "invalid --security-opt 1: \"seccomp\"")
        #expect(validate { $0.sysctls = ["kernel.core_pattern": "|/x"] }?.contains("separate kernel namespace") == true)
        #expect(validate { $0.sysctls = ["net.core.somaxconn": "1"] } == nil)
        #expect(
            validate {
                $0.sysctls = ["net.core.somaxconn": "1"]
                $0.networkMode = "host"
            } != nil)
    }

    @Test func logDrivers() throws {
        #expect(try LogDrivers.settle(LogConfig(type: "local"))?.format == "cri")
        #expect(try LogDrivers.settle(LogConfig(type: "none")) == nil)
        let json = try LogDrivers.settle(LogConfig(type: "json-file", config: ["max-size": "2m", "max-file": "3"]))
        #expect(json?.format == "json")
        #expect(json?.maxSize == 2 << 20)
        #expect(json?.maxFiles == 3)
        let compressed = LogConfig(type: "json-file", config: ["compress": "true"])
        #expect(try LogDrivers.settle(compressed)?.format == "json")
        #expect(LogDrivers.warnings(compressed).first?.contains("compress has no effect") == true)
        #expect(LogDrivers.warnings(LogConfig(type: "local", config: ["compress": "false"])).isEmpty)
        for options in [["compress": "perhaps"], ["compress": "true", "max-file": "1"]] {
            #expect(refusal { _ = try LogDrivers.settle(LogConfig(type: "json-file", config: options)) } != nil)
        }
        #expect(refusal { _ = try LogDrivers.settle(LogConfig(type: "gelf")) } != nil)
        #expect(refusal { _ = try LogDrivers.settle(LogConfig(type: "local", config: ["max-size": "huge"])) } != nil)
        #expect(refusal { _ = try LogDrivers.settle(LogConfig(type: "local", config: ["colour": "red"])) } != nil)
    }
}

@Suite struct MountRequestTests {
    @Test func binds() throws {
        let bind = try MountRequest.parse(bind: "/host/:/inside/../in:ro,rslave")
        #expect(bind.kind == .bind)
        #expect(bind.source == "/host")
        #expect(bind.destination == "/in")
        #expect(bind.readOnly)
        #expect(bind.propagation == "rslave")
        #expect(bind.createsSource)
        let volume = try MountRequest.parse(bind: "data:/data:nocopy")
        #expect(volume.kind == .volume)
        #expect(volume.source == "data")
        #expect(!volume.copiesImageContent)
        #expect(try MountRequest.parse(bind: "/data").source.isEmpty)
    }

    @Test(arguments: [
        "", ":", "a:b", "/a:relative", "/a:/", "/a:/b:wrong", "/a:/b:ro:rw", "/a:/b:ro,rw", "v:/b:shared",
        "no/name:/b", "/a:/b:nocopy", "..:/x",
    ])
    func refused(_ text: String) {
        #expect(refusal { _ = try MountRequest.parse(bind: text) } != nil)
    }

    @Test func tmpfsOptions() throws {
        #expect(try TmpfsOptions.merged("") == ["noexec", "nosuid", "nodev"])
        #expect(try TmpfsOptions.merged("exec,size=1m") == ["nosuid", "nodev", "exec", "size=1m"])
        #expect(refusal { _ = try TmpfsOptions.merged("loop") } != nil)
    }

    @Test func mountObjects() throws {
        var mount = Mount()
        mount.type = "bind"
        mount.source = "/src"
        mount.target = "/t"
        #expect(try MountRequest(mount).createsSource == false)
        mount.source = ""
        #expect(
            refusal { _ = try MountRequest(mount) }
                == "invalid mount config for type \"bind\": field Source must not be empty")
        mount.type = "floppy"
        #expect(refusal { _ = try MountRequest(mount) }?.contains("mount type unknown") == true)
        var volume = Mount()
        volume.type = "volume"
        volume.source = "v"
        volume.target = "/t"
        volume.volumeOptions = .init { $0.subpath = "../escape" }
        #expect(refusal { _ = try MountRequest(volume) }?.contains("relative path within the volume") == true)
    }
}

@Suite struct SecurityOptionTests {
    @Test func profiles() throws {
        let options = try SecurityOptions(["apparmor=own", "seccomp=audit"])
        #expect(options.appArmorProfile == "own" && options.seccompAudit && options.seccomp == .standard)
        #expect(AppArmor.absent.profile(asked: "own", privileged: false) == nil)
        #expect(AppArmor.ready.profile(asked: nil, privileged: false) == AppArmor.defaultProfile)
        #expect(AppArmor.ready.profile(asked: nil, privileged: true) == "unconfined")
        #expect(AppArmor.ready.profile(asked: "own", privileged: true) == "own")
        #expect(AppArmor.withoutDefault("x").profile(asked: nil, privileged: false) == nil)
        #expect(AppArmor.withoutDefault("x").profile(asked: "own", privileged: false) == "own")
    }
}

@Suite struct ExtremeNumberTests {
    @Test func limitsAtTheEdge() throws {
        var resources = Resources()
        resources.pidsLimit = .max
        #expect(try RuntimeSpec.Resources(resources, extraTasks: 1).pids?.limit == -1)
        resources.pidsLimit = 7
        #expect(try RuntimeSpec.Resources(resources, extraTasks: 1).pids?.limit == 8)
        resources.cpuRealtimePeriod = -1
        #expect(throws: EngineError.self) {
            try ResourceRules.validate(&resources, host: .full, isUpdate: false)
        }
    }
}
