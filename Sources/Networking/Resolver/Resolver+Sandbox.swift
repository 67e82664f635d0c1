extension Resolver {
    /// Serves a container on the sockets of its sandbox.
    public func serve(_ container: String, _ sockets: consuming ResolverSockets, _ settings: Settings) {
        serve(container, udp: sockets.udp, tcp: sockets.tcp, settings)
    }
}
