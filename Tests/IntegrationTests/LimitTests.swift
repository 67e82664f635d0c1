import Glibc
import Testing

@Suite("Limits, as far as every host has them; the virtual machine sees each bite on pure cgroup v2")
struct LimitTests {
    @Test("Memory: too much of it ends with 137 and OOMKilled, and the events say so")
    func memory() throws {
        try withDaemon { daemon in
            let hog = "x=a; while :; do x=$x$x; done"
            let outcome = try daemon.cli("run", "--name", "hog", "--memory", "32m", "busybox", "sh", "-c", hog)
            #expect(outcome.status == 137)
            let state = try daemon.inspect("hog")["State"]
            #expect(state["OOMKilled"].bool == true)
            #expect(state["ExitCode"].int == 137)
            let events = try daemon.must(
                "events", "--since", "1h", "--until", "0s", "--filter", "container=hog", "--format", "{{.Action}}")
            #expect(events.split(separator: "\n").contains("oom"))
            // A program killed for another reason is not called OOM-killed.
            try daemon.must("run", "-d", "--name", "other", "--memory", "32m", "busybox", "sleep", "1000")
            try daemon.must("kill", "other")
            #expect(try daemon.inspect("other")["State"]["OOMKilled"].bool == false)
        }
    }

    @Test("Processes: the limit is the container's own, not counting the reaper")
    func processes() throws {
        try withDaemon { daemon in
            let script = "n=0; while [ $n -lt 20 ]; do sleep 5 & n=$((n+1)); done; exit 0"
            let outcome = try daemon.cli("run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script)
            #expect(outcome.error.contains("can't fork"))
            try daemon.must(
                "run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c",
                "sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait")
            try daemon.must("run", "-d", "--name", "c", "--pids-limit", "7", "busybox", "sleep", "1000")
            #expect(try daemon.inspect("c")["HostConfig"]["PidsLimit"].int == 7)
        }
    }

    @Test("update changes what a running container may use")
    func update() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "c", "--memory", "64m", "busybox", "sleep", "1000")
            try daemon.must("update", "--memory", "128m", "--memory-swap", "128m", "--pids-limit", "9", "c")
            #expect(try daemon.inspect("c")["HostConfig"]["Memory"].int == 128 << 20)
            let stats = try daemon.api("GET", "/containers/c/stats?stream=0&one-shot=1").json()
            #expect(stats["memory_stats"]["limit"].int == 128 << 20)
        }
    }

    @Test("A fork bomb leaves the host and its neighbour responsive, and goes at once")
    func forkBomb() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "neighbour", "busybox", "sleep", "1000")
            try daemon.must(
                "run", "-d", "--name", "bomb", "--pids-limit", "64", "--memory", "64m", "--cpus", "0.5", "busybox",
                "sh", "-c",
                "b() { b | b & }; b; sleep 1000")
            #expect(try daemon.must("exec", "neighbour", "echo", "fine") == "fine")
            try daemon.must("rm", "-f", "bomb")
            #expect(try daemon.must("ps", "--format", "{{.Names}}") == "neighbour")
        }
    }
}
