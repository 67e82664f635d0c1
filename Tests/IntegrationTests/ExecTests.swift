import Glibc
import Testing

@Suite("exec: another program in a running container")
struct ExecTests {
    private func withContainer(_ flags: [String] = [], _ body: (TestDaemon) throws -> Void) throws {
        try withDaemon { daemon in
            let outcome = try daemon.cli(
                arguments: ["run", "-d", "--name", "box"] + flags + ["busybox", "sleep", "1000"])
            try #require(outcome.status == 0, "\(outcome.error)")
            try body(daemon)
        }
    }

    @Test("Streams and codes are the program's own: 126, 127 and 128 and the signal's number too")
    func codes() throws {
        try withContainer { daemon in
            let outcome = try daemon.cli("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 7")
            #expect(outcome.status == 7)
            #expect(outcome.output == "out\n")
            #expect(outcome.error == "err\n")
            #expect(try daemon.cli("exec", "box", "sh", "-c", "kill -9 $$").status == 137)
            #expect(try daemon.cli("exec", "box", "no-such-command").status == 127)
            #expect(try daemon.cli("exec", "box", "/etc/passwd").status == 126)
            #expect(try daemon.cli("exec", "nobody", "true").status == 1)
        }
    }

    @Test("It shares the container's namespaces, root, limits and identity")
    func sharing() throws {
        try withContainer(["--hostname", "box", "-e", "A=1"]) { daemon in
            try daemon.must("exec", "box", "sh", "-c", "echo shared >/note")
            #expect(try daemon.must("exec", "box", "sh", "-c", "cat /note; hostname; echo $A") == "shared\nbox\n1")
            let namespaces = "for n in ipc mnt net pid uts cgroup; do readlink /proc/$P/ns/$n; done"
            let ours = try daemon.must("exec", "box", "sh", "-c", "P=self; \(namespaces)")
            let theirs = try daemon.must("exec", "box", "sh", "-c", "P=1; \(namespaces)")
            #expect(ours == theirs)
            #expect(
                try daemon.must("exec", "box", "cat", "/proc/self/cgroup")
                    == daemon.must("exec", "box", "cat", "/proc/1/cgroup"))
        }
    }

    @Test("User, directory and environment can be its own")
    func settings() throws {
        try withContainer { daemon in
            try #expect(daemon.must("exec", "-u", "1234:567", "box", "sh", "-c", "id -u; id -g") == "1234\n567")
            try #expect(daemon.must("exec", "-w", "/tmp", "-e", "B=2", "box", "sh", "-c", "pwd; echo $B") == "/tmp\n2")
            try #expect(daemon.cli("exec", "-u", "nobody-here", "box", "true").status == 126)
        }
    }

    @Test("Standard input and terminals work as with run")
    func interactive() throws {
        try withContainer { daemon in
            let piped = try daemon.spawn("exec", "-i", "box", "sh", "-c", "cat; exit 3", standard: .piped)
            try piped.write("through\n")
            try piped.waitFor("through")
            piped.closeInput()
            #expect(try piped.finish().status == 3)
            let terminal = try daemon.spawn("exec", "-it", "box", "sh", standard: .terminal)
            try terminal.write("stty size; tty\n")
            try terminal.waitFor("24 80")
            try terminal.waitFor("/dev/pts/")
            try terminal.write("exit 8\n")
            #expect(try terminal.finish().status == 8)
        }
    }

    @Test("Detached, it goes on without a client, and its code can be asked for")
    func detached() throws {
        try withContainer { daemon in
            try daemon.must("exec", "-d", "box", "sh", "-c", "echo ran >/ran; exit 5")
            #expect(try eventually { try daemon.cli("exec", "box", "cat", "/ran").output == "ran\n" })
            let created = try daemon.api("POST", "/containers/box/exec", body: #"{"Cmd":["sh","-c","exit 9"]}"#)
            #expect(created.status == 201)
            let id = try #require(try created.json()["Id"].string)
            let started = try daemon.api("POST", "/exec/\(id)/start", body: #"{"Detach":true}"#)
            #expect(started.status == 200)
            #expect(
                try eventually {
                    let state = try daemon.api("GET", "/exec/\(id)/json").json()
                    return state["Running"].bool == false && state["ExitCode"].int == 9
                })
        }
    }

    @Test("It ends with the container")
    func endsWithContainer() throws {
        try withContainer { daemon in
            let command = try daemon.spawn("exec", "box", "sh", "-c", "echo up; sleep 1000")
            try command.waitFor("up")
            let created = try daemon.api("POST", "/containers/box/exec", body: #"{"Cmd":["sleep","1000"]}"#).json()
            let id = try #require(created["Id"].string)
            #expect(try daemon.api("POST", "/exec/\(id)/start", body: #"{"Detach":true}"#).status == 200)
            try daemon.must("kill", "box")
            #expect(try command.finish().status == 137)
            // Whoever asks late is still told.
            try daemon.must("wait", "box")
            let exec = try daemon.api("GET", "/exec/\(id)/json").json()
            #expect(exec["Running"].bool == false && exec["ExitCode"].int == 137)
            try daemon.must("start", "box")
            #expect(try daemon.api("GET", "/exec/\(id)/json").status == 404)
        }
    }

    @Test("A stopped container takes none")
    func stopped() throws {
        try withContainer { daemon in
            try daemon.must("stop", "box")
            let outcome = try daemon.cli("exec", "box", "true")
            #expect(outcome.status == 1)
            #expect(outcome.error.contains("not running"))
        }
    }
}
