import Glibc
import Testing

@Suite("commit: an image of what a container is")
struct CommitTests {
    /// Everything that a layer has a form of its own for.
    private static let script = """
        set -e
        echo new >/new; chmod 4751 /new; ln /new /hard; ln -s /new /soft
        rm /etc/group; rm -rf /var; mkdir /var; echo only >/var/only
        mkdir -p /deep/$(printf '%0120d' 7); echo long >/deep/$(printf '%0120d' 7)/file
        touch "/$(printf 'latin-\\377')"
        echo head >/sparse; dd if=/dev/zero of=/sparse bs=1 count=0 seek=3221225472 2>/dev/null
        echo tail | dd of=/sparse bs=1 seek=1073741824 conv=notrunc 2>/dev/null
        mknod /zero c 1 5; mkfifo /pipe; mkdir -m 1777 /sticky; chown 1234:567 /sticky
        touch -d '2001-02-03 04:05:06' /new
        echo secret >/data/secret
        """

    private static let check = """
        set -e
        cat /new; stat -c '%a %h %Y' /new; cat /hard; readlink /soft
        test /new -ef /hard
        ! test -e /etc/group; test -e /etc/passwd; ls -A /var
        cat /deep/*/file; ls / | grep -c latin
        stat -c '%s' /sparse; head -c 5 /sparse; tail -c +1073741825 /sparse | head -c 5
        test $(stat -c '%b' /sparse) -lt 1000
        stat -c '%F %t %T' /zero; stat -c '%F' /pipe; stat -c '%a %u %g' /sticky
        ls -A /data
        """

    private static let seen = """
        new
        4751 2 981173106
        new
        /new
        only
        long
        1
        3221225472
        head
        tail
        character special file 1 5
        fifo
        1777 1234 567
        """

    @Test("Whiteouts, opaque directories, links, holes, modes and names come through, also through save and load")
    func roundTrip() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--name", "box", "-v", "/data", "busybox", "sh", "-c", Self.script)
            let upper = try #require(daemon.inspect("box")["GraphDriver"]["Data"]["UpperDir"].string)
            try host("python3", "-c", "import os, sys; os.setxattr(sys.argv[1], 'user.note', b'kept')", upper + "/new")
            let id = try daemon.must("commit", "-m", "why", "-a", "Ann", "-c", "ENV A=1 B=\"x y\"", "box", "made:one")
            #expect(id.hasPrefix("sha256:"))
            #expect(try daemon.must("run", "--rm", "made:one", "sh", "-c", Self.check) == Self.seen)
            #expect(try daemon.must("run", "--rm", "made:one", "sh", "-c", "echo $A:$B") == "1:x y")

            let image = try daemon.api("GET", "/images/made:one/json").json()
            #expect(image["Author"].string == "Ann")
            #expect(image["Comment"].string == "why")
            #expect(image["Config"]["Volumes"].has("/data"))
            let history = try daemon.api("GET", "/images/made:one/history").json()
            #expect(history[0]["Id"].string == id)
            #expect(history[0]["CreatedBy"].string == "sh -c " + Self.script)
            #expect(history[0]["Comment"].string == "why")
            let base = try daemon.api("GET", "/images/busybox/json").json()
            #expect(image["RootFS"]["Layers"].array!.count == base["RootFS"]["Layers"].array!.count + 1)

