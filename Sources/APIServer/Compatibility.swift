import EngineAPI

/// What documents look like to clients of older API versions, and what dockerd makes of their requests.
enum Compatibility {
    // MARK: Answers

    static func info(_ info: SystemInfo, _ version: APIVersion) -> JSONValue {
        var info = info
        if version < APIVersion(1, 25) {
            // `name=seccomp,profile=builtin` was plain `seccomp`.
            info.securityOptions = info.securityOptions?.map { option in
                let names = option.split(byte: ",").filter { $0.hasPrefix("name=") }
                return names.first.map { String($0.dropFirst(5)) } ?? option
            }
        }
        if version < APIVersion(1, 44) {
            info.runtimes = info.runtimes?.mapValues { runtime in
                var runtime = runtime
                runtime.status = nil
                return runtime
            }
        }
        if version < APIVersion(1, 49) {
            info.containerdCommit.expected = info.containerdCommit.id
            info.runcCommit.expected = info.runcCommit.id
            info.initCommit.expected = info.initCommit.id
        }
        var extra: [String: JSONValue] = [:]
        if version < APIVersion(1, 50) {
            extra["BridgeNfIptables"] = .bool(false)
            extra["BridgeNfIp6tables"] = .bool(false)
        }
        return JSONValue(info, adding: extra)
    }

    static func container(_ container: ContainerSummary, _ version: APIVersion) -> ContainerSummary {
        var container = container
        if version < APIVersion(1, 46) { container.hostConfig.annotations = nil }
        if version < APIVersion(1, 48) { container.imageManifestDescriptor = nil }
        return container
    }

    static func container(_ container: ContainerInspect, _ version: APIVersion) -> ContainerInspect {
        var container = container
        if version < APIVersion(1, 45) {
            // A container's short id was one of its aliases in networks of the user's.
            let id = String(container.id.prefix(12))
            let networks = container.networkSettings?.networks
            container.networkSettings?.networks = networks?.mapValues { endpoint in
                guard endpoint.dnsNames != nil, endpoint.aliases?.contains(id) != true else { return endpoint }
                var endpoint = endpoint
                endpoint.aliases = (endpoint.aliases ?? []) + [id]
                return endpoint
            }
        }
        if version < APIVersion(1, 48) { container.imageManifestDescriptor = nil }
        return container
    }

    static func imageSize(_ image: ImageSummary, _ version: APIVersion) -> ImageSummary {
        var image = image
        if version < APIVersion(1, 44) { image.virtualSize = image.size }
        return image
    }

    static func image(_ image: ImageSummary, _ version: APIVersion) -> ImageSummary {
        var image = imageSize(image, version)
        if version < APIVersion(1, 43) && image.repoTags.isEmpty && image.repoDigests.isEmpty {
            image.repoTags = ["<none>:<none>"]
            image.repoDigests = ["<none>@<none>"]
        }
        if version < APIVersion(1, 48) { image.descriptor = nil }
        if version < APIVersion(1, 51) { image.containers = -1 }
        return image
    }

    static func image(_ image: ImageInspect, _ version: APIVersion) -> JSONValue {
        var image = image
        if version < APIVersion(1, 44) {
            image.virtualSize = image.size
            if image.created.isEmpty { image.created = Timestamp.never }
        }
        if version < APIVersion(1, 48) { image.descriptor = nil }
        var document = JSONValue(image)
        // The image's own configuration was written like a container's, every field of it, until 1.50; some fields
        // are kept even now.
        if case .object(var members) = document, case .object(var config)? = members["Config"] {
            let kept = version < APIVersion(1, 50) ? legacyImageConfig : currentImageConfig
            config.merge(kept) { value, _ in value }
            members["Config"] = .object(config)
            document = .object(members)
        }
        return document
    }

    /// Members of `Config` that dockerd 28 still writes when they are empty.
    private static let currentImageConfig: [String: JSONValue] = [
        "Cmd": .null, "Entrypoint": .null, "Env": .null, "Labels": .null, "OnBuild": .null, "User": .string(""),
        "Volumes": .null, "WorkingDir": .string(""),
    ]

    private static let legacyImageConfig: [String: JSONValue] = currentImageConfig.merging([
        "AttachStderr": .bool(false), "AttachStdin": .bool(false), "AttachStdout": .bool(false),
        "Domainname": .string(""), "Hostname": .string(""), "Image": .string(""), "OpenStdin": .bool(false),
        "StdinOnce": .bool(false), "Tty": .bool(false),
    ]) { value, _ in value }

    // MARK: Requests

