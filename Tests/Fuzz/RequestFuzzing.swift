import EngineAPI
import Glibc
import LinuxKernel
import OCI

@testable import APIServer
@testable import Engine

/// Requests to the daemon.
enum RequestFuzzing {
    private static func decode<Body: WireObject>(_ type: Body.Type) -> @Sendable (UnsafeRawBufferPointer) throws -> Void
    {
        { input in
            let body = try JSON.decode(Body.self, from: input)
            let text = try JSON.encode(body)
            let again = try JSON.decode(Body.self, from: text)
            try require(try JSON.encode(again) == text, "\(Body.self) is the same after it was written and read")
        }
    }

    /// Every kind of body that a route reads.
    private static let kinds: [@Sendable (UnsafeRawBufferPointer) throws -> Void] = [
        decode(ContainerCreateRequest.self), decode(ContainerUpdateRequest.self), decode(ContainerConfig.self),
        decode(ExecCreateRequest.self), decode(ExecStartRequest.self), decode(NetworkCreateRequest.self),
        decode(NetworkConnectRequest.self), decode(NetworkDisconnectRequest.self), decode(PortChangeRequest.self),
        decode(VolumeCreateRequest.self), decode(AuthConfig.self),
    ]

    static func bodies(_ input: UnsafeRawBufferPointer) throws {
        let (kind, rest) = input.variant
        try kinds[kind % kinds.count](rest)
    }

    /// A request's target, and what stands in its parameters.
    static func query(_ input: UnsafeRawBufferPointer) throws {
        let (kind, rest) = input.variant
        let text = String(decoding: rest, as: UTF8.self)
        switch kind % 8 {
        case 0: _ = try Query(text[...])
        case 1:
            let filters = try Filters(json: text)
            let again = try Filters(json: JSON.string(filters))
            require(again == filters, "filters are the same after they were written and read")
        case 2: _ = Timestamp.parseParameter(text, now: 1_700_000_000_000_000_000)
        case 3: _ = try PercentEncoding.decode(text[...].utf8)
        case 4: _ = try InstructionWords.expand(text) { $0 == "A" ? "$A" : nil }
        case 5: _ = try ConfigChanges.apply([text], to: ContainerConfig())
        case 6: _ = try PortRules.parse(text)
        default: _ = Names.isValid(text)
        }
    }

    /// What `create` checks before it makes anything.
    static func rules(_ input: UnsafeRawBufferPointer) throws {
        let request = try JSON.decode(ContainerCreateRequest.self, from: input)
        var config = request.config
        var host = request.hostConfig ?? HostConfig()
        try? ConfigRules.validate(&config)
        _ = try? ConfigRules.command(config)
        let defaults = EngineConfiguration(
            dataRoot: "/nonexistent", executionRoot: "/nonexistent", registries: [], runtimePath: "/nonexistent")
        for bind in host.binds ?? [] {
            guard let mount = try? MountRequest.parse(bind: bind) else { continue }
            require(
                mount.destination.hasPrefix("/") && !mount.destination.contains("/../"), "a mount's target is clean")
        }
        for (target, options) in host.tmpfs ?? [:] {
            _ = try? MountRequest.tmpfs(destination: target, options: options)
        }
        for rule in host.deviceCgroupRules ?? [] { _ = try? Devices.parse(rule: rule) }
        _ = try? PortRules.requests(host.portBindings ?? [:])
        _ = try? SecurityOptions(host.securityOpt ?? [])
        _ = try ConfigRules.validate(&host, config: config, capacity: .full, defaults: defaults)
        _ = try NamespaceModes(host)
        // What was accepted can be carried out.
        _ = try? RuntimeSpec.Resources(host.resources, extraTasks: 1)
        _ = try SpecGenerator.rlimits(host.ulimits ?? [])
        _ = HealthCheck(config)
        _ = host.rateLimits
    }
}
