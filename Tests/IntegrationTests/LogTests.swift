import Glibc
import Testing

@Suite("logs and attach")
struct LogTests {
    @Test("Both streams are kept apart, whole, in order; tail, timestamps and since choose")
    func choosing() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "--name", "box", "busybox", "sh", "-c",
                "for i in 1 2 3 4; do echo $i; done; echo e >&2; printf half")
            let all = try daemon.cli("logs", "box")
            #expect(all.output == "1\n2\n3\n4\nhalf")
            #expect(all.error == "e\n")
            #expect(try daemon.cli("logs", "--tail", "0", "box").output == "")
            #expect(try daemon.cli("logs", "--tail", "1", "box").output == "half")
            let stamped = try daemon.cli("logs", "-t", "box").lines
            #expect(stamped.count == 5)
            #expect(stamped.allSatisfy { $0.contains("T") && $0.contains("Z ") })
            #expect(stamped[0].hasSuffix("Z 1"))
            #expect(try daemon.cli("logs", "--since", "1h", "box").output == "1\n2\n3\n4\nhalf")
            #expect(try daemon.cli("logs", "--since", "2100-01-01T00:00:00Z", "box").output == "")
            #expect(try daemon.cli("logs", "--until", "1h", "box").output == "")
            #expect(try daemon.cli("logs", "nobody").status == 1)
        }
    }

    @Test("-f goes on until the container ends")
    func follow() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", "echo one; read x; echo two $x")
            let following = try daemon.spawn("logs", "-f", "box")
            try following.waitFor("one\n")
            let attached = try daemon.spawn("attach", "box", standard: .piped)
            try attached.write("words\n")
            let outcome = try following.finish()
            #expect(outcome.output == "one\ntwo words\n")
            #expect(outcome.status == 0)
            #expect(try attached.finish().output.hasSuffix("two words\n"))
        }
    }

    @Test("Lines longer than a log record, binary bytes and a missing newline come back as they were")
    func exactBytes() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "--name", "long", "busybox", "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
            #expect(try daemon.cli("logs", "long").output == String(repeating: "x", count: 100_000) + "\nend\n")
            let script = "printf 'a\\001\\002\\t\\\\ \"q\" \\303\\251\\r\\n\\n\\nb'"
            let live = try daemon.cli("run", "--name", "odd", "busybox", "sh", "-c", script)
            #expect(live.output == "a\u{1}\u{2}\t\\ \"q\" é\r\n\n\nb")
            #expect(try daemon.cli("logs", "odd").output == live.output)
        }
    }

    @Test("Several attached clients see the same; each may leave")
    func attachMany() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", "while read line; do echo got $line; done")
            let first = try daemon.spawn("attach", "box", standard: .piped)
            let second = try daemon.spawn("attach", "--no-stdin", "box")
            // Until both are attached, output may be missed by one: say it until both heard it.
            let heard = try eventually {
                try first.write("hello\n")
                let one = (try? first.waitFor("got hello", seconds: 0.3)) != nil
                let two = (try? second.waitFor("got hello", seconds: 0.3)) != nil
                return one && two
            }
            #expect(heard)
            second.signal(SIGKILL)
            try first.write("still here\n")
            try first.waitFor("got still here")
            // Its end is the container's; stdin, kept open for the next client, does not end with this one.
            first.closeInput()
            try daemon.must("kill", "box")
            #expect(try first.finish().status == 137)
        }
    }

    @Test("The detach keys leave the container running")
    func detachKeys() throws {
        try withDaemon { daemon in
            let command = try daemon.spawn("run", "-it", "--name", "box", "busybox", "sh", standard: .terminal)
            try command.write("echo r$((40+2))\n")
            try command.waitFor("r42")
            try command.write("\u{10}\u{11}")
            #expect(try command.finish().status == 0)
            #expect(try daemon.inspect("box")["State"]["Running"].bool == true)
        }
    }

    @Test("json-file when asked is real json-file; none keeps nothing")
    func drivers() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--name", "json", "--log-driver", "json-file", "busybox", "echo", "hello")
            let path = try #require(try daemon.inspect("json")["LogPath"].string)
            let record = try JSON.parse(try readFile(path))
            #expect(record["log"].string == "hello\n")
            #expect(record["stream"].string == "stdout")
            #expect(record["time"].string?.hasSuffix("Z") == true)
            #expect(try daemon.must("logs", "json") == "hello")
            let silent = try daemon.cli("run", "--name", "none", "--log-driver", "none", "busybox", "echo", "hello")
            #expect(silent.output == "hello\n")
            #expect(try daemon.cli("logs", "none").status == 1)
            #expect(try daemon.must("run", "--rm", "busybox", "echo", "x") == "x")
            #expect(try daemon.inspect("json")["HostConfig"]["LogConfig"]["Type"].string == "json-file")
        }
    }

    @Test("syslog and journald: logs reads what is kept beside, a receiver that is absent is named")
    func sendingDrivers() throws {
        try withDaemon { daemon in
            // Nobody listens on that port, and datagrams get lost quietly.
            try daemon.must(
                "run", "--name", "far", "--log-driver", "syslog", "--log-opt", "syslog-address=udp://127.0.0.1:9",
                "busybox", "echo", "hello")
            #expect(try daemon.must("logs", "far") == "hello")
            try daemon.must(
                "run", "--name", "unread", "--log-driver", "syslog", "--log-opt", "syslog-address=udp://127.0.0.1:9",
                "--log-opt", "cache-disabled=true", "busybox", "echo", "hello")
            let unread = try daemon.cli("logs", "unread")
            #expect(unread.status == 1)
            #expect(unread.error.contains("configured logging driver does not support reading"))
            let absent = try daemon.cli(
                "run", "--log-driver", "syslog", "--log-opt", "syslog-address=unixgram:///no/such", "busybox", "true")
            // docker's command line takes those words for a program that isn't there.
            #expect(absent.status == 127 && absent.error.contains("stat /no/such: no such file or directory"))
            if !exists("/run/systemd/journal/socket") {
                let journal = try daemon.cli("run", "--log-driver", "journald", "busybox", "true")
                #expect(journal.status == 125 && journal.error.contains("journald is not enabled on this host"))
            }
            let unknown = try daemon.cli("run", "--log-driver", "gelf", "busybox", "true")
            #expect(unknown.error.contains("error looking up logging plugin gelf: plugin \"gelf\" not found"))
        }
    }

    @Test("Events are kept across a restart, in order, and since and until choose among them")
    func keptEvents() throws {
        try withDaemon { daemon in
            try daemon.must("create", "--name", "one", "busybox", "true")
            let middle = try host("date", "+%s.%N")
            try daemon.must("start", "-a", "one")
            try daemon.must("rm", "one")
            func told(since: String) throws -> [Substring] {
                try daemon.cli(
                    "events", "--since", since, "--until", "0s", "--filter", "type=container", "--format", "{{.Action}}"
                ).output.split(separator: "\n")
            }
            let all: [Substring] = ["create", "attach", "start", "die", "destroy"]
            #expect(try told(since: "1h") == all)
            #expect(daemon.stop())
            try daemon.start()
            #expect(try told(since: "1h") == all)
            #expect(try told(since: middle) == Array(all.dropFirst()))
            #expect(try told(since: "2100-01-01") == [])
        }
    }

    @Test("Logs rotate at the size asked for and stay readable")
    func rotation() throws {
        try withDaemon { daemon in
            let script = "i=0; while [ $i -lt 3000 ]; do echo line number $i; i=$((i+1)); done"
            try daemon.must(
                "run", "--name", "box", "--log-opt", "max-size=20k", "--log-opt", "max-file=3", "busybox", "sh", "-c",
                script)
            let lines = try daemon.cli("logs", "box").lines
            #expect(lines.last == "line number 2999")
            #expect(lines.count < 3000)
            // What is left has no hole.
            let first = try #require(lines.first?.split(separator: " ").last.flatMap { Int($0) })
            #expect(lines == (first..<3000).map { "line number \($0)" })
        }
    }
}
