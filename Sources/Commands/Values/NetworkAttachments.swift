import EngineAPI

/// A network that `--network` names: by its name alone, or as `name=…,alias=…,ip=…`.
struct NetworkAttachment: Sendable, Equatable {
    var target = ""
    var aliases: [String] = []
    var links: [String] = []
    var driverOptions: [String: String] = [:]
    var ipv4Address = ""
    var ipv6Address = ""
    var linkLocalAddresses: [String] = []
    var macAddress = ""
    var gatewayPriority = 0
    /// Whether it was written as `name=…`.
    var isDetailed = false

    init(name: String) { target = name }

    init(parsing word: String) throws(InvalidValue) {
        guard word.contains("="), !word.hasPrefix("=") else {
            target = word
            return
        }
        isDetailed = true
        for field in try csvFields(word) {
            let (key, text) = cut(field.lowercased(), "=")
            guard let text, !key.isEmpty else { throw InvalidValue("invalid field \(field)") }
            let value = trimmed(text)
            switch trimmed(key) {
            case "name": target = value
            case "alias": aliases.append(value)
            case "ip": ipv4Address = try parseAddress(value)
            case "ip6": ipv6Address = try parseAddress(value)
            case "mac-address": macAddress = value
            case "link-local-ip": linkLocalAddresses.append(try parseAddress(value))
            case "driver-opt":
                let (name, option) = cut(value, "=")
                guard let option else { throw InvalidValue("invalid key value pair format in driver options") }
                driverOptions[trimmed(name)] = trimmed(option)
            case "gw-priority":
                guard let priority = Int(value) else {
                    throw InvalidValue("invalid gw-priority (\(value)): invalid syntax")
                }
                gatewayPriority = priority
            default: throw InvalidValue("invalid field key \(key)")
            }
        }
        if target.isEmpty { throw InvalidValue("network name/id is not specified") }
    }

    /// Whether this is a network of the user's, not one of the modes that every container may have.
    var isUserDefined: Bool {
        !["", "default", "bridge", "host", "none", "nat"].contains(target) && !target.hasPrefix("container:")
    }

    /// The endpoint that the API is asked for.
    func endpoint() throws(CommandFailure) -> EndpointSettings {
        if !isUserDefined {
            if !aliases.isEmpty {
                throw CommandFailure("network-scoped aliases are only supported for user-defined networks")
            }
            if !links.isEmpty { throw CommandFailure("links are only supported for user-defined networks") }
        }
        var endpoint = EndpointSettings()
        endpoint.gwPriority = gatewayPriority
        endpoint.aliases = aliases.isEmpty ? nil : aliases
        endpoint.links = links.isEmpty ? nil : links
        endpoint.driverOpts = driverOptions.isEmpty ? nil : driverOptions
        endpoint.macAddress = macAddress
        if !ipv4Address.isEmpty || !ipv6Address.isEmpty || !linkLocalAddresses.isEmpty {
            endpoint.ipamConfig = EndpointSettings.IPAMConfig {
                $0.ipv4Address = ipv4Address
                $0.ipv6Address = ipv6Address
                $0.linkLocalIPs = linkLocalAddresses.isEmpty ? nil : linkLocalAddresses
            }
        }
        return endpoint
    }
}
