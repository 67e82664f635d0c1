import Glibc
import LinuxKernel

/// A resolv.conf(5): the host's, or one made from it for a container.
public struct ResolvConf: Sendable, Equatable {
    /// As written, so that a zone (`fe80::1%eth0`) stays.
    public var nameservers: [String] = []
    public var search: [String] = []
    /// `ndots:1`, `edns0`, …
    public var options: [String] = []
    /// Lines of directives that we don't know.
    public var others: [String] = []

    /// The address that the embedded resolver has in every container.
    public static let embeddedAddress = "127.0.0.11"

    public init() {}

    /// Reads a file's text. As the C library does, the last `search` or `domain` counts, and options add up; what is
    /// malformed is left out.
    public init(parsing text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split { $0 == " " || $0 == "\t" }.map(String.init)
            guard let directive = words.first, !directive.hasPrefix("#"), !directive.hasPrefix(";") else { continue }
            switch directive {
            case "nameserver":
                if words.count > 1, Self.isAddress(words[1]) { nameservers.append(words[1]) }
            case "domain", "search": search = Array(words.dropFirst())
            case "options": options += words.dropFirst()
            default: others.append(String(line))
            }
        }
    }

    /// Reads a file; empty where there is none, since a host without resolv.conf is a host without DNS.
    public init(path: String = "/etc/resolv.conf") {
        self.init(parsing: Self.contents(path))
    }

    private static func contents(_ path: String) -> String {
        guard let file = try? FileDescriptor(path, O_RDONLY | O_NONBLOCK) else { return "" }
        var bytes = [UInt8](repeating: 0, count: largest)
        let count = bytes.withUnsafeMutableBytes { room in
            (try? checked("read \(path)") { read(file.raw, room.baseAddress, room.count) }) ?? 0
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Bytes of a file that are read at most.
    private static let largest = 64 << 10

    /// The text of the file.
    public var text: String {
        var lines = nameservers.map { "nameserver \($0)" }
        if !search.isEmpty { lines.append("search \(search.joined(separator: " "))") }
        if !options.isEmpty { lines.append("options \(options.joined(separator: " "))") }
        lines += others
        return lines.map { $0 + "\n" }.joined()
    }

    /// The value of the last option of this name; empty for one without a value, nil where there is none.
    public func option(_ name: String) -> String? {
        for option in options.reversed() {
            let parts = option.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            if parts[0] == name { return parts.count > 1 ? String(parts[1]) : "" }
        }
        return nil
    }

    private static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(String(parts[0])) else { return false }
        return parts.count == 1 || address.isIPv6 && !parts[1].isEmpty
    }

    private static func isLoopback(_ text: String) -> Bool {
        guard let address = IPAddress(text) else { return false }
        return address.isIPv6 ? text == "::1" : address.bytes.first == 127
    }
}

// MARK: A container's

extension ResolvConf {
    /// What a container's network gives it to ask.
    public enum Purpose: Sendable {
        /// `--network host` and `none`: the host's file with what the user overrode.
        case host
        /// The default bridge: the host's servers, without those on the host's loopback interface.
        case defaultBridge(ipv6: Bool)
        /// A user-defined network: the embedded resolver, which asks the servers.
        case embeddedResolver
    }

    /// What `--dns`, `--dns-search` and `--dns-option` said; what is empty leaves the host's in force.
    public struct Overrides: Sendable, Equatable {
        public var servers: [String]
        public var search: [String]
        public var options: [String]

        public init(servers: [String] = [], search: [String] = [], options: [String] = []) {
            self.servers = servers
            self.search = search
            self.options = options
        }
    }

    /// A container's file made from this one, the host's, and how its resolver is to be set.
    ///
    /// Where the default bridge's container is left without a server, because the host asks one on its own loopback
    /// interface (systemd-resolved, dnsmasq), it gets the embedded resolver, which asks that one in the host's
    /// namespace. Docker puts public servers there.
    ///
    /// - Returns: the file, and the settings of the embedded resolver if the file names it.
    public func forContainer(_ purpose: Purpose, _ overrides: Overrides) -> (
        file: ResolvConf, resolver: Resolver.Settings?
    ) {
        var made = self
        if !overrides.servers.isEmpty { made.nameservers = overrides.servers }
        if !overrides.search.isEmpty { made.search = overrides.search.filter { $0 != "." } }
        if !overrides.options.isEmpty { made.options = overrides.options }
        switch purpose {
        case .host: return (made, nil)
        case .defaultBridge(let ipv6):
            if overrides.servers.isEmpty {
                made.nameservers.removeAll { Self.isLoopback($0) || !ipv6 && $0.contains(":") }
            }
            if !made.nameservers.isEmpty || nameservers.isEmpty { return (made, nil) }
            made.nameservers = [Self.embeddedAddress]
            return (made, Resolver.Settings())
        case .embeddedResolver:
            // Names of containers have no dot, and must not wander through the search domains first.
            made.options.removeAll { $0.hasPrefix("ndots") && !Self.isValidNdots($0) }
            let ndotsIsSet = made.option("ndots") != nil
            if !ndotsIsSet { made.options.append("ndots:0") }
            made.nameservers = [Self.embeddedAddress]
            return (made, Resolver.Settings(servers: overrides.servers, ndotsIsSet: ndotsIsSet))
        }
    }

    private static func isValidNdots(_ option: String) -> Bool {
        option.hasPrefix("ndots:") && Int(option.dropFirst(6)).map { $0 >= 0 } == true
    }
}
