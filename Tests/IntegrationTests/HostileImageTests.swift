import Glibc
import Testing

/// Images that no honest builder makes, each with the honest image that resembles it.
@Suite("Hostile images")
struct HostileImageTests {
    private func withImages(
        _ images: [String: String], _ body: (TestDaemon) throws -> Void
    ) throws {
        let registry = try ScratchRegistry()
        for (name, description) in images { try registry.make(name, description) }
        try withDaemon(["--registry", registry.path]) { daemon in try body(daemon) }
    }

    /// A file outside of every root, which must not come to be.
    private static let outside = "/var/tmp/mycontainer-test-escape-\(getpid())"

    @Test(
        "Layer entries that leave the layer write nothing outside",
        arguments: [
            #"{"name":"../../../../../../../../../../$OUT","content":"x"}"#,
            #"{"name":"/$OUT","content":"x"}"#,
            #"{"name":"out","type":"symlink","link":"/"},{"name":"out/$OUT","content":"x"}"#,
            #"{"name":"out","type":"symlink","link":"../../../../../../../.."},{"name":"out/$OUT","content":"x"}"#,
            #"{"name":"hard","type":"hardlink","link":"../../../../../../../../etc/passwd"},{"name":"hard","content":"x"}"#,
            #"{"name":"d","type":"dir"},{"name":"d/s","type":"symlink","link":"/var/tmp"},{"name":"d","type":"symlink","link":"/"},{"name":"d/$OUT","content":"x"}"#,
        ])
    func escapingEntries(entries: String) throws {
        let text = entries.split(separator: "$OUT", omittingEmptySubsequences: false)
            .joined(separator: String(Self.outside.dropFirst()))
        let passwd = try readFile("/etc/passwd")
        try withImages(["evil": #"{"base":"busybox","layers":[[\#(text)]]}"#]) { daemon in
            let outcome = try daemon.cli("pull", "evil")
            #expect(!exists(Self.outside), "a file was written outside")
            #expect(try readFile("/etc/passwd") == passwd)
            // Either the image was refused, or the entry ended inside it.
            if outcome.status != 0 { try #require(try daemon.must("images", "-q", "evil") == "") }
        }
    }

    @Test("Absolute and relative symbolic links of honest images work, and later layers follow them")
    func honestLinks() throws {
        let layers =
            #"[[{"name":"run","type":"dir"},{"name":"var","type":"dir"},{"name":"var/run","type":"symlink","link":"/run"}],"#
            + #"[{"name":"run/file","content":"through\n"},{"name":"twin","type":"hardlink","link":"run/file"}]]"#
        try withImages(["honest": #"{"base":"busybox","layers":\#(layers)}"#]) { daemon throws in
            #expect(try daemon.must("run", "--rm", "honest", "cat", "/var/run/file") == "through")
            #expect(try daemon.must("run", "--rm", "honest", "stat", "-c", "%h", "/twin") == "2")
        }
    }

    @Test("Whiteouts remove; ones that name the directory itself or its parent are refused")
    func whiteouts() throws {
        try withImages([
            "honest":
                #"{"base":"busybox","layers":[[{"name":"d","type":"dir"},{"name":"d/a","content":"a"},{"name":"d/b","content":"b"}],[{"name":"d/.wh.a"}],[{"name":"d/c","content":"c"}]]}"#,
            "opaque":
                #"{"base":"busybox","layers":[[{"name":"d","type":"dir"},{"name":"d/a","content":"a"}],[{"name":"d","type":"dir"},{"name":"d/.wh..wh..opq"},{"name":"d/new","content":"n"}]]}"#,
            "dot": #"{"base":"busybox","layers":[[{"name":"d/.wh.."}]]}"#,
            "dots": #"{"base":"busybox","layers":[[{"name":"d/.wh..."}]]}"#,
        ]) { daemon throws in
            #expect(try daemon.must("run", "--rm", "honest", "ls", "/d") == "b\nc")
            #expect(try daemon.must("run", "--rm", "opaque", "ls", "-A", "/d") == "new")
            for name in ["dot", "dots"] {
                #expect(try daemon.cli("pull", name).status == 1, "\(name) was taken")
            }
        }
    }

    @Test("A /proc, /sys or /dev that is a symbolic link or a file is refused", arguments: ["proc", "sys", "dev"])
    func replacedMountPoints(directory: String) throws {
        try withImages([
            "link":
                #"{"base":"busybox","layers":[[{"name":"elsewhere","type":"dir"},{"name":"\#(directory)","type":"symlink","link":"/elsewhere"}]]}"#,
            "out":
                #"{"base":"busybox","layers":[[{"name":"\#(directory)","type":"symlink","link":"../../../../../../../../var/tmp"}]]}"#,
            "file":
                #"{"base":"busybox","layers":[[{"name":".wh.\#(directory)"}],[{"name":"\#(directory)","content":"x"}]]}"#,
            "none": #"{"base":"busybox","layers":[[{"name":".wh.\#(directory)"}]]}"#,
        ]) { daemon in
            for name in ["link", "out", "file"] {
                let outcome = try daemon.cli("run", "--rm", name, "true")
                #expect([125, 126, 127].contains(outcome.status), "\(name): \(outcome)")
                #expect(!outcome.error.isEmpty)
            }
            // A missing one is made.
            try daemon.must("run", "--rm", "none", "sh", "-c", "[ -d /\(directory) ]")
            #expect(try daemon.must("ps", "-aq") == "")
        }
    }

    @Test("WORKDIR can't reach a descriptor of the host's; one through a link inside works")
    func workingDirectory() throws {
        try withImages([
            "fd": #"{"base":"busybox","config":{"WorkingDir":"/proc/self/fd/7/../../.."}}"#,
            "honest":
                #"{"base":"busybox","layers":[[{"name":"real/deep","type":"dir"},{"name":"work","type":"symlink","link":"/real/deep"}]],"config":{"WorkingDir":"/work"}}"#,
        ]) { daemon in
            for number in 3..<20 {
                let outcome = try daemon.cli("run", "--rm", "-w", "/proc/self/fd/\(number)", "busybox", "ls", "..")
                #expect(outcome.status != 0 || !outcome.output.contains("state.db"), "fd \(number): \(outcome)")
                #expect(!outcome.output.contains("mycontainer"))
            }
            let image = try daemon.cli("run", "--rm", "fd", "sh", "-c", "pwd -P; ls")
            #expect(image.status != 0 || !image.output.contains("mycontainer"), "\(image)")
            #expect(try daemon.must("run", "--rm", "honest", "pwd", "-P") == "/real/deep")
        }
    }

    @Test("The runtime can't be overwritten through /proc/1/exe or /proc/self/exe")
    func runtimeBinary() throws {
        let before = try host("sha256sum", TestDaemon.programs + "/mycontainer-runtime")
        try withImages([
            "evil": #"{"base":"busybox","layers":[[{"name":"run-me","type":"symlink","link":"/proc/self/exe"}]]}"#
        ]) { daemon in
            try daemon.must("run", "-d", "--name", "box", "--cap-add", "ALL", "busybox", "sleep", "1000")
            let script =
                "for f in /proc/1/exe /proc/*/exe; do (echo x >$f) 2>/dev/null && [ $f != /proc/self/exe ] && echo wrote $f; done; exit 0"
            let written = try daemon.must("exec", "--privileged", "box", "sh", "-c", script)
            // busybox itself may be overwritten: it is the container's own file.
            #expect(!written.contains("/proc/1/exe"))
            _ = try daemon.cli("run", "--rm", "evil", "/run-me")
            _ = try daemon.cli("exec", "box", "/proc/self/exe")
            #expect(try host("sha256sum", TestDaemon.programs + "/mycontainer-runtime") == before)
            #expect(try daemon.must("run", "--rm", "evil", "echo", "fine") == "fine")
        }
    }

    @Test("USER: odd numbers, a FIFO for /etc/passwd and an endless one are refused without a hang")
    func users() throws {
        try withImages([
            "fifo": #"{"base":"busybox","layers":[[{"name":"etc/.wh.passwd"}],[{"name":"etc/passwd","type":"fifo"}]]}"#,
            "huge":
                #"{"base":"busybox","layers":[[{"name":"etc/passwd","content":"filler:x:1:1::/:/bin/sh\n","repeat":3000000}]]}"#,
            "overflow": #"{"base":"busybox","config":{"User":"4294967296"}}"#,
            "negative": #"{"base":"busybox","config":{"User":"-1"}}"#,
            "newline": #"{"base":"busybox","config":{"User":"root\nroot"}}"#,
            "odd":
                #"{"base":"busybox","layers":[[{"name":"etc/passwd","content":"root:x:0:0::/root:/bin/sh\nodd:x:4294967296:0::/:/bin/sh\n"}]]}"#,
            "honest":
                #"{"base":"busybox","layers":[[{"name":"etc/passwd","content":"root:x:0:0::/root:/bin/sh\napp:x:1500:1600::/home/app:/bin/sh\n"},{"name":"etc/group","content":"app:x:1600:\nextra:x:1700:other,app\n"}]],"config":{"User":"app"}}"#,
        ]) { daemon in
            for arguments in [
                ["-u", "someone", "fifo"], ["-u", "someone", "huge"], ["overflow"], ["negative"], ["newline"],
                ["-u", "odd", "odd"],
            ] {
                let outcome = try daemon.cli(arguments: ["run", "--rm"] + arguments + ["id", "-u"])
                #expect(outcome.status == 125 || outcome.status == 126, "\(arguments): \(outcome)")
            }
            #expect(
                try daemon.must("run", "--rm", "honest", "sh", "-c", "id -u; id -g; id -G; echo $HOME")
                    == "1500\n1600\n1600 1700\n/home/app")
            #expect(try daemon.must("run", "--rm", "-u", "0", "honest", "id", "-G") == "0")
        }
    }

    @Test("A manifest that is an index too, a wrong size and a missing blob are refused")
    func manifests() throws {
        let registry = try ScratchRegistry()
        try registry.make("both", #"{"base":"busybox","manifest":{"manifests":[]}}"#)
        try registry.make("kind", #"{"base":"busybox","manifest":{"mediaType":"application/x-nothing"}}"#)
        try registry.make("size", #"{"base":"busybox","layers":[[{"name":"a","content":"a"}]]}"#)
        try registry.make("missing", #"{"base":"busybox","layers":[[{"name":"b","content":"b"}]]}"#)
        let edit = """
            import json,os,sys
            for name in ("size", "missing"):
                d=sys.argv[1]+"/"+name; i=json.load(open(d+"/index.json")); p=d+"/blobs/sha256/"
                m=json.load(open(p+i["manifests"][0]["digest"][7:])); last=p+m["layers"][-1]["digest"][7:]
                os.unlink(last) if name == "missing" else open(last,"ab").write(b"more")
            """
        try host("python3", "-c", edit, registry.path)
        try withDaemon(["--registry", registry.path]) { daemon in
            for name in ["both", "kind", "size", "missing"] {
                let outcome = try daemon.cli("pull", name)
                #expect(outcome.status == 1, "\(name) was taken")
                #expect(!outcome.error.isEmpty)
                #expect(try daemon.must("images", "-q", name) == "")
            }
        }
    }

    @Test("System calls that have let containers out are denied, ordinary ones are not")
    func systemCalls() throws {
        try withDaemon(images: ["debian"]) { daemon in
            func perl(_ program: String) throws -> Outcome {
                try daemon.cli("run", "--rm", "debian", "perl", "-e", program)
            }
            for (name, call) in [
                ("io_uring_setup", "syscall(425, 1, 0)"), ("bpf", "syscall(321, 0, 0, 0)"),
                ("userfaultfd", "syscall(323, 0)"), ("keyctl", "syscall(250, 0, 0, 0)"),
                ("unshare of a user namespace", "syscall(272, 0x10000000)"), ("AF_ALG", "socket(S, 38, 5, 0) - 1"),
                ("AF_VSOCK", "socket(S, 40, 1, 0) - 1"),
            ] {
                let outcome = try perl("$! = 0; \(call); print $! + 0")
                #expect(outcome.output == "1", "\(name) gave errno \(outcome.output), not EPERM; \(outcome.error)")
            }
            #expect(try perl("print socket(S, 2, 1, 0)").output == "1")
            #expect(try perl("print syscall(39) > 0 ? 1 : 0").output == "1")
        }
    }
}
