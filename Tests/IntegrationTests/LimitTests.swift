import Glibc
import Testing

@Suite("Limits, as far as every host has them; the virtual machine sees each bite on pure cgroup v2")
struct LimitTests {
    @Test("Memory: too much of it ends with 137 and OOMKilled, and the events say so")
    func memory() throws {
        try withDaemon { daemon in
            // Bounded, for the sake of a machine on which no limit holds.
            let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]
            let outcome = try daemon.cli(
                arguments: ["run", "--name", "hog", "--memory", "32m", "--memory-swap", "32m", "busybox"] + hog)
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
            try daemon.must("run", "-d", "--name", "box", "--pids-limit", "7", "busybox", "sleep", "1000")
            #expect(try daemon.inspect("box")["HostConfig"]["PidsLimit"].int == 7)
        }
    }

    @Test("update changes what a running container may use")
    func update() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "--memory", "64m", "busybox", "sleep", "1000")
            try daemon.must("update", "--memory", "128m", "--memory-swap", "128m", "--pids-limit", "9", "box")
            #expect(try daemon.inspect("box")["HostConfig"]["Memory"].int == 128 << 20)
            let stats = try daemon.api("GET", "/containers/box/stats?stream=0&one-shot=1").json()
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

    @Test("Processor: a quota throttles, as the counters tell; a CPU list is what the program sees")
    func processor() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "--cpus", "0.05", "--cpuset-cpus", "0", "busybox", "sh", "-c",
                "while :; do :; done")
            let throttled = try eventually {
                let stats = try daemon.api("GET", "/containers/box/stats?stream=0&one-shot=1").json()["cpu_stats"]
                return (stats["throttling_data"]["throttled_periods"].int ?? 0) > 0
                    && (stats["throttling_data"]["throttled_time"].int ?? 0) > 0
                    && (stats["cpu_usage"]["total_usage"].int ?? 0) > 0
            }
            #expect(throttled)
            #expect(
                try daemon.must("exec", "box", "grep", "Cpus_allowed_list", "/proc/1/status")
                    .split(separator: "\t").last == "0")
            try daemon.must("pause", "box")
            #expect(try daemon.inspect("box")["State"]["Paused"].bool == true)
            try daemon.must("unpause", "box")
        }
    }

    @Test("Disk: a throttle slows direct writes down and the counters tell how much was written")
    func disk() throws {
        try withDaemon { daemon in
            var status = stat()
            #expect(stat(daemon.dataRoot, &status) == 0)
            // makedev(3): 12 bits of major among 20 of minor.
            let number = "\(status.st_dev >> 8 & 0xfff):\(status.st_dev & 0xff | status.st_dev >> 12 & 0xfff00)"
            guard let link = realpath("/sys/dev/block/" + number, nil) else { return }  // not on a disk of its own
            defer { free(link) }
            // A partition is throttled as the disk that it is on.
            var path = String(cString: link)
            if exists(path + "/partition") { path = path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } }
            let disk = "/dev/" + path.split(separator: "/").last!
            try daemon.must(
                "run", "-d", "--name", "box", "-v", "data:/data", "--device-write-bps", disk + ":1mb", "busybox",
                "sleep",
                "1000")
            let started = ContinuousClock.now
            try daemon.must(
                "exec", "box", "dd", "if=/dev/zero", "of=/data/file", "bs=1M", "count=3", "oflag=direct")
            // A lower bound: a slow machine can't fail it.
            #expect(ContinuousClock.now - started > .seconds(1))
            let stats = try daemon.api("GET", "/containers/box/stats?stream=0&one-shot=1").json()["blkio_stats"]
            let written = (stats["io_service_bytes_recursive"].array ?? []).filter {
                $0["op"].string?.lowercased() == "write"
            }.reduce(0) { $0 + ($1["value"].int ?? 0) }
            #expect(written >= 3 << 20)
        }
    }

    @Test("What no host can enforce is refused with docker's sentences, and nothing is left of the container")
    func refused() throws {
        try withDaemon { daemon in
            for (arguments, sentence) in [
                (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
                (["--memory", "64m", "--memory-swap", "32m"], "Minimum memoryswap limit should be larger"),
                (["--cpus", "4096"], "range of CPUs is from 0.01 to"),
                (["--cpuset-cpus", "8000"], "Requested CPUs are not available"),
                (["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
                (["--cpu-period", "10"], "CPU cfs period can not be less than 1ms"),
                (["--device-write-bps", "/dev/no-such-disk:1mb"], "no-such-disk"),
            ] {
                let outcome = try daemon.cli(
                    arguments: ["run", "--name", "box"] + arguments + ["busybox", "true"])
                // As docker's client has it: what reads like a missing file is 127.
                let code: Int32 = sentence == "no-such-disk" ? 127 : 125
                #expect(outcome.status == code, "\(arguments): \(outcome.error)")
                #expect(outcome.error.contains(sentence), "\(arguments): \(outcome.error)")
                _ = try daemon.cli("rm", "-f", "box")
            }
        }
    }

    @Test("A host's warning comes with the answer and the container runs without that limit")
    func warned() throws {
        try withDaemon { daemon in
            let isPure = try daemon.api("GET", "/info").json()["CgroupVersion"].string == "2"
            let outcome = try daemon.cli(
                "run", "--rm", "--memory", "64m", "--memory-swappiness", "10", "busybox", "echo", "ran")
            #expect(outcome.status == 0)
            #expect(outcome.output == "ran\n")
            #expect(outcome.error.contains("swappiness") == isPure, "\(outcome.error)")
        }
    }
}
