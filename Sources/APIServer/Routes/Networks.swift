import Engine
import EngineAPI
import NIOHTTP1

/// The networks that exist before bridged networking does: a container's own namespace with loopback (`bridge`,
/// `none`) and the host's.
extension Router {
    mutating func addNetworks(_ engine: Engine) {
        add(.GET, "/networks") { request in
            let filters = try request.query.filters()
            let known: Set = ["dangling", "driver", "id", "label", "name", "scope", "type"]
            if let unknown = filters.firstUnknown(known) { throw InvalidFilter(key: unknown) }
            return .json(predefined.filter { matches($0, filters) })
        }
        add(.POST, "/networks/create") { _ in throw unavailable("make a network") }
        add(.POST, "/networks/prune") { _ in .json(["NetworksDeleted": JSONValue.null]) }
        add(.POST, "/networks/{name}/connect") { request in
            _ = try find(request.name)
            throw unavailable("connect a container to network \(request.name)")
        }
        add(.POST, "/networks/{name}/disconnect") { request in
            _ = try find(request.name)
            throw unavailable("disconnect a container from network \(request.name)")
        }
        add(.GET, "/networks/{name}") { request in
            var network = try find(request.name)
            for container in try await engine.containers(all: false, limit: nil, size: false, filters: Filters())
            where container.hostConfig.networkMode == network.name {
                network.containers?[container.id] = NetworkInspect.EndpointResource {
                    $0.name = container.names?.first.map { String($0.dropFirst()) } ?? ""
                }
            }
            return .json(network)
        }
        add(.DELETE, "/networks/{name}") { request in
            let network = try find(request.name)
            throw Failure(
                .forbidden, "\(network.name) is a pre-defined network and cannot be removed")
        }
    }
}

private let predefined: [NetworkInspect] = [("bridge", "bridge"), ("host", "host"), ("none", "null")].map {
    name, driver in
    NetworkInspect {
        $0.name = name
        $0.driver = driver
        $0.id = identity(name)
        $0.ipam.config = nil
    }
}

/// 64 hex digits that are always the same for a name (FNV-1a, once for each quarter).
private func identity(_ name: String) -> String {
    (UInt8(0)..<4).map { quarter in
        let hash = (Array(name.utf8) + [quarter]).reduce(0xcbf2_9ce4_8422_2325 as UInt64) { hash, byte in
            (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
}

private func find(_ term: String) throws(Failure) -> NetworkInspect {
    if let network = predefined.first(where: { $0.name == term || $0.id == term }) { return network }
    let prefixed = predefined.filter { $0.id.hasPrefix(term) }
    if prefixed.count == 1 { return prefixed[0] }
    throw Failure(.notFound, "network \(term) not found")
}

private func matches(_ network: NetworkInspect, _ filters: Filters) -> Bool {
    func any(_ key: String, _ test: (String) -> Bool) -> Bool {
        filters[key].isEmpty || filters[key].contains(where: test)
    }
    return any("driver") { $0 == network.driver } && any("id") { network.id.hasPrefix($0) }
        && any("name") { network.name.contains($0) } && any("scope") { $0 == network.scope }
        && any("type") { $0 == "builtin" } && filters["label"].isEmpty
        // None of these is ever dangling.
        && !filters["dangling"].contains { ["1", "true"].contains($0) }
}

private func unavailable(_ what: String) -> Failure {
    .notImplemented(
        "cannot \(what): this version has no networks of its own yet; use --network none, host or container:<name>")
}
