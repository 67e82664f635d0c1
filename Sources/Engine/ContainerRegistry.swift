import Synchronization

/// The containers by id and by name. Names are reserved before anything is made.
final class ContainerRegistry: Sendable {
    private struct State {
        var containers: [String: Container] = [:]
        /// Names to ids; also of containers that are being made.
        var names: [String: String] = [:]
    }

    private let state = Mutex(State())

    /// Newest first, as they are listed.
    var all: [Container] {
        state.withLock { Array($0.containers.values) }
    }

    func container(_ id: String) -> Container? { state.withLock { $0.containers[id] } }

    /// The container that `text` means: an id, a name (with or without the leading slash) or the unambiguous beginning
    /// of an id.
    func resolve(_ text: String) throws(EngineError) -> Container {
        let found = state.withLock { state -> Result<Container, EngineError> in
            if let container = state.containers[text] { return .success(container) }
            let name = text.hasPrefix(bytes: "/") ? String(text.dropFirst()) : text
            if let id = state.names[name], let container = state.containers[id] { return .success(container) }
            guard !text.isEmpty, Identifier.isHexadecimal(text) else {
                return .failure(.notFound("No such container: \(text)"))
            }
            let matches = state.containers.keys.filter { $0.hasPrefix(text) }
            if matches.count > 1 {
                return .failure(.invalid("Multiple IDs found with provided prefix: \(text)"))
            }
            guard let id = matches.first, let container = state.containers[id] else {
                return .failure(.notFound("No such container: \(text)"))
            }
            return .success(container)
        }
        return try found.get()
    }

    /// Takes `name` for `id`; `conflict` in dockerd's words when it is taken.
    func reserve(_ name: String, for id: String) throws(EngineError) {
        let owner = state.withLock { state -> String? in
            if let owner = state.names[name] { return owner }
            state.names[name] = id
            return nil
        }
        if let owner, owner != id {
            throw .conflict(
                "Conflict. The container name \"/\(name)\" is already in use by container \"\(owner)\". You have to "
                    + "remove (or rename) that container to be able to reuse that name.")
        }
    }

    /// A random name nobody has, reserved.
    func reserveRandomName(for id: String) -> String {
        var attempts = 0
        while true {
            var name = Names.random()
            if attempts >= 8 { name += String(UInt32.random(in: 0..<1_000_000)) }
            attempts += 1
            if (try? reserve(name, for: id)) != nil { return name }
        }
    }

    func release(_ name: String, of id: String) {
        state.withLock { state in
            if state.names[name] == id { state.names[name] = nil }
        }
    }

    func add(_ container: Container) { state.withLock { $0.containers[container.id] = container } }

    func remove(_ container: Container) {
        let name = container.record.name
        state.withLock { state in
            state.containers[container.id] = nil
            if state.names[name] == container.id { state.names[name] = nil }
        }
    }
}
