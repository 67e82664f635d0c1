import Glibc
import Testing

@Suite("User namespaces: ids of a container's own")
struct UserNamespaceTests {
    /// The first id of the host's that a container has, from the kernel.
    private func start(of name: String, _ daemon: TestDaemon) throws -> UInt32 {
        let map = try daemon.must("exec", name, "cat", "/proc/self/uid_map").split(separator: " ")
        return try #require(map.count == 3 ? UInt32(map[1]) : nil, "\(map)")
    }

    /// `owner:group mode` of a file of the host's.
    private func owner(_ path: String) throws -> String { try host("stat", "-c", "%u:%g", path) }

    @Test("auto: root inside is an id of its own outside; users, groups, streams and exec are as without")
    func ids() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "--userns", "auto", "--ulimit", "core=1000", "busybox", "sh", "-c",
                "echo out; echo err >&2; echo again >/dev/stdout; exec sleep 1000")
            let first = try start(of: "box", daemon)
            let inspected = try daemon.inspect("box")
            let maps = inspected["HostConfig"]["IDMappings"]
            #expect(maps["UidMap"][0].string == "0:\(first):65536")
            #expect(maps["GidMap"][0].string == "0:\(first):65536")
            #expect(inspected["HostConfig"]["UsernsMode"].string == "auto")
            #expect(try daemon.must("exec", "box", "cat", "/proc/self/gid_map").split(separator: " ")[1] == "\(first)")
            let pid = try #require(inspected["State"]["Pid"].int)
            #expect(try owner("/proc/\(pid)") == "\(first):\(first)")
            #expect(
                try daemon.must("top", "box", "-eo", "pid,uid,comm").split(separator: "\n").last?.split(separator: " ")
                    .dropFirst()
                    == ["\(first)", "sleep"])
            #expect(
                try daemon.must(
                    "exec", "box", "stat", "-c", "%u:%g", "/", "/etc", "/bin/busybox", "/etc/hosts", "/dev",
                    "/dev/null", "/dev/shm", "/dev/pts", "/dev/mqueue", "/proc/1")
                    == Array(repeating: "0:0", count: 10).joined(separator: "\n"))
            #expect(
                try daemon.must("exec", "box", "sh", "-c", "echo 1.2.3.4 x >>/etc/hosts && tail -1 /etc/hosts")
                    == "1.2.3.4 x")
            #expect(
                try daemon.must("exec", "-u", "1000:1001", "box", "sh", "-c", "id -u; id -g; echo x >/dev/stdout")
                    == "1000\n1001\nx")
            #expect(
                try daemon.must(
                    "run", "--rm", "--userns", "auto", "-u", "7:8", "--group-add", "9", "-v", "/data", "busybox", "sh",
                    "-c", "id -G; umask; echo x >/dev/stdout; grep Groups /proc/self/status")
                    == "8 9\n0022\nx\nGroups:\t8 9 ")
            #expect(try eventually { try daemon.must("logs", "box") == "out\nagain" })
            let terminal = try daemon.spawn(
                "exec", "-it", "box", "sh", "-c", "tty; stat -c %u $(tty)", standard: .terminal)
            #expect(try terminal.finish().output.contains("/dev/pts/0\r\n0"))
            // Every process of it is in the one namespace, and no other container is.
            let namespace = try daemon.must(
                "exec", "box", "sh", "-c", "readlink /proc/self/ns/user; readlink /proc/1/ns/user")
            #expect(Set(namespace.split(separator: "\n")).count == 1)
            #expect(try host("readlink", "/proc/self/ns/user") != namespace.split(separator: "\n")[0])
            try daemon.must("run", "-d", "--name", "second", "--userns", "auto:size=1000", "busybox", "sleep", "1000")
            #expect(try daemon.must("exec", "second", "cat", "/proc/self/uid_map").hasSuffix(" 1000"))
            let second = try start(of: "second", daemon)
            #expect(second >= first + 65536 || second + 1000 <= first)
        }
    }

    @Test("Files: ids on disk are the container's, in layers, volumes and mapped binds; plain binds keep the host's")
    func files() throws {
        try withDaemon { daemon in
            for name in ["plain", "mapped", "open"] {
                mkdir("\(daemon.directory)/\(name)", 0o755)
                try writeFile("\(daemon.directory)/\(name)/root", "of the host\n", mode: 0o600)
            }
            chmod("\(daemon.directory)/open", 0o777)
            try daemon.must(
                "run", "-d", "--name", "box", "--userns", "auto", "-v", "data:/data", "-v",
                "\(daemon.directory)/plain:/plain", "-v", "\(daemon.directory)/open:/open", "--mount",
                "type=bind,src=\(daemon.directory)/mapped,dst=/mapped,idmap", "busybox", "sleep", "1000")
            let first = try start(of: "box", daemon)
            func sh(_ command: String) throws -> Outcome { try daemon.cli("exec", "box", "sh", "-c", command) }
            #expect(
                try sh("for d in / /data /mapped; do cd $d; echo x >one; echo y >two; chown 1000:1001 two; done").status
                    == 0)
            let upper = try #require(try daemon.inspect("box")["GraphDriver"]["Data"]["UpperDir"].string)
            for directory in [upper, daemon.dataRoot + "/volumes/data/_data", daemon.directory + "/mapped"] {
                #expect(try owner(directory + "/one") == "0:0", "\(directory)")
                #expect(try owner(directory + "/two") == "1000:1001", "\(directory)")
            }
            #expect(try daemon.must("exec", "box", "stat", "-c", "%u", "/mapped/root", "/plain/root") == "0\n65534")
            #expect(try sh("cat /mapped/root").line == "of the host")
            // What is the host's root's stays that.
            #expect(try sh("cat /plain/root").status == 1)
            #expect(try sh("echo x >/plain/new").status == 1)
            #expect(try sh("echo x >/open/new").status == 0)
            #expect(try owner(daemon.directory + "/open/new") == "\(first):\(first)")

            // Everything that looks at a container's files sees the container's ids, whether it runs or not.
            try writeFile(daemon.directory + "/file", "copied\n")
            chown(daemon.directory + "/file", 1234, 1234)
            for running in [true, false] {
                if !running { try daemon.must("stop", "-t", "0", "box") }
                for place in ["/etc", "/data"] {
                    try daemon.must("cp", daemon.directory + "/file", "box:\(place)/plain\(running)")
                    try daemon.must("cp", "-a", daemon.directory + "/file", "box:\(place)/archived\(running)")
                }
                for (path, wanted) in [("/two", "1000/1001"), ("/data/two", "1000/1001"), ("/one", "0/0")] {
                    let listing = try host(
                        "sh", "-c", "\(daemon.command) cp box:\(path) - | tar --numeric-owner -tvf -")
                    #expect(listing.contains(" \(wanted) "), "\(path) \(running): \(listing)")
                }
                let exported = try host(
                    "sh", "-c", "\(daemon.command) export box | tar --numeric-owner -tvf - one two bin/busybox data")
                #expect(
                    exported.split(separator: "\n").map { $0.split(separator: " ")[1] } == [
                        "0/0", "0/0", "0/0", "1000/1001",
                    ], "\(exported)")
                let changes = try daemon.must("diff", "box")
                #expect(changes.contains("A /two") && changes.contains("A /etc/archivedtrue"))
            }
            for directory in [upper + "/etc", daemon.dataRoot + "/volumes/data/_data"] {
                for running in [true, false] {
                    // With or without -a, as docker has it: the archive says whose its files are.
                    #expect(try owner("\(directory)/plain\(running)") == "1234:1234")
                    #expect(try owner("\(directory)/archived\(running)") == "1234:1234")
                }
            }
            try daemon.must("commit", "box", "copy")
            for mode in ["host", "auto"] {
                #expect(
                    try daemon.must(
                        "run", "--rm", "--userns", mode, "-v", "data:/data", "copy", "stat", "-c", "%u:%g", "/one",
                        "/two",
                        "/data/two") == "0:0\n1000:1001\n1000:1001", "\(mode)")
            }
            #expect(
                try daemon.must(
                    "run", "--rm", "--read-only", "--userns", "auto", "--tmpfs", "/run:uid=5", "busybox",
                    "sh", "-c", "stat -c %u /run; touch /run/x && echo written; touch /x || echo refused")
                    == "5\nwritten\nrefused")
            let refused = try daemon.cli("run", "--rm", "-v", "\(daemon.directory)/mapped:/m:idmap", "busybox", "true")
            #expect(refused.status == 125 && refused.error.contains("add --userns auto, or leave idmap out"))
        }
    }

    @Test("Networks belong to the container: ping and low ports without capabilities, sysctls, names, ports")
    func networks() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "net")
            try daemon.must(
                "run", "-d", "--name", "web", "--userns", "auto", "--network", "net", "--cap-drop", "ALL", "-u", "1000",
                "-p", "127.0.0.1:8080:80", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "sh", "-c",
                "cd /tmp; echo web >index.html; exec httpd -f -p 80")
            try daemon.must(
                "run", "-d", "--name", "client", "--userns", "auto", "--network", "net", "busybox", "sleep", "1000")
            #expect(try eventually { try daemon.fetch(from: "client", "web") == "web" })
            #expect(try daemon.pings("client", "web"))
            #expect(try daemon.fetch("127.0.0.1", 8080) == "web")
            #expect(try daemon.must("exec", "web", "cat", "/proc/sys/net/ipv4/ip_forward") == "1")
            #expect(try daemon.must("exec", "client", "cat", "/proc/sys/net/ipv4/ping_group_range") == "0\t65535")
            try daemon.must("network", "connect", "bridge", "client")
            #expect(try daemon.must("exec", "client", "ls", "/sys/class/net").contains("eth1"))
            try daemon.must("network", "disconnect", "bridge", "client")
            // Its root has the network to itself with NET_ADMIN, as without a user namespace.
            try daemon.must(
                "run", "--rm", "--userns", "auto", "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "lo",
                "down")
            #expect(
                try daemon.must(
                    "run", "--rm", "--userns", "auto", "--network", "none", "busybox", "ping", "-c", "1",
                    "127.0.0.1"
                ).contains("1 packets received"))
        }
    }

    @Test("What is joined belongs to a user namespace: that is joined as well, and another is refused")
    func sharing() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "--userns", "auto", "--ipc", "shareable", "busybox", "sleep", "1000")
            let namespace = try daemon.must("exec", "box", "readlink", "/proc/self/ns/user")
            for flag in ["--network", "--pid", "--ipc", "--userns"] {
                #expect(
                    try daemon.must(
                        "run", "--rm", flag, "container:box", "busybox", "sh", "-c",
                        "readlink /proc/self/ns/user; touch /new; stat -c %u /new /bin") == "\(namespace)\n0\n0",
                    "\(flag)")
            }
            #expect(try daemon.must("run", "--rm", "--pid", "container:box", "busybox", "kill", "-0", "1") == "")
            for flag in ["--network", "--pid", "--ipc"] {
                let refused = try daemon.cli(
                    "run", "--rm", "--userns", "auto", flag, "container:box", "busybox", "true")
                #expect(refused.status == 125 && refused.error.contains("belongs to that container's"), "\(refused)")
            }
            for flag in ["--network", "--pid"] {
                let refused = try daemon.cli("run", "--rm", "--userns", "auto", flag, "host", "busybox", "true")
                #expect(
                    refused.status == 125 && refused.error.contains("namespace when user namespaces are enabled"),
                    "\(refused)")
            }
            #expect(
                try daemon.must(
                    "run", "--rm", "--userns", "host", "--network", "container:box", "busybox", "cat",
                    "/proc/self/uid_map"
                ).split(separator: " ").last == "4294967295")
            try daemon.must(
                "run", "--rm", "--userns", "auto", "--cgroupns", "host", "busybox", "ls", "/sys/fs/cgroup")
            try daemon.must("run", "-d", "--name", "other", "--userns", "auto", "busybox", "sleep", "1000")
            let two = try daemon.cli(
                "run", "--rm", "--network", "container:box", "--pid", "container:other", "busybox", "true")
            #expect(two.status == 125 && two.error.contains("different user namespaces"), "\(two)")
        }
    }

    @Test("What root inside can't do, and what it can")
    func limits() throws {
        try withDaemon(images: ["busybox", "debian"]) { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "--userns", "auto", "-v", "data:/data", "--device",
                "/dev/null:/dev/nothing",
                "--cap-add", "SYS_ADMIN", "busybox", "sleep", "1000")
            func sh(_ command: String) throws -> Outcome { try daemon.cli("exec", "box", "sh", "-c", command) }
            // A setuid program in a volume is root's on disk; nobody of the host reaches it there.
            #expect(try sh("cp /bin/busybox /data/id && chmod 4755 /data/id").status == 0)
            let path = daemon.dataRoot + "/volumes/data/_data/id"
            #expect(try host("stat", "-c", "%u %a", path) == "0 4755")
            let escape = try Command(
                "/usr/bin/setpriv", ["--reuid", "12345", "--clear-groups", "sh", "-c", path + " id"],
                environment: daemon.environment
            ).finish()
            #expect(escape.status != 0 && escape.error.contains("ermission denied"), "\(escape)")
            // Inside it is what it is meant to be. Not busybox, which gives such privileges up.
            #expect(
                try daemon.must(
                    "run", "--rm", "--userns", "auto", "-v", "data:/data", "debian", "sh", "-c",
                    "cp /usr/bin/id /data/own && chmod 4755 /data/own && exec setpriv --reuid 1000 --clear-groups sh -c '/data/own -u; /data/own -ru'"
                )
                    == "0\n1000")
            // Devices: none can be made, those that were given can be used.
            for place in ["/", "/data", "/dev", "/dev/shm"] {
                #expect(try sh("mknod \(place)/disk b 254 0").status == 1, "\(place)")
            }
            #expect(
                try sh("mkfifo /data/fifo && echo x >/dev/nothing && stat -c %u:%t:%T /dev/nothing").line == "0:1:3")
            // Ids: those that it has, and no others.
            #expect(try sh("touch /data/f && chown 65535:65535 /data/f").status == 0)
            #expect(try sh("chown 65536 /data/f").status == 1)
            #expect(try sh("chown 70000 /bin/busybox").status == 1)
            // The host's settings and control groups.
            #expect(try sh("mkdir $(find /sys/fs/cgroup -type d | tail -1)/x").status == 1)
            #expect(try sh("mount -o remount,rw /proc/sys; echo 0 >/proc/sys/kernel/sysrq").status == 1)
            #expect(try sh("mount -t tmpfs none /tmp && touch /tmp/x").status == 0)
            let privileged = try daemon.cli(
                "run", "--rm", "--userns", "auto", "--privileged", "busybox", "sh", "-c",
                "echo 1 >/proc/sys/kernel/panic || mknod /x b 254 0 || ls /dev/kmsg || grep CapEff /proc/self/status")
            #expect(privileged.error.contains("WARNING: Privileged mode in a user namespace"), "\(privileged)")
            #expect(privileged.output.contains("CapEff:\t000001ff"), "\(privileged)")
            try daemon.must(
                "run", "--rm", "--userns", "auto", "--privileged", "busybox", "mount", "-t", "tmpfs", "n", "/tmp")
        }
    }

    @Test("File capabilities of the image and of a file that was copied in hold inside")
    func fileCapabilities() throws {
        try withDaemon { daemon in
            try daemon.must(
                "create", "--name", "box", "--userns", "auto", "-u", "1000", "busybox", "/busybox", "grep", "CapEff",
                "/proc/self/status")
            try daemon.must("cp", "box:/bin/busybox", daemon.directory + "/caps")
            try daemon.must("cp", daemon.directory + "/caps", "box:/busybox")
            let upper = try #require(try daemon.inspect("box")["GraphDriver"]["Data"]["UpperDir"].string)
            // cap_net_raw (13) permitted and effective: vfs_cap_data of linux/capability.h, revision 2.
            let bytes = "0x0100000200200000000000000000000000000000"
            try host("setfattr", "-n", "security.capability", "-v", bytes, upper + "/busybox")
            #expect(try daemon.must("start", "-a", "box").hasSuffix("0000000000002000"))
            try daemon.must("commit", "box", "with-capability")
            for mode in ["auto", "host"] {
                #expect(
                    try daemon.must(
                        "run", "--rm", "--userns", mode, "-u", "1000", "with-capability", "/busybox", "grep", "CapEff",
                        "/proc/self/status"
                    ).hasSuffix("0000000000002000"), "\(mode)")
            }
            // Out of a running container and into another, whose ids are others.
            for name in ["from", "to"] {
                try daemon.must("run", "-d", "--name", name, "--userns", "auto", "with-capability", "sleep", "1000")
            }
            try host("sh", "-c", "\(daemon.command) cp from:/busybox - | \(daemon.command) cp -a - to:/tmp")
            #expect(
                try daemon.must("exec", "-u", "1000", "to", "/tmp/busybox", "grep", "CapEff", "/proc/self/status")
                    .hasSuffix("0000000000002000"))
        }
    }

    @Test("Ranges: kept over restarts and a killed daemon, given back by rm, and a sentence when there is none")
    func ranges() throws {
        try withDaemon(["--userns", "auto", "--userns-auto-range", "3000000:131072"]) { daemon in
            #expect(
                try daemon.api("GET", "/info").json()["SecurityOptions"].array?.contains { $0.string == "name=userns" }
                    == true)
            try daemon.must("run", "-d", "--name", "one", "busybox", "sleep", "1000")
            try daemon.must("run", "-d", "--name", "two", "busybox", "sleep", "1000")
            let starts = try [start(of: "one", daemon), start(of: "two", daemon)]
            #expect(Set(starts) == [3_000_000, 3_065_536])
            let refused = try daemon.cli("run", "--rm", "busybox", "true")
            #expect(
                refused.status == 125 && refused.error.contains("2 containers have 131072 of those"), "\(refused)")
            #expect(
                try daemon.must("run", "--rm", "--userns", "host", "busybox", "cat", "/proc/self/uid_map")
                    .split(separator: " ") == ["0", "0", "4294967295"])
            try daemon.must("restart", "-t", "0", "two")
            daemon.kill()
            try daemon.start()
            #expect(try [start(of: "one", daemon), start(of: "two", daemon)] == starts)
            #expect(try daemon.inspect("one")["HostConfig"]["IDMappings"]["UidMap"][0].string == "0:\(starts[0]):65536")
            #expect(try daemon.cli("run", "--rm", "busybox", "true").status == 125)
            #expect(try daemon.must("exec", "one", "sh", "-c", "touch /x; stat -c %u /x") == "0")
            try daemon.must("rm", "-f", "one")
            #expect(try daemon.must("run", "--rm", "busybox", "cat", "/proc/self/uid_map").contains("\(starts[0])"))
        }
    }

    @Test("keep-id and mappings as given; what makes no sense is refused with a sentence")
    func modes() throws {
        try withDaemon { daemon in
            func map(_ flags: String...) throws -> [String] {
                let words =
                    ["run", "--rm"] + flags + ["busybox", "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map"]
                return try daemon.cli(arguments: words).lines.map { $0.split(separator: " ").joined(separator: " ") }
            }
            let all = "0 0 4294967295"
            #expect(try map("--userns", "keep-id") == [all, all])
            #expect(
                try daemon.must("run", "--rm", "--userns", "keep-id", "busybox", "readlink", "/proc/self/ns/user")
                    != host("readlink", "/proc/self/ns/user"))
            #expect(
                try daemon.cli("run", "--rm", "--userns", "keep-id", "busybox", "mknod", "/x", "b", "254", "0").status
                    == 1)
            #expect(
                try map("--uidmap", "0:500000:1000", "--gidmap", "0:600000:100")
                    == ["0 500000 1000", "0 600000 100"])
            #expect(try map("--userns", "map:uidmapping=0:500000:1000") == ["0 500000 1000", "0 500000 1000"])
            let cut = try map("--userns", "auto:size=100,uidmapping=10:1000:1")
            #expect(cut.count == 4 && cut.contains("10 1000 1"), "\(cut)")
            #expect(
                try daemon.must(
                    "run", "--rm", "--uidmap", "0:500000:2000", "busybox", "sh", "-c",
                    "touch /x; chown 1999 /x; stat -c %u /x") == "1999")
            for mode in ["nonsense", "auto:size=x", "map:uidmapping=5:1:1"] {
                let answer = try daemon.api(
                    "POST", "/containers/create",
                    body: #"{"Image":"busybox","Cmd":["true"],"HostConfig":{"UsernsMode":"\#(mode)"}}"#)
                #expect(answer.status == 400 && answer.message.contains("invalid USER mode: \(mode)"), "\(answer)")
            }
            // A health check, which runs as an exec.
            try daemon.must(
                "run", "-d", "--name", "box", "--userns", "auto", "--health-cmd", "test $(id -u) = 0",
                "--health-interval", "100ms", "busybox", "sleep", "1000")
            _ = try daemon.state(of: "box") { $0["Health"]["Status"].string == "healthy" }
        }
    }
}

extension TestDaemon {
    /// Our CLI for a shell.
    var command: String { shellQuoted([TestDaemon.programs + "/mycontainer", "-H", "unix://" + socket]) }
}
