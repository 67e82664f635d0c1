import Testing

@Suite("run: what comes out, and how it ends")
struct RunTests {
    @Test("Output, errors and the exit code are the program's own")
    func streamsAndCode() throws {
        try withDaemon { daemon in
            let outcome = try daemon.cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 42")
            #expect(outcome.status == 42)
            #expect(outcome.output == "out\n")
            #expect(outcome.error == "err\n")
            #expect(try daemon.must("ps", "-aq") == "")
        }
    }

    @Test("A program killed by a signal ends with 128 and its number", arguments: [(9, 137), (15, 143), (10, 138)])
    func killed(signal: Int, status: Int32) throws {
        try withDaemon { daemon in
            let outcome = try daemon.cli("run", "--rm", "busybox", "sh", "-c", "kill -\(signal) $$; sleep 60")
            #expect(outcome.status == status)
        }
    }

    @Test("A command that is not there ends with 127, one that can't be executed with 126")
    func notFoundAndNotExecutable() throws {
        try withDaemon { daemon in
            let missing = try daemon.cli("run", "--name", "missing", "busybox", "no-such-command")
            #expect(missing.status == 127)
            #expect(missing.error.contains("no-such-command"))
            #expect(try daemon.inspect("missing")["State"]["ExitCode"].int == 127)
            #expect(try daemon.inspect("missing")["State"]["Status"].string == "created")
            let absolute = try daemon.cli("run", "--rm", "busybox", "/no/such/file")
            #expect(absolute.status == 127)
            let notExecutable = try daemon.cli("run", "--rm", "busybox", "/etc/passwd")
            #expect(notExecutable.status == 126)
            #expect(notExecutable.error.contains("/etc/passwd"))
            #expect(try daemon.cli("run", "--rm", "busybox", "/etc").status == 126)
        }
    }

    @Test("What the engine refuses ends with 125 and one sentence")
    func refused() throws {
        try withDaemon { daemon in
            for arguments in [
                ["no-such-image"], ["busybox:no-such-tag"], ["--no-such-flag", "busybox"],
                ["--name", "b/ad", "busybox"],
                ["--memory", "1k", "busybox"], ["--memory", "many", "busybox"], ["--cpus", "-1", "busybox"],
                ["-v", "relative/path:/x", "busybox"], ["--network", "container:nobody", "busybox"],
                ["--cap-add", "NO_SUCH", "busybox"], ["-p", "80:eighty", "busybox"],
            ] {
                let outcome = try daemon.cli(arguments: ["run", "--rm"] + arguments + ["true"])
                #expect(outcome.status == 125, "run \(arguments): \(outcome)")
                #expect(!outcome.error.isEmpty, "run \(arguments) said nothing")
            }
            #expect(try daemon.must("ps", "-aq") == "", "a refused container was left")
        }
    }

    @Test("Standard input reaches the program and its end does too")
    func standardInput() throws {
        try withDaemon { daemon in
            let command = try daemon.spawn(
                "run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end", standard: .piped)
            try command.write("one\ntwo\n")
            try command.waitFor("two")
            command.closeInput()
            let outcome = try command.finish()
            #expect(outcome.status == 0)
            #expect(outcome.output == "one\ntwo\nend\n")
        }
    }

    @Test("Without -i standard input is empty")
    func noStandardInput() throws {
        try withDaemon { daemon in
            let command = try daemon.spawn("run", "--rm", "busybox", "wc", "-c", standard: .piped)
            #expect(try command.finish().output == "0\n")
        }
    }

    @Test("A megabyte of either kind comes through whole, in order")
    func muchOutput() throws {
        try withDaemon { daemon in
            let script =
                "i=0; while [ $i -lt 20000 ]; do echo line $i of many that fill a buffer or two; i=$((i+1)); done"
            let outcome = try daemon.cli("run", "--rm", "busybox", "sh", "-c", "(\(script)); (\(script)) >&2")
            let expected = (0..<20000).map { "line \($0) of many that fill a buffer or two\n" }.joined()
            #expect(outcome.output == expected)
            #expect(outcome.error == expected)
        }
    }

    @Test("A terminal is a terminal: size, echo, one stream, CR LF")
    func terminal() throws {
        try withDaemon { daemon in
            let command = try daemon.spawn("run", "-it", "--rm", "busybox", "sh", standard: .terminal)
            try command.write("tty; stty size; echo a$((1+1))b >&2\n")
            try command.waitFor("/dev/pts/0")
            try command.waitFor("24 80")
            try command.waitFor("a2b")
            command.resize(rows: 33, columns: 100)
            command.signal(28)
            let resized = try eventually {
                try command.write("stty size\n")
                return (try? command.waitFor("33 100", seconds: 0.5)) != nil
            }
            #expect(resized, "the new size did not reach the container: \(command.output)")
            try command.write("exit 5\n")
            #expect(try command.finish().status == 5)
        }
    }

