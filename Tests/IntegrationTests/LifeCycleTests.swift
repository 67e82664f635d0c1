import Glibc
import Testing

@Suite("The life of a container: create, start, stop, kill, pause, wait, remove")
struct LifeCycleTests {
    @Test("Every state by its name, in the order of a life")
    func states() throws {
        try withDaemon { daemon in
            try daemon.must("create", "--name", "box", "busybox", "sleep", "1000")
            #expect(try daemon.inspect("box")["State"]["Status"].string == "created")
            try daemon.must("start", "box")
            let running = try daemon.inspect("box")["State"]
            #expect(running["Status"].string == "running")
            #expect(running["Running"].bool == true)
            let pid = try #require(running["Pid"].int)
            #expect(exists("/proc/\(pid)"))
            try daemon.must("pause", "box")
            #expect(try daemon.inspect("box")["State"]["Status"].string == "paused")
            #expect(try daemon.cli("exec", "box", "true").status != 0, "exec in a paused container was not refused")
            try daemon.must("unpause", "box")
            #expect(try daemon.inspect("box")["State"]["Paused"].bool == false)
            #expect(try daemon.cli("rm", "box").status == 1, "a running container was removed without force")
            try daemon.must("stop", "box")
            let ended = try daemon.inspect("box")["State"]
            #expect(ended["Status"].string == "exited")
            #expect(ended["Pid"].int == 0)
            #expect(!exists("/proc/\(pid)"))
            try daemon.must("start", "box")
            try daemon.must("restart", "-t", "1", "box")
            #expect(try daemon.inspect("box")["State"]["Status"].string == "running")
            try daemon.must("rm", "-f", "box")
            #expect(try daemon.api("GET", "/containers/box/json").status == 404)
        }
    }

    @Test("restart keeps a container that goes with its end; its next end takes it")
    func restartOfOneThatGoes() throws {
        try withDaemon { daemon in
            let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
            try daemon.must("run", "-d", "--rm", "--name", "box", "busybox", "sh", "-c", script)
            for _ in 0..<5 { try daemon.must("restart", "-t", "5", "box") }
            #expect(try daemon.inspect("box")["State"]["Running"].bool == true)
            try daemon.must("stop", "-t", "5", "box")
            #expect(try eventually { try daemon.api("GET", "/containers/box/json").status == 404 })
        }
    }

    @Test("start -a attaches and ends with the program's code")
    func startAttached() throws {
        try withDaemon { daemon in
            try daemon.must("create", "--name", "box", "busybox", "sh", "-c", "echo hello; exit 6")
            let first = try daemon.cli("start", "-a", "box")
            #expect(first.status == 6)
            #expect(first.output == "hello\n")
            let second = try daemon.cli("start", "-a", "box")
            #expect(second.status == 6)
            #expect(try daemon.must("logs", "box") == "hello\nhello")
        }
    }

