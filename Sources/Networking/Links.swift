import LinuxKernel

/// The kernel's links of one daemon: bridges, and the interfaces of its containers.
///
/// Every call is a few messages on a netlink socket and blocks for well under a millisecond, unless the kernel's one
/// lock for all links (RTNL) is held by somebody else. May be used from several threads.
public final class Links: Sendable {
    /// 8 hex digits that all names carry.
    public let instance: String

    public init(instance: String) throws(NetworkingError) {
        self.instance = instance
    }

    // MARK: Bridges

    /// `br<instance><5 hex>`, not taken when it is made.
    public func newBridgeName() throws(NetworkingError) -> String { "" }

    /// Makes the bridge, or brings one that exists into the shape that the plan says; up afterwards. Forwarding is turned
    /// on where it is off.
    /// - Throws: `.conflict` when the name is taken by something that isn't a bridge.
    public func ensureBridge(_ plan: BridgePlan) throws(NetworkingError) {}

    /// Removes the bridge unless it wasn't made by us (then only the plan's addresses go); no error where it is gone.
    public func removeBridge(_ plan: BridgePlan) throws(NetworkingError) {}

    /// The kernel forwards packets between interfaces from here on.
    /// - Throws: a sentence that says what to do, where the host doesn't allow to change it.
    public func enableForwarding(ipv6: Bool) throws(NetworkingError) {}

    // MARK: Containers

    /// Makes the container's interface, configured and up. Undone where it throws.
    public func attach(_ plan: EndpointPlan, to sandbox: Sandbox) throws(NetworkingError) -> Attachment {
        throw NetworkingError(.system, "not yet")
    }

    /// Removes the interface; no error where it is gone. `sandbox` may be nil where it is gone with its interfaces.
    public func detach(_ attachment: Attachment, from sandbox: Sandbox?) throws(NetworkingError) {}

    /// Replaces the interface's limits.
    public func setRates(
        _ rates: RateLimits, of attachment: Attachment, in sandbox: Sandbox
    ) throws(NetworkingError) {}

    /// Replaces the container's default routes, after networks were connected or disconnected.
    public func setDefaultRoutes(_ routes: [DefaultRoute], in sandbox: Sandbox) throws(NetworkingError) {}

    // MARK: The host

    /// Names of the links in the daemon's namespace that carry our instance: bridges, veths, ifbs. What no record names
    /// is to be removed.
    public func leftovers() throws(NetworkingError) -> [String] { [] }

    /// Removes a link of the daemon's namespace; no error where it is gone.
    public func remove(_ name: String) throws(NetworkingError) {}

    /// The subnets that the host has addresses in or routes to, default routes left out; those on our own bridges too.
    public func hostNetworks() throws(NetworkingError) -> [HostNetwork] { [] }
}
