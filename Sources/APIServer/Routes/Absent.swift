import EngineAPI
import NIOHTTP1

/// What this daemon does not have, refused in the words that clients know.
enum Absent {
    static let swarm = Failure(
        .serviceUnavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to "
            + "swarm and try again.")
    static let noSwarm = Failure.notImplemented("swarm mode is not supported by this daemon")
    static let build = Failure.notImplemented(
        "cannot build images yet: make them with another tool and load or pull them")
    static let plugins = Failure.notImplemented("plugins are not supported by this daemon")
}

extension Router {
    mutating func addAbsent() {
        for path in ["/swarm/init", "/swarm/join"] { add(.POST, path) { _ in throw Absent.noSwarm } }
        add(.POST, "/swarm/leave") { _ in throw Failure(.serviceUnavailable, "This node is not part of a swarm") }
        for kind in ["swarm", "nodes", "services", "tasks", "secrets", "configs"] {
            for method in [HTTPMethod.GET, .POST, .DELETE] {
                add(method, "/\(kind)") { _ in throw Absent.swarm }
                add(method, "/\(kind)/{name}") { _ in throw Absent.swarm }
            }
        }
        add(.POST, "/build", body: .streamed) { _ in throw Absent.build }
        // There is no build cache, so pruning it is done.
        add(.POST, "/build/prune") { _ in
            .json(["CachesDeleted": JSONValue.null, "SpaceReclaimed": .integer(0)])
        }
        add(.GET, "/plugins") { _ in .json([] as [JSONValue]) }
        add(.GET, "/plugins/privileges") { _ in throw Absent.plugins }
        add(.GET, "/plugins/{name}/json") { request in
            throw Failure(.notFound, "plugin \"\(request.name)\" not found")
        }
        for (method, action) in [
            (HTTPMethod.POST, "/enable"), (.POST, "/disable"), (.POST, "/set"), (.POST, "/upgrade"), (.POST, "/push"),
            (.DELETE, ""),
        ] {
            add(method, "/plugins/{name}\(action)") { request in
                throw Failure(.notFound, "plugin \"\(request.name)\" not found")
            }
        }
        add(.POST, "/plugins/{name}") { _ in throw Absent.plugins }
        add(.OPTIONS, "/{name}") { _ in .nothing(.ok) }
    }
}
