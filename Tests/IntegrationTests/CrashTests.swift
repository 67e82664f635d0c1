import Glibc
import Testing

/// `make test-crash`: CRASH=sample takes some of the points of each operation, CRASH=full every one.
@Suite("SIGKILL after a mutating system call", .serialized, .enabled(if: TestDaemon.setting("CRASH") != nil))
struct CrashTests {
    enum Operation: String, CaseIterable {
        case pull, create, start, stop, rm, network, connect, disconnect
    }

    /// What a container has that is to be cleared away: an address that only one can have, a port, a limit.
    private static let networking = [
        "--network", "net", "--ip", "10.61.0.9", "-p", "127.0.0.1:8061:80", "--network-rate-out", "10mbit",
    ]

    @Test("The daemon killed in the middle is as if it had not begun, or had finished", arguments: Operation.allCases)
    func daemonKilled(_ operation: Operation) throws {
        try withDaemon(images: operation == .pull ? [] : ["busybox"]) { daemon in
            try inject(operation, daemon, following: false)
        }
    }

    @Test("So is a monitor or a child of it", arguments: [Operation.start, .stop])
    func runtimeKilled(_ operation: Operation) throws {
        try withDaemon { daemon in
            try inject(operation, daemon, following: true)
        }
    }

    private func inject(_ operation: Operation, _ daemon: TestDaemon, following: Bool) throws {
        // scripts/crash/injector.c, built by scripts/crash/run.
        let injector = try #require(TestDaemon.setting("CRASH_INJECTOR"), "run scripts/crash/run")
        if operation != .pull {
            try daemon.must("network", "create", "--subnet", "10.61.0.0/24", "net")
            try daemon.must("network", "create", "--subnet", "10.62.0.0/24", "other")
        }
        // A run that is never killed says how many points there are.
        let total = try once(operation, daemon, injector, following, point: 1_000_000).count
        try #require(total > 0, "\(operation.rawValue) made no change that was seen")
        let points: [Int]
        if TestDaemon.setting("CRASH") == "full" {
            points = Array(1...total)
        } else {
            points = Array(Set((0..<9).map { 1 + $0 * (total - 1) / 8 })).sorted()
        }
        for point in points {
            let place = try once(operation, daemon, injector, following, point: point).place
            print("\(operation.rawValue)\(following ? " (runtime)" : ""): point \(point) of \(total): \(place)")
        }
    }

    /// One cycle: prepare, operate under the injector, recover, look, do it again, clean up, look for leaks.
    private func once(
        _ operation: Operation, _ daemon: TestDaemon, _ injector: String, _ following: Bool, point: Int
    ) throws -> (place: String, count: Int) {
        try prepare(operation, daemon)
        let flags = (following ? ["--follow"] : []) + ["\(daemon.pid)", "\(point)"]
        let watcher = try Command(injector, flags, environment: [:])
        try watcher.waitFor("ready")
        let client = try daemon.spawn(command(operation))
        let outcome = try client.finish()
        // A container that was started goes on doing things: the count is of what happened until the answer.
        watcher.signal(SIGTERM)
        let report = try watcher.finish().lines.last ?? ""
        let words = report.split(separator: " ")
        let killed = words.first == "killed"
        if killed && !following {
            daemon.kill()
            try daemon.start()
        } else if !killed {
            try #require(outcome.status == 0, "\(operation.rawValue) failed without a kill: \(outcome.error)")
        }
        let place =
            killed ? "after \(words.dropFirst(2).first ?? "?"); client ended with \(outcome.status)" : "not reached"
        do {
            try checkConsistent(daemon)
            try retry(operation, daemon, wasKilled: killed)
        } catch {
            throw CommandFailure(description: "\(operation.rawValue), point \(point) (\(report)): \(error)")
        }
        let left = Leaks.ofContainers(daemon)
        try #require(left.isEmpty, "\(operation.rawValue), point \(point) (\(report)) left \(left)")
        Leaks.reapOrphans(of: daemon)
        return (place, Int(words.last ?? "0") ?? 0)
    }

    private func command(_ operation: Operation) -> [String] {
        switch operation {
        case .pull: ["pull", "-q", "busybox"]
        case .create: ["create", "--name", "box", "-v", "/volume", "busybox", "sleep", "1000"]
        case .start: ["start", "box"]
        case .stop: ["stop", "box"]
        case .rm: ["rm", "-f", "-v", "box"]
        case .network: ["network", "create", "--subnet", "10.63.0.0/24", "third"]
        // It takes the default route and the port along.
        case .connect: ["network", "connect", "--ip", "10.62.0.9", "--gw-priority", "1", "other", "box"]
        case .disconnect: ["network", "disconnect", "other", "box"]
        }
    }

    private func prepare(_ operation: Operation, _ daemon: TestDaemon) throws {
        switch operation {
        case .pull, .create, .network: break
        case .start: try make("create", [], daemon)
        case .stop, .connect: try make("run", ["-d"], daemon)
        case .rm: try make("run", ["-d", "-v", "/volume"], daemon)
        case .disconnect:
            try make("run", ["-d"], daemon)
            try daemon.must(arguments: command(.connect))
        }
    }

    private func make(_ verb: String, _ flags: [String], _ daemon: TestDaemon) throws {
        let words = [verb, "--name", "box"] + flags + Self.networking + ["busybox", "sleep", "1000"]
        let outcome = try daemon.cli(arguments: words)
        try #require(outcome.status == 0, "\(verb): \(outcome.error)")
    }

