import Glibc
import Testing

/// A machine outside of the daemon's host: a network namespace at the other end of a cable.
final class Outside {
    /// The host's address on the cable, and the outside machine's.
    static let hostAddress = "192.0.2.1"
    static let address = "192.0.2.2"

    private let path: String
    private unowned let daemon: TestDaemon

    init(_ daemon: TestDaemon) throws {
        self.daemon = daemon
        path = daemon.network + "-outside"
        try TestDaemon.makeNetwork(path)
        let path = path
        daemon.onEnd { TestDaemon.removeNetwork(path) }
        for words in [
            ["link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", path],
            ["address", "add", Self.hostAddress + "/24", "dev", "uplink"], ["link", "set", "uplink", "up"],
        ] {
            try daemon.setUp(["ip"] + words)
        }
        try run("ip", "address", "add", Self.address + "/24", "dev", "eth0")
        try run("ip", "link", "set", "eth0", "up")
    }

    /// Runs a tool of the host's out there.
    @discardableResult
    func run(_ words: String..., seconds: Double = patience) throws -> Outcome {
        try Command(
            "/usr/bin/nsenter", ["--net=" + path, "--"] + words,
            environment: ["PATH": daemon.environment["PATH"]!, "LC_ALL": "C"]
        ).finish(seconds: seconds)
    }

    /// What a web server answers; nil when nobody does.
    func fetch(_ address: String, _ port: Int) throws -> String? {
        let outcome = try run("curl", "-s", "-g", "--connect-timeout", "3", "-m", "30", "http://\(address):\(port)/")
        return outcome.status == 0 ? outcome.line : nil
    }
}

/// A router between the hosts of two daemons, each on a network of its own with a default route to it.
final class Router {
    /// The hosts' addresses, in the order of the daemons.
    static let hostAddresses = ["192.0.2.1", "198.51.100.1"]
    private static let ownAddresses = ["192.0.2.254", "198.51.100.254"]

    init(_ daemons: [TestDaemon]) throws {
        let path = daemons[0].network + "-router"
        try TestDaemon.makeNetwork(path)
        daemons[0].onEnd { TestDaemon.removeNetwork(path) }
        func run(_ words: String...) throws {
            let outcome = try Command(
                "/usr/bin/nsenter", ["--net=" + path, "--"] + words,
                environment: ["PATH": daemons[0].environment["PATH"]!, "LC_ALL": "C"]
            ).finish()
            guard outcome.status == 0 else {
                throw CommandFailure(description: "\(words.joined(separator: " ")): \(outcome.error)")
            }
        }
        try run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        for (index, daemon) in daemons.enumerated() {
            for words in [
                ["link", "add", "uplink", "type", "veth", "peer", "name", "port\(index)", "netns", path],
                ["address", "add", Self.hostAddresses[index] + "/24", "dev", "uplink"],
                ["link", "set", "uplink", "up"], ["route", "add", "default", "via", Self.ownAddresses[index]],
            ] {
                try daemon.setUp(["ip"] + words)
            }
            try run("ip", "address", "add", Self.ownAddresses[index] + "/24", "dev", "port\(index)")
            try run("ip", "link", "set", "port\(index)", "up")
        }
    }
}

extension TestDaemon {
    /// Runs a tool of the host's in the daemon's network namespace, which must succeed.
    func setUp(_ words: [String]) throws {
        let outcome = try Command(
            "/usr/bin/nsenter", ["--net=" + network, "--"] + words,
            environment: ["PATH": environment["PATH"]!, "LC_ALL": "C"]
        ).finish()
        guard outcome.status == 0 else {
            throw CommandFailure(description: "\(words.joined(separator: " ")): \(outcome.error)")
        }
    }

    /// A container's IPv4 address in a network, as inspect has it.
    func address(_ container: String, in network: String = "bridge", at location: SourceLocation = #_sourceLocation)
        throws -> String
    {
        let endpoint = try inspect(container)["NetworkSettings"]["Networks"][network]
        let address = endpoint["IPAddress"].string ?? ""
        try #require(
            !address.isEmpty, "\(container) has no address in \(network): \(endpoint)", sourceLocation: location)
        return address
    }

    /// Starts a container whose web server answers with the container's name, and whose log names its clients.
    func serveWeb(_ name: String, _ flags: String..., at location: SourceLocation = #_sourceLocation) throws {
        let script = "mkdir /www; echo \(name) >/www/index.html; exec httpd -fvv -p 80 -h /www"
        let outcome = try cli(arguments: ["run", "-d", "--name", name] + flags + ["busybox", "sh", "-c", script])
        try #require(outcome.status == 0, "run \(name): \(outcome.error)", sourceLocation: location)
        let isServing = try eventually { try fetch(from: name, "127.0.0.1") == name }
        let log = try cli("logs", name).error
        try #require(isServing, "\(name) serves nothing: \(log)", sourceLocation: location)
    }

    /// Starts a container that does nothing.
    func idle(_ name: String, _ flags: String..., at location: SourceLocation = #_sourceLocation) throws {
        let outcome = try cli(arguments: ["run", "-d", "--name", name] + flags + ["busybox", "sleep", "1000"])
        try #require(outcome.status == 0, "run \(name): \(outcome.error)", sourceLocation: location)
    }

    /// What a web server answers to a container; nil when nobody does in that many seconds, which a test that expects
    /// nobody has to wait for.
    func fetch(from container: String, _ host: String, _ port: Int = 80, within seconds: Int = 30) throws -> String? {
        let outcome = try cli(
            "exec", container, "timeout", "\(seconds)", "wget", "-q", "-O", "-", "http://\(host):\(port)/")
        return outcome.status == 0 ? outcome.line : nil
    }

    /// What a web server answers to the daemon's host; nil when nobody does.
    func fetch(_ host: String, _ port: Int) throws -> String? {
        let outcome = try inside("curl", "-s", "-g", "--connect-timeout", "3", "-m", "30", "http://\(host):\(port)/")
        return outcome.status == 0 ? outcome.line : nil
    }

    func pings(_ container: String, _ target: String) throws -> Bool {
        try cli("exec", container, "ping", "-c", "1", "-W", "2", target).status == 0
    }

    /// The addresses that a container gets for a name, sorted; none where there is no such name.
    func resolve(_ name: String, in container: String) throws -> [String] {
        let outcome = try cli("exec", container, "nslookup", name)
        // What comes first is the server's.
        return outcome.output.split(separator: "\n\n").dropFirst().joined(separator: "\n").split(separator: "\n")
            .filter { $0.hasPrefix("Address") }.compactMap { $0.split(separator: " ").last.map(String.init) }.sorted()
    }

    /// The daemon's interfaces in its host's namespace.
    func interfaces() throws -> [String] {
        try inside("ip", "-o", "link").lines.compactMap { line in
            line.split(separator: ":").dropFirst().first
                .map { String($0.split(separator: "@")[0].drop { $0 == " " }) }
        }
    }
}
