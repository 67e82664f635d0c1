/// `port`: where the ports of a container can be reached.
enum PortCommand {
    static var command: Command {
        Command(
            spellings: ["port", "container port"],
            summary: "List port mappings or a specific mapping for the container",
            usage: "CONTAINER [PRIVATE_PORT[/PROTO]]", operands: .between(1, 2), completion: .runningContainers
        ) { invocation in
            let name = invocation.operands[0]
            let container = try invocation.engine().json(.GET, "/containers/\(pathPart(name))/json")
            let ports = container["NetworkSettings"]["Ports"].members
            if invocation.operands.count == 2 {
                let (port, named) = cut(invocation.operands[1], "/")
                guard let number = UInt16(port) else {
                    let isNumber = !port.isEmpty && port.utf8.allSatisfy { (48...57).contains($0) }
                    throw CommandFailure(
                        "Error: invalid port (\(port)): strconv.ParseUint: parsing \(quoted(port)): "
                            + (isNumber ? "value out of range" : "invalid syntax"))
                }
                let wanted = "\(number)/\((named ?? "tcp").lowercased())"
                let found = ports.first { $0.key == wanted }.map { addresses($0.value) } ?? []
                if found.isEmpty {
                    throw CommandFailure("Error: No public port '\(invocation.operands[1])' published for \(name)")
                }
                output(found.map { $0 + "\n" }.joined())
                return 0
            }
            output(lines(ports))
            return 0
        }
    }

    private static func addresses(_ bindings: OrderedJSON) -> [String] {
        bindings.elements.map { binding in
            let address = binding["HostIp"].string ?? ""
            return (address.contains(":") ? "[\(address)]" : address) + ":\(binding["HostPort"].string ?? "")"
        }
    }

    /// `80/tcp -> 0.0.0.0:8080`, in the order of the ports.
    static func lines(_ ports: [(key: String, value: OrderedJSON)]) -> String {
        func order(_ key: String) -> (Int, String) { (Int(cut(key, "/").0) ?? 0, key) }
        return ports.sorted { order($0.key) < order($1.key) }.map { port, bindings in
            addresses(bindings).map { "\(port) -> \($0)\n" }.joined()
        }.joined()
    }
}
