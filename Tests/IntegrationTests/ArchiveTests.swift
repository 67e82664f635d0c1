import Glibc
import Testing

/// Archives in and out of a container (`cp`): each attack beside its legitimate twin, on a container that runs and on one
/// that is stopped.
@Suite("Archives")
struct ArchiveTests {
    private static let script = """
        ln -s / /root-link; ln -s ../../../../../../.. /climb; mkdir -p /run; ln -s /run /var/run2; mkdir /plain
        echo inside >/etc/secret; echo ready; sleep 1000
        """

    private func withContainers(_ body: (TestDaemon, String) throws -> Void) throws {
        try withDaemon { daemon in
            for name in ["runs", "stopped"] {
                try daemon.must("run", "-d", "--name", name, "busybox", "sh", "-c", ArchiveTests.script)
                try daemon.spawn("logs", "-f", name).waitFor("ready\n")
            }
            try daemon.must("kill", "stopped")
            for name in ["runs", "stopped"] { try body(daemon, name) }
        }
    }

    /// PUTs a file as it is; the answer's status and body.
    private func put(_ daemon: TestDaemon, _ file: String, _ name: String, _ path: String) throws -> (Int, String) {
        let text = try host(
            "curl", "-s", "-X", "PUT", "--data-binary", "@" + file, "-H", "Content-Type: application/x-tar", "-w",
            "%{http_code}", "--unix-socket", daemon.socket, "http://daemon/containers/\(name)/archive?path=\(path)")
        return (Int(text.suffix(3)) ?? 0, String(text.dropLast(3)))
    }

    /// A tar of one file, `evil`, whose name `expression` (sed's) changes; with `--transform` also of link targets.
    private func archive(_ daemon: TestDaemon, _ expression: String, _ extra: String = "") throws -> String {
        let path = daemon.directory + "/crafted.tar"
        let prepare = "rm -rf c crafted.tar && mkdir c && cd c && echo evil >evil && \(extra.isEmpty ? "true" : extra)"
        _ = try host(
            "sh", "-c",
            "cd \(daemon.directory) && \(prepare)"
                + " && tar -cPf ../crafted.tar --transform '\(expression)' $(ls -A | sort)")
        return path
    }

    @Test("Links lead nowhere but into the container's own root; /var/run -> /run works")
    func linksAreTheContainers() throws {
        try withContainers { daemon, name in
            let mark = "mycontainer-attack-\(getpid())"
            let file = try archive(daemon, "s,evil,\(mark),")
            for path in ["/root-link/tmp", "/climb/tmp", "/var/run2"] {
                #expect(try put(daemon, file, name, path).0 == 200)
            }
            #expect(!exists("/tmp/\(mark)") && !exists("/run/\(mark)"))
            // The twins: they are where the links lead inside, and can be had through them.
            for (path, place) in [("/tmp/\(mark)", "/climb/tmp"), ("/run/\(mark)", "/var/run2")] {
                let copied = daemon.directory + "/out"
                try daemon.must("cp", "\(name):\(path)", copied)
                #expect(try readFile(copied) == "evil\n")
                try daemon.must("cp", "\(name):\(place)/\(mark)", copied)
                #expect(try readFile(copied) == "evil\n")
            }
            let secret = daemon.directory + "/secret"
            try daemon.must("cp", "\(name):/root-link/etc/secret", secret)
            #expect(try readFile(secret) == "inside\n")
        }
    }

    @Test("Entries that climb out are refused with nothing written; dots that stay inside work")
    func entriesStayBelow() throws {
        try withContainers { daemon, name in
            for expression in ["s,evil,../../evil,", "s,evil,a/../../evil,"] {
                let (status, body) = try put(daemon, try archive(daemon, expression), name, "/plain")
                #expect(status == 400 && body.contains("which is not below its directory"))
            }
            let link = try archive(daemon, "s,^none$,none,", "ln evil z-hard")
            #expect(try put(daemon, link, name, "/plain").0 == 200)
            let climbing = try archive(daemon, "s,evil,../../etc/secret,RSh", "ln evil z-hard")
            #expect(try put(daemon, climbing, name, "/plain").0 == 400)
            #expect(try put(daemon, try archive(daemon, "s,evil,./a/./good,"), name, "/plain").0 == 200)
            let copied = daemon.directory + "/out"
            try daemon.must("cp", "\(name):/plain/a/good", copied)
            #expect(try readFile(copied) == "evil\n")
            #expect(try daemon.cli("cp", "\(name):/evil", copied).status == 1)
        }
    }