            try daemon.must("save", "-o", daemon.directory + "/made.tar", "made:one")
            try daemon.must("rmi", "made:one")
            #expect(try daemon.must("load", "-i", daemon.directory + "/made.tar").contains("made:one"))
            #expect(try daemon.must("run", "--rm", "made:one", "sh", "-c", Self.check) == Self.seen)
            try daemon.must("create", "--name", "again", "made:one")
            let lower = try #require(daemon.inspect("again")["GraphDriver"]["Data"]["LowerDir"].string)
            let layer = lower.split(separator: ":")[0]
            let note = try host(
                "python3", "-c", "import os, sys; print(os.getxattr(sys.argv[1], 'user.note'))", layer + "/new")
            #expect(note == "b'kept'")
        }
    }

    @Test("A running container is paused meanwhile, unless that is not wanted, and goes on")
    func pausing() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "busybox", "sh", "-c",
                "i=0; while :; do i=$((i+1)); echo $i >/n; mv /n /now; sleep 0.01; done")
            #expect(try eventually { try daemon.cli("exec", "box", "test", "-e", "/now").status == 0 })
            try daemon.must("commit", "box", "one")
            try daemon.must("commit", "--pause=false", "box", "two")
            #expect(try daemon.inspect("box")["State"]["Status"].string == "running")
            let events = try daemon.must("events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}")
            let interesting = events.split(separator: "\n").filter { ["pause", "unpause", "commit"].contains($0) }
            #expect(interesting == ["pause", "unpause", "commit", "commit"])
            let before = try daemon.must("exec", "box", "cat", "/now")
            #expect(try eventually { try daemon.must("exec", "box", "cat", "/now") != before })
            #expect(try daemon.must("run", "--rm", "one", "cat", "/now") != "")
            // As a commit leaves it that the daemon doesn't survive.
            let id = try #require(daemon.inspect("box")["Id"].string)
            let freezer = try host("find", "/sys/fs/cgroup", "-path", "*/\(id)/cgroup.freeze")
            try writeFile(freezer, "1")
            daemon.kill()
            try daemon.start()
            #expect(try daemon.inspect("box")["State"]["Status"].string == "running")
            #expect(try daemon.must("exec", "box", "echo", "thawed") == "thawed")
        }
    }

    @Test("Instructions change the configuration; others, and what no layer can say, are refused")
    func changes() throws {
        try withDaemon { daemon in
            try daemon.must("create", "--name", "box", "-e", "KEEP=1", "busybox", "sleep", "9")
            try daemon.must(
                "commit", "-c", "CMD [\"echo\", \"from the image\"]", "-c", "USER 12", "-c", "WORKDIR /tmp", "-c",
                "EXPOSE 80 53/udp", "-c", "LABEL a=b", "-c", "HEALTHCHECK --retries=2 CMD true", "box", "changed")
            #expect(try daemon.must("run", "--rm", "changed") == "from the image")
            #expect(try daemon.must("run", "--rm", "changed", "sh", "-c", "id -u; pwd; echo $KEEP") == "12\n/tmp\n1")
            let config = try daemon.api("GET", "/images/changed/json").json()["Config"]
            #expect(config["ExposedPorts"].object!.keys.sorted() == ["53/udp", "80/tcp"])
            #expect(config["Labels"]["a"].string == "b")
            #expect(config["Healthcheck"]["Retries"].int == 2)
            // Nothing was written, so there is no layer.
            #expect(
                try daemon.api("GET", "/images/changed/json").json()["RootFS"]
                    == daemon.api("GET", "/images/busybox/json").json()["RootFS"])

            let refused = try daemon.cli("commit", "-c", "RUN true", "box")
            #expect(refused.status == 1)
            #expect(refused.error.contains("RUN is not a valid change command"))
            try daemon.must("run", "--name", "hider", "busybox", "touch", "/.wh.bin")
            let hidden = try daemon.cli("commit", "hider")
            #expect(hidden.status == 1)
            #expect(hidden.error.contains(".wh.bin"))
            #expect(try daemon.must("images", "-q").split(separator: "\n").count == 2)
        }
    }

    @Test("export has what mounts cover, empty, and import takes it back with instructions")
    func exportAndImport() throws {
        try withDaemon { daemon in
            let flags = ["--tmpfs", "/tmp", "-v", "/etc:/host:ro", "busybox", "sleep", "1000"]
            try #require(daemon.cli(arguments: ["run", "-d", "--name", "box"] + flags).status == 0)
            try daemon.must("exec", "box", "sh", "-c", "echo own >/own; echo gone >/tmp/gone")
            let archive = daemon.directory + "/box.tar"
            try daemon.must("export", "-o", archive, "box")
            let list = try host("tar", "tvf", archive).split(separator: "\n").map {
                $0.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
            }
            func entry(_ name: String) -> [String]? { list.first { $0.last == name } }
            for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] { #expect(entry(file)?[2] == "0") }
            #expect(entry("own")?[2] == "4")
            #expect(entry("tmp/")?[0] == "drwxrwxrwt")
            for folder in ["proc/", "sys/", "dev/", "host/"] { #expect(entry(folder) != nil) }
            #expect(!list.contains { $0.last!.hasPrefix("host/") && $0.last != "host/" })
            #expect(entry("tmp/gone") == nil)
            let id = try daemon.must("import", "-m", "brought", "-c", "CMD [\"cat\", \"/own\"]", archive, "brought:in")
            #expect(id.hasPrefix("sha256:"))
            #expect(try daemon.must("run", "--rm", "brought:in") == "own")
            #expect(try daemon.api("GET", "/images/brought:in/json").json()["Comment"].string == "brought")
        }
    }

    @Test(
        "cp, load and import take archives that are packed as dockerd takes them", arguments: ["bzip2", "xz"])
    func packedArchives(tool: String) throws {
        try withDaemon { daemon in
            let archive = daemon.directory + "/a.tar"
            func pack() throws -> String {
                try host("sh", "-c", "\(tool) -c \(archive) >\(archive).p; echo \(archive).p")
            }
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            try host("sh", "-c", "cd \(daemon.directory) && echo packed >file && tar -cf \(archive) file")
            let answer = try host(
                "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-T", try pack(), "--unix-socket", daemon.socket,
                "http://d/containers/box/archive?path=/tmp")
            #expect(answer == "200")
            #expect(try daemon.must("exec", "box", "cat", "/tmp/file") == "packed")
            try daemon.must("commit", "box", "saved:1")
            try daemon.must("save", "-o", archive, "saved:1")
            try daemon.must("rmi", "saved:1")
            #expect(try daemon.must("load", "-i", try pack()) == "Loaded image: saved:1")
            try daemon.must("export", "-o", archive, "box")
            try daemon.must("import", try pack(), "imported:1")
            #expect(try daemon.must("run", "--rm", "imported:1", "cat", "/tmp/file") == "packed")
        }
    }

    @Test("Where a library that unpacks is missing, the refusal says which, and what else is taken")
    func withoutLibrary() throws {
        let hide =
            "for l in $(ldconfig -p | sed -n 's/.*=> \\(.*lzma.so.5\\)$/\\1/p'); do mount --bind /dev/null $l; done"
        try withDaemon(preparation: hide) { daemon in
            let outcome = try daemon.cli(arguments: ["load", "-i", try packedEmpty(daemon)])
            #expect(outcome.status == 1)
            #expect(outcome.error.contains("install liblzma5, or pack it with gzip or zstd"))
        }
    }

    private func packedEmpty(_ daemon: TestDaemon) throws -> String {
        let path = daemon.directory + "/empty.xz"
        try host("sh", "-c", "head -c 1024 /dev/zero | xz >\(path)")
        return path
    }
}
