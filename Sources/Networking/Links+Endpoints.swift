import Glibc
import LinuxKernel

extension Links {
    /// Makes the container's interface, configured and up. Undone where it throws.
    public func attach(_ plan: EndpointPlan, to sandbox: Sandbox) throws(NetworkingError) -> Attachment {
        guard (1...maximumLinkNameLength).contains(plan.interfaceName.utf8.count) else {
            throw NetworkingError(
                .invalid, "the interface name \"\(plan.interfaceName)\" is refused: it has 1 to 15 bytes")
        }
        return try sandbox.use { (inside) throws(NetworkingError) in
            let attachment: Attachment
            switch plan.parent {
            case .bridge(let bridge):
                attachment = Attachment(
                    hostName: try makeVeth(plan, bridge: bridge, inside), interfaceName: plan.interfaceName)
            case .macvlan(let parent, let mode):
                try makeMacvlan(plan, parent: parent, mode: mode, inside)
                attachment = Attachment(hostName: nil, interfaceName: plan.interfaceName)
            }
            do throws(NetworkingError) {
                try inside.configure(plan)
                if !plan.rates.isUnlimited { try setRates(plan.rates, of: attachment, inside) }
            } catch {
                try? detach(attachment, inside)
                throw error
            }
            return attachment
        }
    }

    /// - Returns: the name of the host's end, up and a port of the bridge or of a shard of it.
    private func makeVeth(
        _ plan: EndpointPlan, bridge: String, _ inside: borrowing OpenSandbox
    ) throws(NetworkingError) -> String {
        let beginning = "the interface \(plan.interfaceName) on \(bridge) can't be made"
        guard let master = try link(bridge) else {
            throw NetworkingError(.notFound, "\(beginning): there is no bridge \(bridge)")
        }
        if let name = try makeVeth(plan, on: master, inside, beginning) { return name }
        return try sharding.withLock { (_) throws(NetworkingError) in
            for shard in try shards(of: master) {
                if let name = try makeVeth(plan, on: shard, inside, beginning) { return name }
            }
            let shard = try makeShard(of: master, isolated: plan.isolated)
            if let name = try makeVeth(plan, on: shard, inside, beginning) { return name }
            throw NetworkingError(.system, "\(beginning): a new shard of the bridge takes no interface")
        }
    }

    /// - Returns: nil where the bridge has no port left.
    private func makeVeth(
        _ plan: EndpointPlan, on master: Link, _ inside: borrowing OpenSandbox, _ beginning: String
    ) throws(NetworkingError) -> String? {
        for _ in 0..<Links.maximumNameAttempts {
            let name = randomName(.veth)
            let pair = VethPair(
                name: name, master: master.index, peerName: plan.interfaceName, peerMAC: plan.mac,
                peerNamespace: inside.namespace.raw, mtu: plan.mtu ?? master.mtu)
            var up = LinkChange()
            up.isUp = true
            let failures = try sentence(beginning) { () throws(NetlinkError) in
                try socket.perform([
                    .makeVeth(pair), .changeLink(.name(name), portProperties(isolated: plan.isolated)),
                    .changeLink(.name(name), up),
                ])
            }
            switch failures[0]?.errno {
            case nil:
                if let failure = failures.compactMap({ $0 }).first {
                    try? remove(name)
                    throw NetworkingError(failure, beginning)
                }
                return name
            case EEXIST where try !inside.has(plan.interfaceName): continue
            case EEXIST:
                throw NetworkingError(
                    .conflict, "\(beginning): the container has an interface of that name already")
            case EXFULL: return nil
            default: throw NetworkingError(failures[0]!, beginning)
            }
        }
        throw NetworkingError(.conflict, "\(beginning): no free name for its host's end was found")
    }

    func portProperties(isolated: Bool) -> LinkChange {
        var port = LinkChange()
        // A port has no business in IPv6 itself.
        if Sysctl.hasIPv6 { port.makesIPv6Address = false }
        if isolated { port.isolated = true }
        if Links.needsHairpin { port.hairpin = true }
        return port
    }

    /// With br_netfilter, a packet to a published port that comes back into the same bridge is rewritten before it is
    /// routed: if its container is the one that sent it, it must leave by the port that it came from.
    private static var needsHairpin: Bool {
        Sysctl.read("bridge/bridge-nf-call-iptables") == "1" || Sysctl.read("bridge/bridge-nf-call-ip6tables") == "1"
    }

