import Glibc
import LinuxKernel

/// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` of a container: made on the host, bind-mounted inside.
enum ContainerFiles {
    static func hostname(_ hostname: String) -> String { hostname + "\n" }

    /// The loopback names, `--add-host` entries (`name:address`), and the container's own name as a loopback one: for
    /// containers without an address.
    static func hosts(hostname: String, domainname: String, extra: [String]) throws(EngineError) -> String {
        var lines: [HostsFile.Line] = []
        for entry in extra {
            let (name, address) = try parse(extraHost: entry)
            lines.append(HostsFile.Line(address: address, names: [name]))
        }
        let names = HostsFile.names(hostname: hostname, domainname: domainname)
        if !names.isEmpty { lines.append(HostsFile.Line(address: "127.0.1.1", names: names)) }
        return HostsFile.text(lines)
    }

    /// `name:address` or `name=address`; the address may be `host-gateway`: the host's on the container's network.
    static func parse(extraHost entry: String) throws(EngineError) -> (name: String, address: String) {
        guard let separator = entry.firstIndex(where: { $0 == ":" || $0 == "=" }), separator != entry.startIndex else {
            throw .invalid("bad format for add-host: \"\(entry)\"")
        }
        let name = String(entry[..<separator])
        var address = String(entry[entry.utf8.index(after: separator)...])
        if address.hasPrefix("["), address.hasSuffix("]") { address = String(address.dropFirst().dropLast()) }
        guard isAddress(address) || address == "host-gateway", !name.contains(where: { $0.isWhitespace }) else {
            throw .invalid("invalid IP address in add-host: \"\(address)\"")
        }
        return (name, address)
    }

    static func isAddress(_ text: String) -> Bool {
        var four = in_addr()
        var six = in6_addr()
        return inet_pton(AF_INET, text, &four) == 1 || inet_pton(AF_INET6, text, &six) == 1
    }

    /// The resolver's configuration: the host's, with what was asked for over it. A container with a network
    /// namespace of its own can't reach name servers on the host's loopback, so those are left out there.
    static func resolvConf(
        host: String, servers: [String], search: [String], options: [String], ownNetwork: Bool
    ) throws(EngineError) -> String {
        for server in servers where !isAddress(server) {
            throw .invalid("invalid argument \"\(server)\" for \"--dns\" flag: \(server) is not an ip address")
        }
        var hostServers: [String] = []
        var hostSearch: [String] = []
        var hostOptions: [String] = []
        for line in host.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            guard let keyword = words.first else { continue }
            switch keyword {
            case "nameserver": hostServers += words.dropFirst().prefix(1)
            case "search", "domain": hostSearch = Array(words.dropFirst())
            case "options": hostOptions = Array(words.dropFirst())
            default: continue
            }
        }
        if ownNetwork { hostServers.removeAll { $0.hasPrefix("127.") || $0 == "::1" } }
        let search = search.isEmpty ? hostSearch : search.filter { $0 != "." }
        var lines = (servers.isEmpty ? hostServers : servers).map { "nameserver \($0)" }
        if !search.isEmpty { lines.append("search " + search.joined(separator: " ")) }
        let options = options.isEmpty ? hostOptions : options
        if !options.isEmpty { lines.append("options " + options.joined(separator: " ")) }
        for line in lines where line.contains(where: \.isNewline) {
            throw .invalid("invalid DNS setting: \"\(line)\" has more than one line")
        }
        return lines.map { $0 + "\n" }.joined()
    }
}
