import Engine
import EngineAPI
import NIOHTTP1

extension Router {
    mutating func addNetworks(_ engine: Engine) {
        add(.GET, "/networks") { request in
            let filters = try request.query.filters()
            // Lists name the containers in a network until 1.28.
            let networks = try await engine.networks(filters: filters, verbose: request.version < APIVersion(1, 28))
            return .json(networks)
        }
        add(.POST, "/networks/create") { request in
            var creation = try request.document(NetworkCreateRequest.self, required: true)
            if request.version < APIVersion(1, 48) { creation.enableIPv4 = nil }
            return .json(try await engine.createNetwork(creation), status: .created)
        }
        add(.POST, "/networks/prune") { request in
            .json(try await engine.pruneNetworks(filters: try request.query.filters()))
        }
        add(.POST, "/networks/{name}/connect") { request in
            var connection = try request.document(NetworkConnectRequest.self, required: true)
            if request.version < APIVersion(1, 48) { connection.endpointConfig?.gwPriority = 0 }
            try await engine.connectNetwork(request.name, connection)
            return .nothing(.ok)
        }
        add(.POST, "/networks/{name}/disconnect") { request in
            let disconnection = try request.document(NetworkDisconnectRequest.self, required: true)
            try await engine.disconnectNetwork(request.name, disconnection)
            return .nothing(.ok)
        }
        add(.GET, "/networks/{name}") { request in
            if let scope = request.query.text("scope"), scope != "local" {
                throw Failure(.notFound, "network \(request.name) not found")
            }
            return .json(try await engine.inspectNetwork(request.name))
        }
        add(.DELETE, "/networks/{name}") { request in
            try await engine.removeNetwork(request.name)
            return .nothing()
        }
        addPorts(engine)
    }

    /// This engine's own: ports of a container that may be running.
    private mutating func addPorts(_ engine: Engine) {
        add(.POST, "/containers/{name}/ports/add") { request in
            let change = try request.document(PortChangeRequest.self, required: true)
            return .json(try await engine.addPorts(request.name, change))
        }
        add(.POST, "/containers/{name}/ports/remove") { request in
            let change = try request.document(PortChangeRequest.self, required: true)
            return .json(try await engine.removePorts(request.name, change))
        }
    }
}