    private func makeMacvlan(
        _ plan: EndpointPlan, parent: String, mode: MacvlanMode, _ inside: borrowing OpenSandbox
    ) throws(NetworkingError) {
        let beginning = "the macvlan \(plan.interfaceName) on \(parent) can't be made"
        guard let lower = try link(parent) else {
            throw NetworkingError(.notFound, "\(beginning): the host has no interface \(parent)")
        }
        // The name is taken in the daemon's namespace for a moment before it moves, so not `eth0`.
        var name = randomName(.veth)
        for _ in 0..<Links.maximumNameAttempts {
            let message = NetlinkMessage.makeMacvlan(
                name: name, parent: lower.index, mode: mode, mac: plan.mac, mtu: plan.mtu,
                namespace: inside.namespace.raw)
            let failure = try sentence(beginning) { () throws(NetlinkError) in try socket.perform([message])[0] }
            switch failure?.errno {
            case nil:
                do throws(NetworkingError) {
                    try inside.rename(name, plan.interfaceName)
                } catch {
                    try? inside.remove(name)
                    throw error
                }
                return
            case EEXIST: name = randomName(.veth)
            case EBUSY, EINVAL:
                throw NetworkingError(
                    .conflict,
                    "\(beginning): \(failure!.reason); an interface that is a bridge's port, or another macvlan in passthru "
                        + "mode on it, rules it out")
            default: throw NetworkingError(failure!, beginning)
            }
        }
        throw NetworkingError(.conflict, "\(beginning): no free name was found")
    }

    /// Removes the interface; no error where it is gone. `sandbox` may be nil where it is gone with its interfaces.
    public func detach(_ attachment: Attachment, from sandbox: Sandbox?) throws(NetworkingError) {
        if attachment.hostName != nil {
            try removeHostEnd(attachment)
        } else if let sandbox {
            try sandbox.use { (inside) throws(NetworkingError) in try detach(attachment, inside) }
        }
    }

    private func detach(_ attachment: Attachment, _ inside: borrowing OpenSandbox) throws(NetworkingError) {
        if attachment.hostName != nil {
            try removeHostEnd(attachment)
        } else {
            try inside.remove(attachment.interfaceName)
            try inside.remove(OpenSandbox.ifbName(attachment.interfaceName))
        }
    }

    /// Removes what stays on the host when an interface goes with its namespace: the ifb of its limits.
    public func sweep(after attachment: Attachment) throws(NetworkingError) {
        guard let hostName = attachment.hostName else { return }
        let name = Links.ifbName(hostName)
        try sentence("the interface \(name) can't be removed") { () throws(NetlinkError) in
            try socket.remove([.name(name)])
        }
    }

    private func removeHostEnd(_ attachment: Attachment) throws(NetworkingError) {
        guard let hostName = attachment.hostName else { return }
        try sentence("the interface \(hostName) can't be removed") { () throws(NetlinkError) in
            try socket.remove([.name(hostName), .name(Links.ifbName(hostName))])
        }
    }

    /// Replaces the container's default routes, after networks were connected or disconnected.
    public func setDefaultRoutes(_ routes: [DefaultRoute], in sandbox: Sandbox) throws(NetworkingError) {
        try sandbox.use { (inside) throws(NetworkingError) in try inside.setDefaultRoutes(routes) }
    }

    // MARK: Rates

    /// Replaces the interface's limits.
    public func setRates(
        _ rates: RateLimits, of attachment: Attachment, in sandbox: Sandbox
    ) throws(NetworkingError) {
        try sandbox.use { (inside) throws(NetworkingError) in try setRates(rates, of: attachment, inside) }
    }

    /// On the host's end where there is one, out of the container's reach; what it sends the container receives.
    private func setRates(
        _ rates: RateLimits, of attachment: Attachment, _ inside: borrowing OpenSandbox
    ) throws(NetworkingError) {
        try sentence("the rate limits of \(attachment.interfaceName) can't be set") { () throws(NetlinkError) in
            if let hostName = attachment.hostName {
                try socket.shape(
                    hostName, sent: rates.ingress, received: rates.egress, ifb: Links.ifbName(hostName))
            } else {
                let name = attachment.interfaceName
                try inside.netlink.shape(
                    name, sent: rates.egress, received: rates.ingress, ifb: OpenSandbox.ifbName(name))
            }
        }
    }
}