    @Test("kill sends the signal asked for, by name or number, to the program itself")
    func kill() throws {
        try withDaemon { daemon in
            let script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done"
            try daemon.must("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
            #expect(try eventually { try daemon.must("logs", "box").contains("up") })
            try daemon.must("kill", "-s", "HUP", "box")
            #expect(try eventually { try daemon.must("logs", "box").contains("hup") })
            try daemon.must("kill", "--signal", "10", "box")
            #expect(try eventually { try daemon.must("logs", "box").contains("usr1") })
            #expect(try daemon.inspect("box")["State"]["Running"].bool == true)
            #expect(try daemon.cli("kill", "-s", "NOSUCH", "box").status == 1)
            try daemon.must("kill", "box")
            _ = try daemon.state(of: "box") { $0["Running"].bool == false }
            #expect(try daemon.inspect("box")["State"]["ExitCode"].int == 137)
            let again = try daemon.cli("kill", "box")
            #expect(again.status == 1)
            #expect(again.error.contains("not running"))
        }
    }

    @Test("stop uses the stop signal, then the timeout, then SIGKILL")
    func stopSignal() throws {
        try withDaemon { daemon in
            let script = "trap 'exit 21' USR2; trap '' TERM; echo up; while :; do sleep 0.05; done"
            try daemon.must("run", "-d", "--name", "asked", "--stop-signal", "USR2", "busybox", "sh", "-c", script)
            try daemon.must("run", "-d", "--name", "stubborn", "--stop-timeout", "1", "busybox", "sh", "-c", script)
            for name in ["asked", "stubborn"] {
                #expect(try eventually { try daemon.must("logs", name).contains("up") })
                try daemon.must("stop", name)
            }
            #expect(try daemon.inspect("asked")["State"]["ExitCode"].int == 21)
            #expect(try daemon.inspect("stubborn")["State"]["ExitCode"].int == 137)
        }
    }

    @Test("An interrupt on run is forwarded to the program")
    func interrupt() throws {
        try withDaemon { daemon in
            let command = try daemon.spawn(
                "run", "--rm", "busybox", "sh", "-c",
                "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.05; done")
            try command.waitFor("up")
            command.signal(SIGINT)
            let outcome = try command.finish()
            #expect(outcome.output == "up\ncaught\n")
            #expect(outcome.status == 4)
        }
    }

    @Test("wait blocks until the end and speaks for each container")
    func wait() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "-i", "--name", "first", "busybox", "sh", "-c", "read line; exit 11")
            try daemon.must("run", "-d", "--name", "second", "busybox", "sh", "-c", "exit 12")
            let waiting = try daemon.spawn("wait", "first", "second")
            let attached = try daemon.spawn("attach", "first", standard: .piped)
            try attached.write("go\n")
            #expect(try waiting.finish().output == "11\n12\n")
            #expect(try attached.finish().status == 11)
        }
    }

    @Test("What a container wrote is there after a restart and gone after rm")
    func writableLayer() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--name", "box", "busybox", "sh", "-c", "echo kept >>/etc/note; cat /etc/note")
            #expect(try daemon.must("start", "-a", "box") == "kept\nkept")
            try daemon.must("rm", "box")
            #expect(try daemon.cli("run", "--rm", "busybox", "cat", "/etc/note").status == 1)
        }
    }

    @Test("Thirty containers at once start, run and go")
    func many() throws {
        try withDaemon { daemon in
            let commands = try (0..<30).map { try daemon.spawn("run", "--rm", "busybox", "echo", "\($0)") }
            for (index, command) in commands.enumerated() {
                let outcome = try command.finish()
                #expect(outcome.status == 0, "\(outcome.error)")
                #expect(outcome.line == "\(index)")
            }
            #expect(try daemon.must("ps", "-aq") == "")
        }
    }

    @Test("top lists the program and hides the reaper; stats read the cgroup")
    func topAndStats() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            let top = try daemon.must("top", "box")
            #expect(top.contains("sleep 1000"))
            #expect(!top.contains("mycontainer-runtime"))
            #expect(top.split(separator: "\n").count == 2)
            let stats = try daemon.must("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}")
            #expect(stats == "box 1")
        }
    }

    /// Three seconds by the clock, so that a loop without a pause shows: it would print thousands of lines.
    @Test("stats looks once a second, also at what does not run, and ends well by Ctrl-C")
    func statsPace() throws {
        try withDaemon { daemon in
            try daemon.must("create", "--name", "box", "busybox")
            let words = ["--preserve-status", "-s", "INT", "3", TestDaemon.programs + "/mycontainer"]
            let outcome = try Command(
                "/usr/bin/timeout", words + ["stats", "--format", "{{.Name}}", "box"], environment: daemon.environment
            ).finish()
            #expect(outcome.status == 0)
            let lines = outcome.output.split(separator: "\n")
            #expect((1...10).contains(lines.count) && Set(lines) == ["box"], "\(lines.count) lines")
        }
    }

    @Test("A monitor that somebody stopped keeps nobody waiting; what it runs is killed all the same")
    func stoppedMonitor() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            let pid = try daemon.inspect("box")["State"]["Pid"].int!
            let monitor = try pid_t(host("sh", "-c", "ps -o ppid= -p \(pid) | tr -d ' '"))!
            #expect(Glibc.kill(monitor, SIGSTOP) == 0)
            let outcome = try daemon.cli("kill", "box")
            Glibc.kill(monitor, SIGCONT)
            #expect(outcome.status == 1 && outcome.error.contains("its monitor has not reported its end"))
            #expect(try daemon.must("wait", "box") == "137")
        }
    }
}
