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
}