    /// The operation can be asked for again, whatever the first one came to, and everything then works and goes.
    private func retry(_ operation: Operation, _ daemon: TestDaemon, wasKilled: Bool) throws {
        let there = try daemon.api("GET", "/containers/box/json").status == 200
        switch operation {
        case .pull:
            try daemon.must("pull", "-q", "busybox")
            #expect(try daemon.must("run", "--rm", "busybox", "echo", "works") == "works")
            try daemon.must("rmi", "-f", "busybox")
            let emptied = eventually {
                Leaks.names(daemon.dataRoot + "/content/blobs/sha256").isEmpty
                    && Leaks.layers(daemon).isEmpty
            }
            #expect(emptied, "rmi left blobs or layers")
        case .create:
            if !there { try daemon.must("create", "--name", "box", "-v", "/volume", "busybox", "sleep", "1000") }
            try daemon.must("start", "box")
            try daemon.must("exec", "box", "true")
            try daemon.must("rm", "-f", "-v", "box")
        case .start:
            try daemon.must("start", "box")
            #expect(try daemon.must("exec", "box", "echo", "works") == "works")
            try daemon.must("rm", "-f", "box")
        case .stop:
            try daemon.must("stop", "box")
            let state = try daemon.inspect("box")["State"]
            #expect(state["Status"].string == "exited")
            let code = state["ExitCode"].int
            #expect(code == 143 || code == 137 || (wasKilled && code == 255), "exit code \(code ?? -1)")
            try daemon.must("rm", "box")
        case .rm:
            if there { try daemon.must("rm", "-f", "-v", "box") }
            #expect(try daemon.api("GET", "/containers/box/json").status == 404)
        case .network:
            if try daemon.api("GET", "/networks/third").status != 200 { try daemon.must(arguments: command(.network)) }
            try daemon.must("run", "--rm", "--network", "third", "--ip", "10.63.0.9", "busybox", "true")
            try daemon.must("network", "rm", "third")
        case .connect:
            if try daemon.inspect("box")["NetworkSettings"]["Networks"]["other"] == .null {
                try daemon.must(arguments: command(.connect))
            }
            #expect(try daemon.must("exec", "box", "ip", "address", "show", "eth1").contains("10.62.0.9/24"))
            #expect(try daemon.must("exec", "box", "ip", "route").contains("default via 10.62.0.1 dev eth1"))
            try daemon.must("network", "disconnect", "other", "box")
            try daemon.must("rm", "-f", "box")
        case .disconnect:
            if try daemon.inspect("box")["NetworkSettings"]["Networks"]["other"] != .null {
                try daemon.must(arguments: command(.disconnect))
            }
            try daemon.must("rm", "-f", "box")
        }
        let volumes = try daemon.must("volume", "ls", "-q")
        for volume in volumes.split(separator: "\n") { try daemon.must("volume", "rm", String(volume)) }
    }

    /// A container has the interfaces that inspect shows, and no other.
    private func checkInterfaces(_ id: String, _ daemon: TestDaemon) throws {
        guard case .object(let endpoints) = try daemon.inspect(id)["NetworkSettings"]["Networks"] else { return }
        let shown = endpoints.values.compactMap { $0["IPAddress"].string }.filter { !$0.isEmpty }.sorted()
        let seen = try daemon.must("exec", id, "ip", "-4", "-o", "address").split(separator: "\n")
            .compactMap { line in line.split(separator: " ").dropFirst(3).first?.split(separator: "/").first }
            .map(String.init).filter { $0 != "127.0.0.1" }.sorted()
        #expect(shown == seen)
        // There is one way out, and it is the one that inspect shows.
        let ways = try daemon.must("exec", id, "ip", "route").split(separator: "\n").filter { $0.hasPrefix("default ") }
        let gateways = endpoints.values.compactMap { $0["Gateway"].string }.filter { !$0.isEmpty }
        #expect(ways.count == 1 && gateways.contains { ways.first?.contains("via \($0) ") ?? false }, "\(ways)")
    }

    /// What must hold whenever the daemon answers.
    private func checkConsistent(_ daemon: TestDaemon) throws {
        let check =
            "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('pragma integrity_check').fetchone()[0])"
        #expect(try host("python3", "-c", check, daemon.dataRoot + "/state.db") == "ok")
        // No blob under a name that is not its content's digest.
        let blobs = daemon.dataRoot + "/content/blobs/sha256"
        if !Leaks.names(blobs).isEmpty {
            try host("sh", "-c", "cd \(blobs) && for f in *; do echo \"$f  $f\"; done | sha256sum --check --quiet")
        }
        // Every container can be looked at, and runs exactly if its process does.
        for container in try daemon.api("GET", "/containers/json?all=1").json().array ?? [] {
            let id = try #require(container["Id"].string)
            let state = try daemon.inspect(id)["State"]
            let pid = state["Pid"].int ?? 0
            #expect((state["Running"].bool == true) == (pid > 0 && exists("/proc/\(pid)/ns")), "\(state)")
            if state["Running"].bool == true { try checkInterfaces(id, daemon) }
        }
        // Every bridge is a network's.
        let networks = try daemon.must("network", "ls", "-q", "--no-trunc")
        let aliases = try daemon.inside("ip", "link", "show", "type", "bridge").lines.filter { $0.contains("alias ") }
        for alias in aliases {
            let network = String(try #require(alias.split(separator: " ").last))
            #expect(networks.contains(network), "a bridge is of the network \(network), which isn't there")
        }
        // Every image listed has all of its layers.
        for image in try daemon.must("images", "-q").split(separator: "\n") {
            #expect(try daemon.must("run", "--rm", String(image), "echo", "whole") == "whole")
        }
    }
}