    @Test("A link in an archive is not a way out for the entries behind it; a link to a neighbour works")
    func linksInArchives() throws {
        try withContainers { daemon, name in
            let mark = "mycontainer-attack-\(getpid())"
            // `a` is a link to /tmp, and then a file below it: it goes where the link leads inside the container.
            let file = try archive(daemon, "s,evil,a/\(mark),;s,^b$,a,", "ln -s /tmp b")
            #expect(try put(daemon, file, name, "/plain").0 == 200)
            #expect(!exists("/tmp/\(mark)"))
            let copied = daemon.directory + "/out"
            try daemon.must("cp", "\(name):/tmp/\(mark)", copied)
            #expect(try readFile(copied) == "evil\n")
        }
    }

    @Test("A directory that the container swaps for a link meanwhile never leads outside")
    func swapping() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "busybox", "sh", "-c",
                "mkdir /real; echo ready; while :; do ln -sfn / /flip; ln -sfn /real /flip; rm -f /flip; mkdir /flip; rmdir /flip; done"
            )
            try daemon.spawn("logs", "-f", "box").waitFor("ready\n")
            let mark = "mycontainer-attack-\(getpid())"
            let file = try archive(daemon, "s,evil,\(mark),")
            for _ in 0..<60 {
                // Whatever the moment's answer is.
                _ = try put(daemon, file, "box", "/flip/tmp")
                _ = try put(daemon, file, "box", "/flip")
            }
            #expect(!exists("/\(mark)") && !exists("/tmp/\(mark)"))
            #expect(try daemon.inspect("box")["State"]["Running"].bool == true)
        }
    }

    /// A name that is no UTF-8, in octal for printf.
    private static let odd = "a\\377b"

    @Test("Names that are no UTF-8 stay what they are, both ways, and in a diff, a commit, an export and a removal")
    func oddNames() throws {
        try withDaemon { daemon in
            let source = daemon.directory + "/source"
            _ = try host("sh", "-c", "mkdir \(source) && echo odd >\(source)/$(printf '\(Self.odd)')")
            try daemon.must("run", "-d", "--name", "box", "-v", "kept:/kept", "busybox", "sleep", "1000")
            try daemon.must("cp", source, "box:/tmp")
            let read = "cat /tmp/source/$(printf '\(Self.odd)')"
            #expect(try daemon.must("exec", "box", "sh", "-c", read) == "odd")
            try daemon.must("cp", "box:/tmp/source", daemon.directory + "/back")
            #expect(try host("sh", "-c", "cat \(daemon.directory)/back/$(printf '\(Self.odd)')") == "odd")
            #expect(try daemon.must("diff", "box").contains("A /tmp/source/a\u{fffd}b"))
            try daemon.must("commit", "box", "odd:1")
            #expect(try daemon.must("run", "--rm", "odd:1", "sh", "-c", read) == "odd")
            let exported = daemon.directory + "/export.tar"
            try daemon.must("export", "-o", exported, "box")
            let name = "tmp/source/$(printf '\(Self.odd)')"
            #expect(try host("sh", "-c", "tar -xOf \(exported) \(name)") == "odd")
            try daemon.must("exec", "box", "sh", "-c", "mkdir -p /kept/$(printf '\(Self.odd)')")
            try daemon.must("rm", "-f", "box")
            try daemon.must("volume", "rm", "kept")
            let graves = "\(daemon.directory)/data/deleted"
            // But for what is ready for the next container.
            #expect(try eventually { try host("sh", "-c", "ls -A \(graves) | grep -v ^new- || true") == "" })
        }
    }

    @Test("A file of the user's that is named on the command line may have any name; what JSON can't name is refused")
    func oddArguments() throws {
        try withDaemon { daemon in
            /// Runs the program in `sh`, with `$odd` in the command line for the name.
            func odd(_ words: String) throws -> Outcome {
                let script =
                    "cd \(daemon.directory) && odd=$(printf '\(Self.odd)') && \(TestDaemon.programs)/mycontainer \(words)"
                return try Command("/bin/sh", ["-c", script], environment: daemon.environment).finish()
            }
            _ = try host("sh", "-c", "cd \(daemon.directory) && echo odd >$(printf '\(Self.odd)')")
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            #expect(try odd("cp \"$odd\" box:/tmp").status == 0)
            #expect(try odd("cp box:/tmp/. \"$odd.d\"").status == 0)
            #expect(
                try host("sh", "-c", "cd \(daemon.directory) && odd=$(printf '\(Self.odd)') && cat $odd.d/$odd")
                    == "odd")
            #expect(try odd("cp box:/etc/hostname \"$odd.d/\"").status == 0)
            #expect(try odd("save -o \"$odd.tar\" busybox && rm -r \"$odd.d\"").status == 0)
            #expect(try odd("load -i \"$odd.tar\"").output.contains("Loaded image: busybox:latest"))
            #expect(try odd("export -o \"$odd.tar\" box").status == 0)
            #expect(try odd("import \"$odd.tar\" odd:1").status == 0)
            _ = try host("sh", "-c", "cd \(daemon.directory) && echo A=b >$(printf '\(Self.odd)').env")
            let words = "run --rm --env-file \"$odd.env\" --cidfile \"$odd.id\" busybox env"
            let outcome = try odd(words)
            #expect(outcome.output.contains("A=b\n"), "\(outcome.output)\(outcome.error)")
            #expect(try odd(words).error.contains("container ID file found"))
            for mount in ["-v \"$PWD/$odd:/x\"", "--mount \"type=bind,src=$PWD/$odd,dst=/x\""] {
                let outcome = try odd("run --rm \(mount) busybox true")
                #expect(outcome.status == 125 && outcome.error.contains("it is not UTF-8"), "\(outcome.error)")
            }
            #expect(try odd("cp box:/tmp/\"$odd\" .").error.contains("it is not UTF-8"))
        }
    }

    @Test("Where save and export can't write is said before anything is asked of the daemon; a link is not replaced")
    func targets() throws {
        try withDaemon { daemon in
            let link = daemon.directory + "/link"
            _ = try host("sh", "-c", "echo kept >\(daemon.directory)/file && ln -s file \(link)")
            for (verb, task) in [("save", "save image"), ("export", "export container")] {
                func refusal(_ path: String) throws -> String {
                    let outcome = try daemon.cli(verb, "-o", path, "nosuch")
                    #expect(outcome.status == 1)
                    return outcome.error
                }
                let nowhere = daemon.directory + "/nosuch"
                #expect(
                    try refusal(nowhere + "/x")
                        == "failed to \(task): invalid output path: stat \(nowhere): no such file or directory\n")
                #expect(try refusal(daemon.directory) == "failed to \(task): cannot write to a directory\n")
                #expect(try refusal(link) == "failed to \(task): cannot write to a symbolic link directly\n")
            }
            #expect(try host("cat", link) == "kept")
            // The twin: what is there may be replaced, and a device behind a link is written to.
            try daemon.must("save", "-o", daemon.directory + "/file", "busybox")
            #expect(try host("tar", "-tf", daemon.directory + "/file").contains("manifest.json"))
            try daemon.must("save", "-o", "/dev/stdout", "busybox")
        }
    }

    @Test("A container that nests thousands of directories ends neither the daemon nor what is asked of it")
    func deepTrees() throws {
        try withDaemon { daemon in
            let nest = "cd /tmp; i=0; while [ $i -lt 3000 ]; do mkdir d && cd d; i=$((i + 1)); done"
            _ = try daemon.cli("run", "--name", "deep", "busybox", "sh", "-c", nest)
            for arguments in [["diff", "deep"], ["commit", "deep", "deep:1"]] {
                let outcome = try daemon.cli(arguments: arguments)
                #expect(
                    outcome.status == 1 && outcome.error.contains("is too long"), "\(arguments[0]): \(outcome.error)")
            }
            #expect(try daemon.cli("cp", "deep:/tmp", daemon.directory + "/out").status == 1)
            #expect(try daemon.cli("export", "-o", daemon.directory + "/out.tar", "deep").status == 1)
            // The twin: what an archive can hold is packed.
            let fair = "cd /tmp; i=0; while [ $i -lt 900 ]; do mkdir d && cd d; i=$((i + 1)); done; echo low >f"
            try daemon.must("run", "--name", "fair", "busybox", "sh", "-c", fair)
            #expect(try daemon.must("diff", "fair").hasSuffix("/d/f"))
            try daemon.must("commit", "fair", "fair:1")
            let find = "cd /tmp; while cd d 2>/dev/null; do :; done; cat f"
            #expect(try daemon.must("run", "--rm", "fair:1", "sh", "-c", find) == "low")
        }
    }
}
