import Glibc
import Testing

@Suite("Monitor and reaper give up what they don't need, and do what they have to")
struct ConfinementTests {
    /// A line of /proc/<pid>/status.
    private func status(_ pid: Int64, _ field: String) throws -> String {
        let line = try readFile("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix(field + ":") }
        return line.map { String($0.split(separator: "\t").last ?? "") } ?? ""
    }

    /// The monitor of a container, once it has confined itself.
    private func monitor(of name: String, _ daemon: TestDaemon) throws -> Int64 {
        let first = try #require(try daemon.inspect(name)["State"]["Pid"].int)
        let monitor = try #require(Int64(try status(first, "PPid")))
        #expect(try eventually { try status(monitor, "Seccomp") == "2" })
        return monitor
    }

    @Test("Their status: no capability but KILL, no new privileges, few system calls; the program has what it had")
    func status() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            let monitor = try monitor(of: "box", daemon)
            #expect(try status(monitor, "CapPrm") == "0000000000000020")
            #expect(try status(monitor, "CapEff") == "0000000000000020")
            #expect(try status(monitor, "CapBnd") == "0000000000000000")
            #expect(try status(monitor, "NoNewPrivs") == "1")
            let reaper = try #require(try daemon.inspect("box")["State"]["Pid"].int)
            #expect(try eventually { try status(reaper, "NoNewPrivs") == "1" })
            #expect(try eventually { try status(reaper, "Seccomp_filters") == "2" })
            #expect(try status(reaper, "CapPrm") == "0000000000000020")
            #expect(try status(reaper, "CapBnd") == "0000000000000000")
            let own = try daemon.must(
                "exec", "box", "sh", "-c", "grep -h -E 'CapPrm|NoNewPrivs|Seccomp:' /proc/2/status /proc/self/status")
            #expect(
                own.split(separator: "\n").map { $0.split(separator: "\t").last }
                    == ["00000000a80425fb", "0", "2", "00000000a80425fb", "0", "2"], "\(own)")
            // A profile of the user's own, which may not allow it, is not tried.
            try writeFile(daemon.directory + "/profile", #"{"defaultAction": "SCMP_ACT_ALLOW"}"#)
            try daemon.must(
                "run", "-d", "--name", "own", "--security-opt", "seccomp=\(daemon.directory)/profile", "busybox",
                "sleep", "1000")
            let other = try #require(try daemon.inspect("own")["State"]["Pid"].int)
            _ = try self.monitor(of: "own", daemon)
            #expect(try status(other, "NoNewPrivs") == "0")
        }
    }

    @Test("Behind the wall: logs rotate, cp, exec with a terminal and with privileges, signals to other users, health")
    func work() throws {
        try withDaemon { daemon in
            let rotate = ["--log-driver", "json-file", "--log-opt", "max-size=20k", "--log-opt", "max-file=3"]
            _ = try daemon.cli(
                arguments: ["run", "-d", "--name", "box"] + rotate + [
                    "--health-cmd", "true", "--health-interval", "200ms", "busybox", "sh", "-c",
                    "trap 'echo caught' USR1; while :; do sleep 0.1; done",
                ])
            _ = try monitor(of: "box", daemon)
            let loud = try daemon.cli(
                arguments: ["run", "--name", "loud"] + rotate + [
                    "busybox", "sh", "-c", "sleep 1; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done",
                ])
            #expect(loud.lines.count == 3000)
            let log = try #require(try daemon.inspect("loud")["LogPath"].string)
            #expect(exists(log) && exists(log + ".1") && exists(log + ".2") && !exists(log + ".3"))
            #expect(try daemon.must("logs", "--tail", "1", "loud") == "line 2999")
            try daemon.must("kill", "-s", "USR1", "box")
            #expect(try eventually { try daemon.must("logs", "box").contains("caught") })
            try writeFile(daemon.directory + "/file", "content\n")
            try daemon.must("cp", daemon.directory + "/file", "box:/file")
            #expect(try daemon.must("exec", "box", "cat", "/file") == "content")
            let terminal = try daemon.spawn("exec", "-it", "box", "sh", "-c", "tty; stty size", standard: .terminal)
            #expect(try terminal.finish().output == "/dev/pts/0\r\n24 80\r\n")
            let all = try daemon.must(
                "exec", "--privileged", "box", "sh", "-c", "grep -h -E 'CapEff|Seccomp:' /proc/self/status")
            #expect(all.hasPrefix("CapEff:\t000001ff") && all.hasSuffix("Seccomp:\t0"), "\(all)")
            #expect(try daemon.cli("exec", "box", "/nothing").status == 127)
            #expect(try daemon.cli("exec", "-u", "1000", "box", "sh", "-c", "exit 7").status == 7)
            #expect(try daemon.cli("exec", "-d", "box", "touch", "/done").status == 0)
            #expect(try eventually { try daemon.cli("exec", "box", "test", "-e", "/done").status == 0 })
            _ = try daemon.state(of: "box") { $0["Health"]["Status"].string == "healthy" }
            // The first process may become another user and is stopped all the same.
            try daemon.must("run", "-d", "--name", "user", "-u", "1000:1000", "busybox", "sleep", "1000")
            _ = try monitor(of: "user", daemon)
            try daemon.must("stop", "-t", "20", "user")
            #expect(try daemon.inspect("user")["State"]["ExitCode"].int == 143)
            // Everything started goes with its monitor's death or the daemon's.
            daemon.kill()
            try daemon.start()
            #expect(try daemon.must("exec", "box", "echo", "after") == "after")
            let limited = try daemon.cli(
                "run", "--name", "hog", "--memory", "16m", "--memory-swap", "16m", "busybox", "sh", "-c",
                "sleep 0.5; x=a; while :; do x=$x$x; done")
            #expect(limited.status == 137)
            #expect(try daemon.inspect("hog")["State"]["OOMKilled"].bool == true)
        }
    }
}
