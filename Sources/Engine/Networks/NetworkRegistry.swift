import Synchronization

/// The networks by id and by name. Names are reserved before anything is made.
final class NetworkRegistry: Sendable {
    private struct State {
        var networks: [String: NetworkRecord] = [:]
        /// Names to ids; also of networks that are being made.
        var names: [String: String] = [:]
    }

    private let state = Mutex(State())

    /// Every network, oldest first.
    var all: [NetworkRecord] {
        state.withLock { Array($0.networks.values) }.sorted {
            ($0.document.created, $0.name) < ($1.document.created, $1.name)
        }
    }

    func network(_ id: String) -> NetworkRecord? { state.withLock { $0.networks[id] } }

    func named(_ name: String) -> NetworkRecord? {
        state.withLock { state in state.names[name].flatMap { state.networks[$0] } }
    }

    /// The network that `text` means: an id, a name, or the unambiguous beginning of an id.
    func resolve(_ text: String) throws(EngineError) -> NetworkRecord {
        let found = state.withLock { state -> Result<NetworkRecord, EngineError> in
            if let network = state.networks[text] { return .success(network) }
            if let id = state.names[text], let network = state.networks[id] { return .success(network) }
            let matches =
                text.isEmpty || !Identifier.isHexadecimal(text)
                ? [] : state.networks.values.filter { $0.id.hasPrefix(text) }
            if matches.count > 1 {
                return .failure(
                    .invalid("network \(text) is ambiguous (\(matches.count) matches found based on ID prefix)"))
            }
            return matches.first.map { .success($0) } ?? .failure(.notFound("network \(text) not found"))
        }
        return try found.get()
    }

    /// Takes `name` for `id`.
    func reserve(_ name: String, for id: String) throws(EngineError) {
        let isTaken = state.withLock { state -> Bool in
            if state.names[name] != nil { return true }
            state.names[name] = id
            return false
        }
        if isTaken { throw .conflict("network with name \(name) already exists") }
    }

    func release(_ name: String, of id: String) {
        state.withLock { state in
            if state.names[name] == id { state.names[name] = nil }
        }
    }

    /// Adds a network, or puts it in place of what was known of it.
    func set(_ network: NetworkRecord) {
        state.withLock { state in
            state.networks[network.id] = network
            state.names[network.name] = network.id
        }
    }

    func remove(_ network: NetworkRecord) {
        state.withLock { state in
            state.networks[network.id] = nil
            if state.names[network.name] == network.id { state.names[network.name] = nil }
        }
    }
}
