import Glibc
import Testing

@Suite("Health checks")
struct HealthTests {
    private static let quick = ["--health-interval", "100ms", "--health-timeout", "1m"]

    private func run(
        _ daemon: TestDaemon, _ check: String, _ flags: [String] = [], _ command: [String] = ["sleep", "1000"]
    ) throws {
        let flags = ["run", "-d", "--name", "box", "--health-cmd", check] + Self.quick + flags
        let outcome = try daemon.cli(arguments: flags + ["busybox"] + command)
        try #require(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.error.isEmpty)
    }

    private func health(_ daemon: TestDaemon, _ state: String) throws -> JSON {
        try daemon.state(of: "box") { $0["Health"]["Status"].string == state }["Health"]
    }

    @Test("A container starts as starting and follows its checks; ps, its filter, inspect and events tell")
    func transitions() throws {
        try withDaemon { daemon in
            try run(
                daemon, "echo looked; test -e /well",
                ["--health-retries", "2", "--health-start-period", "10m", "--health-start-interval", "50ms"])
            #expect(try daemon.inspect("box")["State"]["Health"]["Status"].string == "starting")
            #expect(try daemon.must("ps", "--format", "{{.Status}}").hasSuffix("(health: starting)"))
            #expect(try daemon.must("ps", "-q", "--filter", "health=starting") != "")
            try daemon.must("exec", "box", "touch", "/well")
            let well = try health(daemon, "healthy")
            #expect(well["FailingStreak"].int == 0)
            let last = well["Log"].array?.last ?? .null
            #expect(last["ExitCode"].int == 0)
            #expect(last["Output"].string == "looked\n")
            #expect(last["Start"].string! <= last["End"].string!)
            #expect(try daemon.must("ps", "--format", "{{.Status}}").hasSuffix("(healthy)"))
            try daemon.must("exec", "box", "rm", "/well")
            let ill = try health(daemon, "unhealthy")
            #expect(ill["FailingStreak"].int! >= 2)
            #expect(try daemon.must("ps", "-q", "--filter", "health=unhealthy") != "")
            #expect(try daemon.must("ps", "-q", "--filter", "health=healthy") == "")
            #expect(try eventually { try health(daemon, "unhealthy")["Log"].array?.count == 5 })
            let events = try daemon.must("events", "--since", "1h", "--until", "0s", "--format", "json")
                .split(separator: "\n").map { try JSON.parse(String($0)) }
            let actions = events.compactMap { $0["Action"].string }
            #expect(
                actions.filter { $0.hasPrefix("health_status") }
                    == ["health_status: healthy", "health_status: unhealthy"])
            let check = "/bin/sh -c echo looked; test -e /well"
            let first = try #require(events.first { $0["Action"].string == "exec_create: " + check })
            let exec = first["Actor"]["Attributes"]["execID"]
            #expect(
                events.filter { $0["Actor"]["Attributes"]["execID"] == exec }.map { $0["Action"].string }
                    == ["exec_create: " + check, "exec_start: " + check, "exec_die"])
            try daemon.must("stop", "-t", "0", "box")
            // By SIGTERM, or by the SIGKILL right behind it.
            let status = try daemon.must("ps", "-a", "--format", "{{.Status}}")
            #expect(status.hasPrefix("Exited (143)") || status.hasPrefix("Exited (137)"))
        }
    }

    @Test("A check that takes too long is killed with everything it started, whatever sessions that made")
    func timeout() throws {
        try withDaemon { daemon in
            let check = "echo begun; setsid sleep 7654 & (setsid sleep 7654 >/dev/null 2>&1 &); sleep 7654"
            try run(
                daemon, check,
                [
                    "--health-timeout", "2s", "--health-interval", "1h", "--health-start-period", "1999ms",
                    "--health-start-interval", "100ms", "--health-retries", "1",
                ])
            let log = try daemon.state(of: "box") { $0["Health"]["Log"][0] != .null }["Health"]["Log"][0]
            #expect(log["ExitCode"].int == -1)
            #expect(log["Output"].string == "Health check exceeded timeout (2s): begun\n")
            // Within the start period the next one would begin at once; after it, in an hour.
            #expect(try !daemon.must("top", "box").contains("7654"))
            let groups = try host(
                "find", "/sys/fs/cgroup", "-type", "d", "-path", "*\(try daemon.must("ps", "-q"))*/health-*")
            #expect(groups.isEmpty)
        }
    }

    @Test("Output is cut, and a check that can't be run says why")
    func output() throws {
        try withDaemon { daemon in
            try run(daemon, "yes | head -c 10000; printf x >&2; exit 3", ["--health-retries", "1"])
            let log = try health(daemon, "unhealthy")["Log"][0]
            #expect(log["ExitCode"].int == 3)
            #expect(log["Output"].string == String(repeating: "y\n", count: 2048) + "...")
            let body =
                #"{"Image":"busybox","Cmd":["sleep","1000"],"Healthcheck":{"Test":["CMD","/no/such"],"Interval":100000000,"Retries":1}}"#
            try #require(daemon.api("POST", "/containers/create?name=other", body: body).status == 201)
            try daemon.must("start", "other")
            let failed = try daemon.state(of: "other") { $0["Health"]["Status"].string == "unhealthy" }["Health"]
            #expect(failed["Log"][0]["ExitCode"].int == -1)
            #expect(failed["Log"][0]["Output"].string!.contains("/no/such"))
        }
    }

    @Test("Unhealthy containers are killed, restarted or stopped where that was asked for")
    func actions() throws {
        try withDaemon { daemon in
            try run(daemon, "false", ["--health-retries", "1", "--health-on-failure", "kill"])
            #expect(try daemon.state(of: "box") { $0["Status"].string == "exited" }["ExitCode"].int == 137)
            try daemon.must("rm", "box")
            try run(
                daemon, "false", ["--health-retries", "1", "--health-on-failure", "stop", "--restart", "always"],
                ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"])
            #expect(try daemon.state(of: "box") { $0["Status"].string == "exited" }["ExitCode"].int == 7)
            #expect(try daemon.inspect("box")["Config"]["Labels"]["mycontainer.health-on-failure"].string == "stop")
            try daemon.must("rm", "box")
            try run(
                daemon, "false", ["--health-retries", "1", "--health-on-failure", "restart", "--stop-timeout", "0"])
            let first = try daemon.inspect("box")["State"]["StartedAt"].string!
            _ = try daemon.state(of: "box") { $0["Running"].bool == true && $0["StartedAt"].string! > first }
            let refused = try daemon.cli("create", "--health-on-failure", "reboot", "busybox")
            #expect(refused.status == 1)
            #expect(refused.error.contains("reboot"))
        }
    }

    @Test("Checks go on after a restart of the daemon and after a pause; the state stays")
    func survival() throws {
        try withDaemon { daemon in
            try run(daemon, "echo x >>/checks")
            _ = try health(daemon, "healthy")
            daemon.kill()
            try daemon.start()
            #expect(try daemon.inspect("box")["State"]["Health"]["Status"].string == "healthy")
            func count() throws -> Int { try daemon.must("exec", "box", "cat", "/checks").count }
            let before = try count()
            #expect(try eventually { try count() > before })
            try daemon.must("pause", "box")
            #expect(try daemon.must("ps", "--format", "{{.Status}}").hasSuffix("(Paused)"))
            try daemon.must("unpause", "box")
            let paused = try count()
            #expect(try eventually { try count() > paused + 2 })
        }
    }

    @Test("An image's HEALTHCHECK holds unless the container says otherwise")
    func fromImage() throws {
        let registry = try ScratchRegistry()
        try registry.make(
            "checked",
            #"{"base": "busybox", "config": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 100000000}}}"#)
        try withDaemon(["--registry", registry.path], images: ["checked"]) { daemon in
            try daemon.must("run", "-d", "--name", "box", "checked", "sleep", "1000")
            _ = try health(daemon, "healthy")
            try daemon.must("run", "-d", "--name", "none", "--no-healthcheck", "checked", "sleep", "1000")
            #expect(try !daemon.inspect("none")["State"].has("Health"))
            #expect(try daemon.must("ps", "-q", "--filter", "health=none").split(separator: "\n").count == 1)
            #expect(
                try daemon.must("image", "inspect", "-f", "{{.Config.Healthcheck.Test}}", "checked") == "[CMD true]")
        }
    }
}
