import LinuxKernel
import Networking

/// The networks of one run of a container: what is known of them and what holds them.
struct NetworkRun: Sendable {
    var state: NetworkState
    var reservations: [PortReservation] = []
    /// nil until there is one.
    var sandbox: Sandbox?
    /// Whether the user asked for one of the addresses: then the next one to have it can't wait until the kernel has
    /// cleaned up.
    var hasFixedAddress = false

    init() { state = NetworkState(sandbox: "", endpoints: [], ports: []) }

    /// The default routes of a container: through the network that is its way out.
    var defaultRoutes: [DefaultRoute] {
        guard let way = state.gateway else { return [] }
        return way.gateways.map { DefaultRoute(gateway: $0, interfaceName: way.attachment.interfaceName) }
    }
}
