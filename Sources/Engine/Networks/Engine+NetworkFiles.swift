import EngineAPI
import LinuxKernel
import Networking

/// A container's `/etc/hosts` and `/etc/resolv.conf`, and what the resolver answers about it.
extension Engine {
    /// Writes what a container that starts finds in /etc, and enters it among the names of its networks.
    func introduce(_ record: ContainerRecord, _ run: NetworkRun) throws {
        let directory = paths.container(record.id)
        try Files.write(directory + "/hosts", try hostsFile(record, run.state), mode: 0o644)
        let (file, resolver) = resolvConf(record, run.state)
        try Files.write(directory + "/resolv.conf", file.text, mode: 0o644)
        try serveNames(record, run, resolver)
    }

    /// Enters a container among the names of its networks, and serves names to it.
    func serveNames(_ record: ContainerRecord, _ run: NetworkRun, _ settings: Resolver.Settings?) throws {
        for endpoint in run.state.endpoints { enterNames(record, endpoint) }
        guard let settings, let sandbox = run.sandbox else { return }
        var hosts: [String: [IPAddress]] = [:]
        for (name, addresses) in try extraHosts(record, run.state) { hosts[name, default: []] += addresses }
        hostNetworks.names.setHosts(hosts, container: record.id)
        try hostNetworks.serveNames(record.id, in: sandbox, settings)
    }

    /// On the default network, as in Docker, containers don't know one another's names.
    func enterNames(_ record: ContainerRecord, _ endpoint: NetworkState.Endpoint) {
        guard let network = networks.network(endpoint.network), !network.isPredefined else { return }
        let settings = networks(of: record)[network.name] ?? EndpointSettings()
        var links: [String: String] = [:]
        for link in settings.links ?? [] {
            if let (target, alias) = try? linkTarget(link) { links[alias] = target.record.name }
        }
        hostNetworks.names.add(
            NameTable.Endpoint(
                container: record.id, network: network.id, networkName: network.name,
                names: dnsNames(record, settings), addresses: endpoint.addresses.map(\.address), links: links,
                subnets: network.subnets.compactMap(\.subnet)))
    }

    /// What a container's own settings say about names, and where they say nothing, the daemon's.
    func resolverOverrides(_ host: HostConfig) -> ResolvConf.Overrides {
        let defaults = configuration.networks.resolver
        func chosen(_ own: [String]?, _ other: [String]) -> [String] { own?.isEmpty == false ? own ?? [] : other }
        return ResolvConf.Overrides(
            servers: chosen(host.dns, defaults.servers), search: chosen(host.dnsSearch, defaults.search),
            options: chosen(host.dnsOptions, defaults.options))
    }

    func resolvConf(_ record: ContainerRecord, _ state: NetworkState) -> (
        file: ResolvConf, resolver: Resolver.Settings?
    ) {
        let overrides = resolverOverrides(record.hostConfig)
        let members = state.endpoints.compactMap { networks.network($0.network) }
        let isUserDefined = members.contains { !$0.isPredefined }
        let hasIPv6 = state.endpoints.contains { $0.ipv6 != nil }
        var (file, settings) = ResolvConf().forContainer(
            isUserDefined ? .embeddedResolver : .defaultBridge(ipv6: hasIPv6), overrides)
        // Who can't leave its networks doesn't ask outside either: names would be a way out.
        if members.allSatisfy(\.isInternal) { settings?.forwards = false }
        return (file, settings)
    }

    private func hostsFile(_ record: ContainerRecord, _ state: NetworkState) throws -> String {
        var lines: [HostsFile.Line] = []
        for (name, addresses) in try extraHosts(record, state) {
            lines += addresses.map { HostsFile.Line(address: $0.description, names: [name]) }
        }
        lines += try linkedHosts(record)
        for endpoint in state.endpoints { lines += ownLines(record, endpoint) }
        return HostsFile.text(lines)
    }

    private func ownLines(_ record: ContainerRecord, _ endpoint: NetworkState.Endpoint) -> [HostsFile.Line] {
        let names = HostsFile.names(hostname: record.config.hostname, domainname: record.config.domainname)
        return names.isEmpty
            ? [] : endpoint.addresses.map { HostsFile.Line(address: $0.address.description, names: names) }
    }