    @Test("-d prints the ID at once; wait answers with the exit code")
    func detached() throws {
        try withDaemon { daemon in
            let id = try daemon.must("run", "-d", "busybox", "sh", "-c", "exit 3")
            #expect(id.utf8.count == 64)
            #expect(id.allSatisfy { $0.isHexDigit && !$0.isUppercase })
            #expect(try daemon.must("wait", id) == "3")
            #expect(try daemon.inspect(id)["State"]["ExitCode"].int == 3)
        }
    }

    @Test("Environment, directory, host name and entry point are as asked")
    func settings() throws {
        try withDaemon { daemon in
            let outcome = try daemon.must(
                "run", "--rm", "-e", "ONE=1", "-e", "TWO=two words", "-w", "/tmp/made", "--hostname", "box",
                "--entrypoint",
                "sh", "busybox", "-c", "echo $ONE; echo $TWO; pwd; hostname; echo $0 $#; echo $HOME; echo $PATH")
            #expect(
                outcome.split(separator: "\n").prefix(6).map(String.init) == [
                    "1", "two words", "/tmp/made", "box", "sh 0", "/root",
                ])
            #expect(outcome.hasSuffix("/sbin:/bin"))
        }
    }

    @Test("PID 1 reaps orphans and forwards signals; --init=false makes the program PID 1")
    func reaper() throws {
        try withDaemon { daemon in
            #expect(try daemon.must("run", "--rm", "--init=false", "busybox", "sh", "-c", "echo $$") == "1")
            let child = try daemon.must("run", "--rm", "busybox", "sh", "-c", "echo $$")
            #expect(child != "1")
            // An orphan that ends must not stay a zombie.
            let script = """
                orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!')
                while [ -e /proc/$orphan ]; do :; done
                echo reaped
                """
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", script) == "reaped")
            try daemon.must(
                "run", "-d", "--name", "trap", "busybox", "sh", "-c",
                "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done")
            #expect(try eventually { try daemon.must("logs", "trap") == "up" })
            try daemon.must("stop", "trap")
            #expect(try daemon.inspect("trap")["State"]["ExitCode"].int == 9)
        }
    }

    @Test("stop of a program without handlers takes no grace period")
    func stopIsQuick() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
            // A grace period of an hour: were it waited for, the command would be over its time.
            _ = try daemon.spawn("stop", "-t", "3600", "idle").finish()
            #expect(try daemon.inspect("idle")["State"]["ExitCode"].int == 143)
        }
    }

    @Test("A name that is taken is refused, and free again after rm")
    func names() throws {
        try withDaemon { daemon in
            try daemon.must("create", "--name", "one", "busybox")
            let second = try daemon.cli("create", "--name", "one", "busybox")
            #expect(second.status != 0)
            #expect(second.error.contains("one"))
            try daemon.must("rename", "one", "two")
            try daemon.must("create", "--name", "one", "busybox")
            try daemon.must("rm", "one", "two")
            #expect(try daemon.must("ps", "-aq") == "")
            let gone = try daemon.cli("rm", "two")
            #expect(gone.status == 1)
            #expect(gone.error.contains("two"))
        }
    }

    @Test("A descriptor that the caller has closed is the null device, not the next socket")
    func closedDescriptors() throws {
        try withDaemon { daemon in
            func sh(_ line: String) throws -> Outcome {
                let program = TestDaemon.programs + "/mycontainer"
                return try Command(
                    "/bin/sh", ["-c", "\(program) \(line)"], environment: daemon.environment
                ).finish(seconds: patience)
            }
            let input = try sh("run --rm -i busybox cat <&-")
            #expect(input.status == 0)
            let all = try sh("run --rm -i busybox sh -c 'cat; exit 3' <&- >&- 2>&-")
            #expect(all.status == 3)
        }
    }

    /// A combining character joins the one before it into one `Character`, which then is no separator any more.
    @Test("A combining character behind a slash, a colon or an equals sign belongs to what follows")
    func combiningCharacters() throws {
        try withDaemon { daemon in
            let text = "\u{301}x"
            let values = ["-e", "A=" + text, "-v", "\(daemon.directory):/\(text)", "--label", "a=" + text]
            let command = ["sh", "-c", "echo $A; echo in >/\(text)/\(text)"]
            #expect(try daemon.must(arguments: ["run", "--name", "box"] + values + ["busybox"] + command) == text)
            #expect(try readFile("\(daemon.directory)/\(text)") == "in\n")
            #expect(try daemon.must("inspect", "-f", "{{.Config.Labels.a}}", "box") == text)
            let script = "mkdir -p /d/\(text) && echo deep >/d/\(text)/\(text)"
            try daemon.must("run", "--name", "other", "-w", "/" + text, "busybox", "sh", "-c", script)
            try daemon.must("cp", "other:/d/\(text)/\(text)", daemon.directory + "/copy")
            #expect(try readFile(daemon.directory + "/copy") == "deep\n")
        }
    }
}
