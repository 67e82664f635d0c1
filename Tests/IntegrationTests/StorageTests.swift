import FoundationEssentials
import Glibc
import Testing

@Suite("Volumes, mounts and the root file system")
struct StorageTests {
    @Test("A named volume outlives its containers and is shared between them")
    func namedVolume() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept >/data/file")
            #expect(try daemon.must("run", "--rm", "-v", "data:/other:ro", "busybox", "cat", "/other/file") == "kept")
            let written = try daemon.cli("run", "--rm", "-v", "data:/data:ro", "busybox", "touch", "/data/x")
            #expect(written.status == 1)
            #expect(written.error.contains("Read-only"))
            #expect(try daemon.must("volume", "ls", "-q") == "data")
            try daemon.must("create", "--name", "user", "-v", "data:/data", "busybox")
            #expect(try daemon.cli("volume", "rm", "data").status == 1, "a volume in use was removed")
            try daemon.must("rm", "user")
            try daemon.must("volume", "rm", "data")
            #expect(try daemon.must("volume", "ls", "-q") == "")
        }
    }

    @Test("A new volume is given what the image has at that path, with owners and modes")
    func initialised() throws {
        try withDaemon { daemon in
            #expect(try daemon.must("run", "--rm", "-v", "etc:/etc", "busybox", "cat", "/etc/passwd").contains("root:"))
            #expect(try daemon.must("run", "--rm", "-v", "etc:/x", "busybox", "cat", "/x/passwd").contains("root:"))
            let mode = try daemon.must("run", "--rm", "-v", "tmp:/tmp", "busybox", "stat", "-c", "%a", "/tmp")
            #expect(mode == (try daemon.must("run", "--rm", "busybox", "stat", "-c", "%a", "/tmp")))
            try daemon.must("volume", "rm", "etc", "tmp")
        }
    }

    @Test("An anonymous volume goes with --rm and with rm -v, and stays with rm")
    func anonymousVolume() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--rm", "-v", "/data", "busybox", "touch", "/data/file")
            #expect(try daemon.must("volume", "ls", "-q") == "")
            try daemon.must("run", "--name", "box", "-v", "/data", "busybox", "true")
            try daemon.must("rm", "-v", "box")
            #expect(try daemon.must("volume", "ls", "-q") == "")
            try daemon.must("run", "--name", "box", "-v", "/data", "busybox", "true")
            try daemon.must("rm", "box")
            #expect(try daemon.must("volume", "ls", "-q").utf8.count == 64)
            try daemon.must("volume", "prune", "-f", "-a")
        }
    }

    @Test("A volume with type, o and device is mounted while containers use it, and shared by them")
    func mountedVolume() throws {
        try withDaemon { daemon in
            try daemon.must(
                "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,nodev", "--label", "a=b",
                "fast")
            let place = try #require(
                try JSON.parse(try daemon.must("volume", "inspect", "fast"))[0]["Mountpoint"].string)
            func isMounted() throws -> Bool { try readFile("/proc/self/mountinfo").contains(" \(place) ") }
            let script = "echo shared >/v/file; echo up; sleep 1000"
            try daemon.must("run", "-d", "--name", "one", "-v", "fast:/v", "busybox", "sh", "-c", script)
            try daemon.spawn("logs", "-f", "one").waitFor("up\n")
            #expect(try daemon.must("run", "--rm", "-v", "fast:/v", "busybox", "cat", "/v/file") == "shared")
            let flood = try daemon.cli(
                "run", "--rm", "-v", "fast:/v", "busybox", "sh", "-c", "dd if=/dev/zero of=/v/big bs=64k count=40")
            #expect(flood.status == 1 && flood.error.contains("No space left"))
            #expect(try isMounted())

            // It is the running container's, whatever becomes of the daemon.
            daemon.kill()
            try daemon.start()
            #expect(try isMounted())
            #expect(try daemon.must("run", "--rm", "-v", "fast:/v", "busybox", "cat", "/v/file") == "shared")
            try daemon.must("rm", "-f", "one")
            #expect(try !isMounted())
            #expect(try daemon.cli("run", "--rm", "-v", "fast:/v", "busybox", "cat", "/v/file").status == 1)

            // What is elsewhere is not pruned away, and is still there after the volume has gone.
            let folder = daemon.directory + "/elsewhere"
            mkdir(folder, 0o755)
            try daemon.must("volume", "create", "-o", "type=none", "-o", "device=\(folder)", "-o", "o=bind", "bound")
            try daemon.must("create", "--name", "stopped", "-v", "bound:/b", "busybox", "true")
            try writeFile(daemon.directory + "/source", "copied\n")
            try daemon.must("cp", daemon.directory + "/source", "stopped:/b/file")
            #expect(try readFile(folder + "/file") == "copied\n")
            try daemon.must("rm", "stopped")
            #expect(try daemon.must("volume", "prune", "-af").contains("Total reclaimed space: 0B"))
            try daemon.must("volume", "rm", "fast", "bound")
            #expect(try readFile(folder + "/file") == "copied\n")

            let odd = try daemon.cli("volume", "create", "-o", "type=tmpfs", "odd")
            #expect(odd.error.contains("missing required option: \"device\""))
            try daemon.must("volume", "create", "-o", "type=nothing", "-o", "device=x", "broken")
            let refused = try daemon.cli("run", "--rm", "-v", "broken:/b:nocopy", "busybox", "true")
            #expect(refused.status == 125 && refused.error.contains("failed to mount local volume"))
            try daemon.must("volume", "rm", "broken")
        }
    }

    @Test("Bind mounts: files and folders, read-only, a missing source")
    func bindMounts() throws {
        try withDaemon { daemon in
            let folder = daemon.directory + "/shared"
            try host("mkdir", folder)
            try writeFile(folder + "/file", "from the host\n")
            #expect(
                try daemon.must("run", "--rm", "-v", "\(folder):/in", "busybox", "cat", "/in/file") == "from the host")
            try daemon.must("run", "--rm", "-v", "\(folder):/in", "busybox", "sh", "-c", "echo back >/in/back")
            #expect(try readFile(folder + "/back") == "back\n")
            #expect(try daemon.cli("run", "--rm", "-v", "\(folder):/in:ro", "busybox", "touch", "/in/x").status == 1)
            #expect(
                try daemon.must("run", "--rm", "-v", "\(folder)/file:/etc/motd:ro", "busybox", "cat", "/etc/motd")
                    == "from the host")
            let mount = "type=bind,src=\(folder)/none,dst=/in"
            let missing = try daemon.cli("run", "--rm", "--mount", mount, "busybox", "true")
            #expect(missing.status == 125)
            #expect(missing.error.contains("none"))
            // -v makes a missing folder, --mount does not.
            try daemon.must("run", "--rm", "-v", "\(folder)/made:/in", "busybox", "touch", "/in/x")
            #expect(exists(folder + "/made/x"))
        }
    }

    @Test("tmpfs, --read-only and /dev/shm's size")
    func temporary() throws {
        try withDaemon { daemon in
            let script = "echo x >/scratch/x && stat -f -c %T /scratch && df -k /scratch | tail -1 | awk '{ print $2 }'"
            #expect(
                try daemon.must("run", "--rm", "--tmpfs", "/scratch:size=1m", "busybox", "sh", "-c", script)
                    == "tmpfs\n1024")
            #expect(try daemon.cli("run", "--rm", "--read-only", "busybox", "touch", "/x").status == 1)
            // A mount point of the image's keeps its mode, a new one has a tmpfs's own, at every start.
            let modes = "stat -c %a /new/er /root"
            try daemon.must(
                "create", "--name", "modes", "--tmpfs", "/new/er", "--tmpfs", "/root", "busybox", "sh", "-c", modes)
            for _ in 1...2 {
                #expect(try daemon.must("start", "-a", "modes") == "1777\n700")
            }
            try daemon.must("run", "--rm", "--read-only", "--tmpfs", "/run", "busybox", "touch", "/run/x", "/dev/shm/y")
            let shm = "df -k /dev/shm | tail -1 | awk '{ print $2 }'"
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", shm) == "65536")
            #expect(try daemon.must("run", "--rm", "--shm-size", "8m", "busybox", "sh", "-c", shm) == "8192")
        }
    }

    @Test("/etc/hosts, hostname and resolv.conf are made for the container")
    func networkFiles() throws {
        try withDaemon { daemon in
            let hosts = try daemon.must(
                "run", "--rm", "--hostname", "box", "--add-host", "other:10.9.8.7", "busybox", "cat", "/etc/hosts")
            #expect(hosts.contains("127.0.0.1\tlocalhost"))
            #expect(hosts.contains("10.9.8.7\tother"))
            #expect(try daemon.must("run", "--rm", "--hostname", "box", "busybox", "cat", "/etc/hostname") == "box")
            let resolver = try daemon.must(
                "run", "--rm", "--dns", "192.0.2.1", "--dns-search", "example.org", "busybox", "cat", "/etc/resolv.conf"
            )
            #expect(resolver.contains("nameserver 192.0.2.1"))
            #expect(resolver.contains("search example.org"))
        }
    }

    @Test("Mount points that the image lacks lie below it: a start writes nothing into the container's own layer")
    func mountPointLayer() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--name", "box", "busybox", "ls", "/proc/1", "/sys/kernel", "/etc/hosts")
            let data = try daemon.inspect("box")["GraphDriver"]["Data"]
            let upper = try #require(data["UpperDir"].string)
            #expect(try FileManager.default.contentsOfDirectory(atPath: upper) == [])
            #expect(try daemon.must("diff", "box") == "")
            // What a container writes there is its own.
            try daemon.must("run", "--name", "writer", "busybox", "sh", "-c", "echo mine >>/etc/hosts; touch /etc/new")
            #expect(try daemon.must("diff", "writer") == "C /etc\nA /etc/new")
            let layer = try #require(data["LowerDir"].string?.split(separator: ":").last.map(String.init))
            #expect(layer.hasSuffix("/mount-points"))
            let names = try FileManager.default.contentsOfDirectory(atPath: layer + "/etc").sorted()
            #expect(names == ["hostname", "hosts", "resolv.conf"])
            #expect(try readFile(layer + "/etc/hosts") == "")
        }
    }

    @Test("What goes with its container is not synced, what stays is")
    func volatileOverlay() throws {
        try withDaemon { daemon in
            let root = ["busybox", "sh", "-c", "grep ' / overlay' /proc/mounts && sync && touch /kept"]
            #expect(try daemon.must(arguments: ["run", "--rm"] + root).contains("volatile"))
            #expect(try !daemon.must(arguments: ["run", "--name", "box"] + root).contains("volatile"))
            try daemon.must("start", "-a", "box")
            #expect(try daemon.must("diff", "box").contains("A /kept"))
        }
    }

    @Test("What can't be deleted of a removed volume keeps neither the daemon from starting nor its name from use")
    func undeletableVolume() throws {
        try withDaemon { daemon in
            try daemon.must("run", "--rm", "-v", "kept:/kept", "busybox", "touch", "/kept/file")
            let volumes = daemon.dataRoot + "/volumes"
            try host("chattr", "+i", volumes + "/kept/_data/file")
            daemon.onEnd { _ = try? host("sh", "-c", "chattr -i \(volumes)/.deleted-*/_data/file 2>/dev/null || true") }
            #expect(try daemon.cli("volume", "rm", "kept").status == 1)
            #expect(try daemon.must("volume", "ls", "-q") == "")
            try daemon.must("volume", "create", "kept")
            #expect(daemon.stop())
            try daemon.start()
            #expect(daemon.logText.contains("what is left of a removed volume could not be deleted"))
            try daemon.must("volume", "rm", "kept")
            try host("sh", "-c", "chattr -i \(volumes)/.deleted-*/_data/file")
            #expect(daemon.stop())
            try daemon.start()
            #expect(try host("ls", "-A", volumes) == "")
        }
    }
}
