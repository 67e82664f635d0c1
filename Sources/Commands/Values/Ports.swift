import EngineAPI

/// One port of a container (`80/tcp`) and the address of the host that leads to it.
struct PortMapping: Equatable {
    let port: String
    let binding: PortBinding
}

/// Reads `--publish [ip:][host:]container[/protocol]`, ranges included, or `published=…,target=…,protocol=…`.
func parsePublish(_ word: String) throws(InvalidValue) -> [PortMapping] {
    var word = word
    if word.contains("=") {
        var fields = ["protocol": "tcp"]
        for field in word.split(byte: ",", omittingEmptySubsequences: false) {
            let (name, value) = cut(field, "=")
            guard let value, !name.isEmpty else {
                throw InvalidValue("invalid publish opts format (should be name=value but got '\(field)')")
            }
            fields[name] = value
        }
        word = "\(fields["published"] ?? ""):\(fields["target"] ?? "")/\(fields["protocol"] ?? "")"
    }
    let parts = word.split(byte: ":", omittingEmptySubsequences: false)
    let (container, named) = cut(parts[parts.count - 1], "/")
    let host = parts.count > 1 ? String(parts[parts.count - 2]) : ""
    var address = parts.count > 2 ? parts.dropLast(2).joined(separator: ":") : ""
    if container.isEmpty { throw InvalidValue("no port specified: \(word)<empty>") }
    let transport = (named ?? "").isEmpty ? "tcp" : (named ?? "").lowercased()
    guard ["tcp", "udp", "sctp"].contains(transport) else { throw InvalidValue("invalid proto: \(transport)") }
    if address.hasPrefix("["), address.hasSuffix("]") { address = String(address.dropFirst().dropLast()) }
    if !address.isEmpty && !isIPAddress(address) { throw InvalidValue("invalid IP address: \(address)") }
    guard let ports = portRange(container) else { throw InvalidValue("invalid containerPort: \(container)") }
    if host.isEmpty {
        return ports.map {
            PortMapping(port: "\($0)/\(transport)", binding: PortBinding(hostIP: address, hostPort: ""))
        }
    }
    guard let hostPorts = portRange(host) else { throw InvalidValue("invalid hostPort: \(host)") }
    if ports.count == 1 && hostPorts.count > 1 {
        // One port of the container, any free one of the host's range.
        let binding = PortBinding(hostIP: address, hostPort: "\(hostPorts.lowerBound)-\(hostPorts.upperBound)")
        return [PortMapping(port: "\(ports.lowerBound)/\(transport)", binding: binding)]
    }
    if ports.count != hostPorts.count {
        throw InvalidValue("invalid ranges specified for container and host Ports: \(container) and \(host)")
    }
    return zip(ports, hostPorts).map { port, hostPort in
        PortMapping(port: "\(port)/\(transport)", binding: PortBinding(hostIP: address, hostPort: "\(hostPort)"))
    }
}

/// Reads `--expose port[-port][/protocol]`.
func parseExpose(_ word: String) throws(InvalidValue) -> [String] {
    let (range, named) = cut(word, "/")
    guard let ports = portRange(range) else { throw InvalidValue("invalid range format for --expose: \(word)") }
    let transport = (named ?? "").isEmpty ? "tcp" : (named ?? "").lowercased()
    guard ["tcp", "udp", "sctp"].contains(transport) else { throw InvalidValue("invalid proto: \(transport)") }
    return ports.map { "\($0)/\(transport)" }
}

private func portRange(_ text: String) -> ClosedRange<Int>? {
    let (low, high) = cut(text, "-")
    guard let low = UInt16(low), let high = UInt16(high ?? "\(low)"), low <= high else { return nil }
    return Int(low)...Int(high)
}
