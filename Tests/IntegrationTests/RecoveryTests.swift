import Glibc
import Testing

@Suite("The daemon's own life: killed, stopped, started twice")
struct RecoveryTests {
    @Test("Killed with containers running, it finds them again and they answer everything")
    func killedWhileRunning() throws {
        try withDaemon { daemon in
            let script = "trap 'exit 5' TERM; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done"
            try daemon.must("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
            #expect(try eventually { try daemon.must("logs", "box").contains("tick 1\n") })
            let pid = try daemon.inspect("box")["State"]["Pid"].int
            let started = try daemon.inspect("box")["State"]["StartedAt"].string
            daemon.kill()
            try daemon.start()
            let state = try daemon.inspect("box")["State"]
            #expect(state["Running"].bool == true)
            #expect(state["Pid"].int == pid)
            #expect(state["StartedAt"].string == started)
            #expect(try daemon.must("exec", "box", "echo", "hello") == "hello")
            #expect(try daemon.must("top", "box").contains("sh"))
            // The log has no hole: it was written while no daemon lived.
            let lines = try daemon.cli("logs", "box").lines
            #expect(lines == (0..<lines.count).map { "tick \($0)" })
            let attached = try daemon.spawn("attach", "--no-stdin", "box")
            try attached.waitFor("tick ")
            try daemon.must("stop", "box")
            #expect(try attached.finish().status == 5)
            #expect(try daemon.inspect("box")["State"]["ExitCode"].int == 5)
        }
    }

    @Test("What ended while no daemon lived has its right exit code; --rm ones are gone")
    func endedMeanwhile() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "-i", "--name", "code", "busybox", "sh", "-c",
                "until [ -e /go ]; do sleep 0.05; done; exit 44")
            try daemon.must("run", "-d", "--name", "killed", "busybox", "sleep", "1000")
            try daemon.must("run", "-d", "--rm", "--name", "removed", "busybox", "sleep", "1000")
            try daemon.must("run", "-d", "--rm", "--name", "stays", "busybox", "sleep", "1000")
            let pids = try ["code", "killed", "removed"].map {
                try #require(try daemon.inspect($0)["State"]["Pid"].int)
            }
            try daemon.must("exec", "-d", "code", "sh", "-c", "sleep 0.3; touch /go")
            daemon.kill()
            for pid in pids.dropFirst() { try killProcess(pid) }
            #expect(eventually { pids.allSatisfy { !exists("/proc/\($0)/ns/pid") } })
            try daemon.start()
            // Their processes are gone; the monitors may be about to write down how they ended.
            for (name, code) in [("code", Int64(44)), ("killed", 137)] {
                #expect(try daemon.state(of: name) { $0["Running"].bool == false }["ExitCode"].int == code)
            }
            #expect(try eventually { try daemon.api("GET", "/containers/removed/json").status == 404 })
            #expect(try daemon.inspect("stays")["State"]["Running"].bool == true)
        }
    }

    @Test("SIGTERM leaves containers running and the next daemon has them")
    func stopLeavesRunning() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            let pid = try #require(try daemon.inspect("box")["State"]["Pid"].int)
            #expect(daemon.stop())
            #expect(!exists(daemon.socket))
            #expect(exists("/proc/\(pid)"))
            try daemon.start()
            #expect(try daemon.inspect("box")["State"]["Pid"].int == pid)
        }
    }

    @Test("A second daemon on the same data root is refused and the first is unharmed")
    func startedTwice() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            for roots in [
                ["--data-root", daemon.dataRoot, "--exec-root", daemon.directory + "/exec2"],
                ["--data-root", daemon.directory + "/data2", "--exec-root", daemon.execRoot],
            ] {
                let second = try Command(
                    TestDaemon.programs + "/mycontainerd",
                    roots + ["-H", "unix://\(daemon.directory)/sock2", "--pidfile", daemon.directory + "/pid2"],
                    environment: daemon.environment
                ).finish()
                #expect(second.status != 0)
                let said = second.error + second.output
                #expect(said.contains("another") || said.contains("already") || said.contains("in use"), "\(said)")
            }
            #expect(!exists(daemon.directory + "/sock2"))
            #expect(try daemon.must("exec", "box", "echo", "well") == "well")
        }
    }

    @Test("A stale socket and pid file of a killed daemon are no obstacle")
    func staleFiles() throws {
        try withDaemon { daemon in
            daemon.kill()
            #expect(exists(daemon.socket))
            try daemon.start()
            try daemon.must("ps")
        }
    }

    @Test("The socket is 0660 and the data root private")
    func modes() throws {
        try withDaemon { daemon in
            #expect(try host("stat", "-c", "%a %u", daemon.socket) == "660 0")
            let mode = try host("stat", "-c", "%a", daemon.dataRoot)
            #expect(mode == "700" || mode == "710")
        }
    }

    @Test("Restart policies: how often, and what a daemon's restart does")
    func restartPolicies() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "--name", "twice", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 1")
            try daemon.must("run", "-d", "--name", "fine", "--restart", "on-failure", "busybox", "true")
            try daemon.must("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1000")
            try daemon.must("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000")
            try daemon.must("stop", "stopped")
            let twice = try daemon.state(of: "twice") { $0["Status"].string == "exited" }
            #expect(twice["ExitCode"].int == 1)
            #expect(try daemon.inspect("twice")["RestartCount"].int == 2)
            _ = try daemon.state(of: "fine") { $0["Status"].string == "exited" }
            #expect(try daemon.inspect("fine")["RestartCount"].int == 0)
            // A container that dies by itself comes back; one that was killed on purpose does not.
            let before = try #require(try daemon.inspect("always")["State"]["Pid"].int)
            try killProcess(before)
            // While it waits for its restart a container counts as running, as docker has it, and its pid is 0.
            let after = try daemon.state(of: "always") { ![0, before].contains($0["Pid"].int ?? 0) }
            // A daemon's restart brings back what died meanwhile, but not what was stopped.
            daemon.kill()
            try killProcess(try #require(after["Pid"].int))
            #expect(eventually { !exists("/proc/\(after["Pid"].int ?? 0)/ns/pid") })
            try daemon.start()
            _ = try daemon.state(of: "always") { $0["Running"].bool == true }
            #expect(try daemon.inspect("stopped")["State"]["Running"].bool == false)
            try daemon.must("rm", "-f", "always")
        }
    }
}

/// SIGKILL to one process; never to a group, which 0 and negative numbers mean to kill(2).
private func killProcess(_ pid: Int64) throws {
    try #require(pid > 1)
    kill(pid_t(pid), SIGKILL)
}