    /// Takes out of a creation what the client's version did not have, and refuses what it could not have meant;
    /// gives warnings.
    static func adapt(_ request: inout ContainerCreateRequest, _ version: APIVersion) throws(Failure) -> [String] {
        var host = request.hostConfig ?? HostConfig()
        var networking = request.networkingConfig ?? NetworkingConfig()
        var endpoints = networking.endpointsConfig ?? [:]
        if host.networkMode.isEmpty || host.networkMode == "default" {
            host.networkMode = "bridge"
            if let endpoint = endpoints.removeValue(forKey: "default") { endpoints["bridge"] = endpoint }
        }
        if version < APIVersion(1, 25) { host.autoRemove = false }
        if version < APIVersion(1, 40) {
            host.kernelMemoryTCP = 0
            if host.ipcMode.isEmpty { host.ipcMode = "shareable" }
        }
        if version < APIVersion(1, 42) { host.consoleSize = [0, 0] } else { host.kernelMemory = 0 }
        if version < APIVersion(1, 43) { host.annotations = nil }
        if version < APIVersion(1, 44) {
            request.config.healthcheck?.startInterval = 0
            if endpoints.count > 1 {
                throw .badRequest(
                    "Container cannot be created with multiple network endpoints: "
                        + endpoints.keys.sorted().joined(separator: ", "))
            }
        }
        if version < APIVersion(1, 48) { endpoints = endpoints.mapValues { EndpointSettings($0, gwPriority: 0) } }
        if let mounts = host.mounts {
            host.mounts = try mounts.map { mount throws(Failure) in try adapt(mount, version) }
        }
        try moveMACAddress(request.config, host, &endpoints, version)
        let warnings = deprecations(request.config, host, version)
        // 0 and every negative number mean no limit.
        if let limit = host.pidsLimit, limit <= 0 { host.pidsLimit = nil }
        networking.endpointsConfig = endpoints
        request.hostConfig = host
        request.networkingConfig = networking
        return warnings
    }

    /// A container-wide MAC address is the one of its endpoint in the network of its mode; before 1.44 it was the only
    /// one that counted.
    private static func moveMACAddress(
        _ config: ContainerConfig, _ host: HostConfig, _ endpoints: inout [String: EndpointSettings],
        _ version: APIVersion
    ) throws(Failure) {
        let mode = host.networkMode
        let hasEndpoint = mode != "host" && mode != "none" && !mode.hasPrefix("container:")
        if config.macAddress.isEmpty {
            if version < APIVersion(1, 44) {
                for name in endpoints.keys.map({ $0 }) { endpoints[name]?.macAddress = "" }
            }
            return
        }
        guard hasEndpoint else {
            if version >= APIVersion(1, 44) { return }
            throw .badRequest("conflicting options: mac-address and the network mode")
        }
        var endpoint = endpoints[mode] ?? EndpointSettings()
        guard endpoint.macAddress.isEmpty || endpoint.macAddress == config.macAddress || version < APIVersion(1, 44)
        else {
            throw .badRequest(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or "
                    + "be left empty")
        }
        endpoint.macAddress = config.macAddress
        endpoints[mode] = endpoint
    }

    private static func adapt(_ mount: Mount, _ version: APIVersion) throws(Failure) -> Mount {
        var mount = mount
        if version < APIVersion(1, 40) { mount.bindOptions?.nonRecursive = false }
        if version < APIVersion(1, 42) {
            mount.bindOptions?.createMountpoint = false
            if mount.type != "volume" { mount.volumeOptions = nil }
            if mount.type != "tmpfs" { mount.tmpfsOptions = nil }
        } else {
            for (options, isSet, type) in [
                ("VolumeOptions", mount.volumeOptions != nil, "volume"),
                ("BindOptions", mount.bindOptions != nil, "bind"),
                ("TmpfsOptions", mount.tmpfsOptions != nil, "tmpfs"),
            ] where isSet && mount.type != type {
                throw .badRequest("\(options) must not be specified on mount type \"\(mount.type)\"")
            }
        }
        if version < APIVersion(1, 44) && mount.type == "bind" {
            if mount.bindOptions?.readOnlyForceRecursive == true {
                throw .badRequest("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
            }
            // Read-only was never recursive before.
            if mount.readOnly {
                var options = mount.bindOptions ?? Mount.BindOptions()
                options.readOnlyNonRecursive = true
                mount.bindOptions = options
            }
        }
        if version < APIVersion(1, 45), mount.volumeOptions?.subpath.isEmpty == false {
            throw .badRequest("VolumeOptions.Subpath needs API v1.45 or newer")
        }
        if version < APIVersion(1, 48) && mount.type == "image" {
            throw .badRequest("Mount type \"Image\" needs API v1.48 or newer")
        }
        return mount
    }

    private static func deprecations(
        _ config: ContainerConfig, _ host: HostConfig, _ version: APIVersion
    ) -> [String] {
        var warnings: [String] = []
        if !host.volumeDriver.isEmpty, version >= APIVersion(1, 48),
            host.mounts?.contains(where: {
                $0.type == "volume" && ($0.volumeOptions?.driverConfig?.name ?? "").isEmpty
            }) == true
        {
            warnings.append(
                "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via "
                    + "'mount'. Use '--mount type=volume,volume-driver=...' instead")
        }
        if !config.macAddress.isEmpty, version >= APIVersion(1, 44) {
            warnings.append(
                "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig "
                    + "instead.")
        }
        return warnings
    }
}

extension EndpointSettings {
    fileprivate init(_ settings: EndpointSettings, gwPriority: Int) {
        self = settings
        self.gwPriority = gwPriority
    }
}

extension JSONValue {
    /// A document as a tree, with members that its type does not have.
    fileprivate init(_ document: some WireValue, adding members: [String: JSONValue] = [:]) {
        guard let bytes = try? JSON.encode(document), let tree = try? JSON.decode(JSONValue.self, from: bytes),
            case .object(let own) = tree
        else {
            self = .null
            return
        }
        self = .object(own.merging(members) { value, _ in value })
    }
}