    /// `--add-host`, with `host-gateway` as the host's address on the container's way out.
    private func extraHosts(
        _ record: ContainerRecord, _ state: NetworkState
    ) throws(EngineError) -> [(name: String, addresses: [IPAddress])] {
        var result: [(String, [IPAddress])] = []
        for entry in record.hostConfig.extraHosts ?? [] {
            let (name, address) = try ContainerFiles.parse(extraHost: entry)
            if let address = IPAddress(address) {
                result.append((name, [address]))
                continue
            }
            let way = state.gateway ?? state.endpoints.first { !$0.gateways.isEmpty }
            guard let gateways = way?.gateways, !gateways.isEmpty else {
                throw .invalid(
                    "unable to derive the IP value for host-gateway: none of the container's networks has a gateway")
            }
            result.append((name, gateways))
        }
        return result
    }

    /// `--link` on the default network: what is linked to must run, and has its address in the file.
    private func linkedHosts(_ record: ContainerRecord) throws(EngineError) -> [HostsFile.Line] {
        guard record.hostConfig.networkMode == "bridge" else { return [] }
        var lines: [HostsFile.Line] = []
        for link in record.hostConfig.links ?? [] {
            let (target, alias) = try linkTarget(link)
            let other = target.record
            let place = target.network?.endpoints.first { $0.networkName == "bridge" }
            guard other.lifecycle.isRunning, let place else {
                throw .conflict(
                    "Cannot link to a non running container: /\(other.name) AS /\(record.name)/\(alias)")
            }
            lines += linkLines(other, place, alias: alias)
        }
        return lines
    }

    // MARK: While it runs

    /// A container was connected: its names go into its file, which is mounted, so it is added to, never replaced.
    func addHosts(_ record: ContainerRecord, _ endpoint: NetworkState.Endpoint) {
        editHosts(record) { HostsFile.adding(ownLines(record, endpoint), to: $0) }
    }

    func removeHosts(_ record: ContainerRecord, _ endpoint: NetworkState.Endpoint) {
        let gone = Set(endpoint.addresses.map(\.address.description))
        editHosts(record) { HostsFile.removing(gone, from: $0) }
    }

    func editHosts(_ record: ContainerRecord, _ change: (String) -> String) {
        let path = paths.container(record.id) + "/hosts"
        do {
            try Files.write(path, change(try Files.text(path)), mode: 0o644)
        } catch {
            log("container \(record.id): its /etc/hosts could not be changed: \(error)")
        }
    }
}

/// The text of hosts(5) as containers get it.
enum HostsFile {
    struct Line: Sendable, Equatable {
        var address: String
        var names: [String]

        var text: String { "\(address)\t\(names.joined(separator: " "))\n" }
    }

    private static let loopback = [
        Line(address: "127.0.0.1", names: ["localhost"]),
        Line(address: "::1", names: ["localhost", "ip6-localhost", "ip6-loopback"]),
        Line(address: "fe00::", names: ["ip6-localnet"]),
        Line(address: "ff00::", names: ["ip6-mcastprefix"]),
        Line(address: "ff02::1", names: ["ip6-allnodes"]),
        Line(address: "ff02::2", names: ["ip6-allrouters"]),
    ]

    static func text(_ lines: [Line]) -> String { (loopback + lines).map(\.text).joined() }

    /// A container's own names: the full one first.
    static func names(hostname: String, domainname: String) -> [String] {
        if hostname.isEmpty { return [] }
        return domainname.isEmpty ? [hostname] : ["\(hostname).\(domainname)", hostname]
    }

    static func adding(_ lines: [Line], to text: String) -> String {
        let start = text.isEmpty || text.hasSuffix("\n") ? text : text + "\n"
        return start + lines.map(\.text).joined()
    }

    /// With these lines in place of those whose first name is `name`.
    static func replacing(_ name: String, by lines: [Line], in text: String) -> String {
        let kept = text.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            return words.count < 2 || words[1] != name
        }
        return adding(lines, to: kept.joined(separator: "\n"))
    }

    /// Without the lines of these addresses; what else the container wrote stays.
    static func removing(_ addresses: Set<String>, from text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
            guard let first = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).first else { return true }
            return !addresses.contains(String(first))
        }.joined(separator: "\n")
    }
}
