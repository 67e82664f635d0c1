import CTestSupport
import Glibc
import Testing

/// Programs in a container that try to reach the host, or to wear it out, each with the honest case beside it.
@Suite("Hostile containers")
struct HostileContainerTests {
    /// A file of the host's that no container may see, and that is also in the container at the same path.
    private final class Secret {
        // Of one test alone: they run at the same time.
        let name = "mycontainer-test-secret-\(getpid())-\(UInt32.random(in: .min ... .max))"
        var path: String { "/var/tmp/" + name }

        init() throws { try writeFile(path, "of the host") }
        deinit { unlink(path) }
    }

    @Test("CVE-2018-15664: cp through a directory that becomes a link, and back, stays in the container")
    func copyRace() throws {
        let secret = try Secret()
        try withDaemon { daemon in
            let script = """
                mkdir -p /var/tmp /work/d && echo inside >/work/d/\(secret.name) && echo inside >/var/tmp/\(secret.name)
                ln -s /var/tmp /work/l; echo ready
                while :; do mv /work/d /work/e; mv /work/l /work/d; mv /work/d /work/l; mv /work/e /work/d; done
                """
            let box = try daemon.spawn("run", "--name", "box", "busybox", "sh", "-c", script)
            try box.waitFor("ready")
            let out = daemon.directory + "/out"
            try writeFile(daemon.directory + "/in-\(secret.name)", "from the client")
            var seen: Set<String> = []
            var refusal = ""
            // Most attempts find nothing, since the name is gone for a moment; some must find something.
            for attempt in 0..<500 where attempt < 25 || seen.isEmpty {
                unlink(out)
                let outcome = try daemon.cli("cp", "-L", "box:/work/d/\(secret.name)", out)
                if outcome.status == 0 { seen.insert(try readFile(out)) } else { refusal = outcome.error }
                _ = try daemon.cli("cp", daemon.directory + "/in-\(secret.name)", "box:/work/d/")
            }
            #expect(seen == ["inside\n"], "\(seen), refused at last: \(refusal)")
            #expect(try readFile(secret.path) == "of the host")
            #expect(!exists("/var/tmp/in-\(secret.name)"), "a file was written on the host")
            try daemon.must("rm", "-f", "box")
        }
    }

    @Test("cp of a container that doesn't run: links in a volume lead nowhere outside of it; /var/run -> /run works")
    func copyStopped() throws {
        let secret = try Secret()
        try withDaemon { daemon in
            let script = """
                ln -s /var/tmp /volume/out; ln -s ../../../../../../../../var/tmp /volume/up
                rm -rf /var/run; mkdir -p /run /var; ln -s /run /var/run; echo through >/run/file
                """
            try daemon.must("run", "--name", "box", "-v", "volume:/volume", "busybox", "sh", "-c", script)
            for link in ["out", "up"] {
                let outcome = try daemon.cli("cp", "box:/volume/\(link)/\(secret.name)", daemon.directory + "/copy")
                #expect(outcome.status == 1)
                #expect(!exists(daemon.directory + "/copy"))
                try writeFile(daemon.directory + "/written-\(secret.name)", "x")
                _ = try daemon.cli("cp", daemon.directory + "/written-\(secret.name)", "box:/volume/\(link)/")
                #expect(!exists("/var/tmp/written-\(secret.name)"))
            }
            try daemon.must("cp", "box:/var/run/file", daemon.directory + "/copy")
            #expect(try readFile(daemon.directory + "/copy") == "through\n")
        }
    }

    @Test("A volume's subpath that is a link is refused; a real one is mounted")
    func volumeSubpath() throws {
        try withDaemon { daemon in
            try daemon.must(
                "run", "--rm", "-v", "volume:/volume", "busybox", "sh", "-c",
                "mkdir -p /volume/real/deep; echo here >/volume/real/deep/file; ln -s /etc /volume/link; ln -s real /volume/inner"
            )
            func run(_ subpath: String) throws -> Outcome {
                try daemon.cli(
                    "run", "--rm", "--mount", "type=volume,source=volume,target=/data,volume-subpath=\(subpath)",
                    "busybox",
                    "ls", "/data")
            }
            for subpath in ["link", "inner", "link/deep", "../..", "absent"] {
                let outcome = try run(subpath)
                #expect(outcome.status != 0 && outcome.output.isEmpty, "\(subpath): \(outcome)")
            }
            #expect(try run("real/deep").output == "file\n")
        }
    }

    @Test("CVE-2016-9962, CVE-2024-21626: nothing of a process that enters can be looked at from inside")
    func enteringProcess() throws {
        try withDaemon { daemon in
            // What the container's own programs have open, and what they are, is all that may be seen.
            let watch = """
                while :; do
                    for p in /proc/[0-9]*; do
                        e=$(readlink $p/exe) && case "$p $e" in "/proc/1 "*|*/busybox|*/bin/*) ;; *) echo "SAW $p is $e";; esac
                        for f in $p/fd/*; do
                            t=$(readlink $f) && case $t in pipe:*|socket:*|/dev/*|/proc|/proc/*) ;; *) echo "SAW $f is $t";; esac
                        done
                        [ -r $p/root/var/lib/dpkg ] && echo "SAW the host's root in $p"
                    done
                done 2>/dev/null
                """
            try daemon.must(
                "run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1000 & (\(watch)) & (\(watch)) & wait")
            for _ in 0..<40 { try daemon.must("exec", "box", "true") }
            let seen = try daemon.must("logs", "box")
            #expect(!seen.contains("SAW"), "\(seen.prefix(500))")
            try daemon.must("rm", "-f", "box")
        }
    }

    @Test("CVE-2022-23471, CVE-2025-64329: resizes, attached clients that never read and execs leave no trace behind")
    func floods() throws {
        try withDaemon { daemon in
            func count(_ what: String) throws -> Int {
                try host("sh", "-c", "ls /proc/\(daemon.pid)/\(what) | wc -l").intValue
            }
            func memory() throws -> Int {
                try host("sed", "-n", "s/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p", "/proc/\(daemon.pid)/status").intValue
            }
            try daemon.must(
                "run", "-d", "-t", "--name", "box", "busybox", "sh", "-c", "while :; do echo $(seq 500); done")
            try daemon.must("exec", "box", "true")
            let (descriptors, threads, before) = (try count("fd"), try count("task"), try memory())
            for index in 0..<300 {
                let answer = try daemon.api("POST", "/containers/box/resize?h=\(index % 50 + 1)&w=80")
                #expect(answer.status == 200)
            }
            var silent: [UnixConnection] = []
            for _ in 0..<100 {
                let connection = try UnixConnection(daemon.socket)
                connection.send(
                    "POST /containers/box/attach?stream=1&stdout=1&logs=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                )
                silent.append(connection)
            }
            for _ in 0..<30 { _ = try daemon.api("POST", "/containers/box/exec", body: #"{"Cmd":["true"]}"#) }
            #expect(try daemon.must("exec", "box", "echo", "fine") == "fine")
            let growth = try memory() - before
            #expect(growth < 100 << 10, "the daemon grew by \(growth) KiB")
            silent.removeAll()
            try daemon.must("rm", "-f", "box")
            #expect(try eventually { try count("fd") <= descriptors + 4 }, "descriptors are left open")
            #expect(try eventually { try count("task") <= threads + 8 }, "threads are left")
        }
    }

    @Test("A container's execs are bounded, and the bound is a sentence")
    func execFlood() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            var answer = try daemon.api("POST", "/containers/box/exec", body: #"{"Cmd":["true"]}"#)
            for _ in 0..<1100 where answer.status == 201 {
                answer = try daemon.api("POST", "/containers/box/exec", body: #"{"Cmd":["true"]}"#)
            }
            #expect(answer.status == 409 && answer.text.contains("1024 execs"), "\(answer.status): \(answer.text)")
            #expect(try daemon.inspect("box")["State"]["Running"].bool == true)
        }
    }

    @Test("CVE-2019-14271: nothing of the container's is executed for cp, whatever its programs are called")
    func helperPrograms() throws {
        try withDaemon { daemon in
            // What engines have called for archives, accounts and names, in the place of the container's own.
            let script = """
                printf '#!/bin/sh\necho $0 >>/executed\n' >/trap; chmod 755 /trap
                for p in tar gzip gunzip unpigz xz bzip2 zstd getent id chroot mount ps; do
                    for d in /bin /sbin /usr/bin /usr/sbin; do mkdir -p $d && rm -f $d/$p && cp /trap $d/$p; done
                done
                echo /trap >/etc/ld.so.preload; echo 'passwd: trap' >/etc/nsswitch.conf; echo ready; exec sleep 1000
                """
            let box = try daemon.spawn("run", "--name", "box", "busybox", "sh", "-c", script)
            try box.waitFor("ready")
            let folder = daemon.directory + "/files"
            try host("sh", "-c", "mkdir \(folder) && echo text >\(folder)/file")
            func exercise() throws {
                try daemon.must("cp", folder, "box:/copy")
                try daemon.must("cp", "-a", "box:/copy/file", daemon.directory + "/back")
                #expect(try readFile(daemon.directory + "/back") == "text\n")
                for (flag, name) in [("-z", "gz"), ("--zstd", "zst")] {
                    let archive = "\(folder)/../\(name).tar"
                    try host("tar", flag, "-C", folder, "-cf", archive, "file")
                    try host(
                        "curl", "-sSf", "--unix-socket", daemon.socket, "-T", archive,
                        "http://x/containers/box/archive?path=/\(name)-there")
                }
                try daemon.must("export", "-o", daemon.directory + "/exported", "box")
                try daemon.must("diff", "box")
                try daemon.must("commit", "box", "made")
            }
            try daemon.must("exec", "box", "mkdir", "/gz-there", "/zst-there")
            try exercise()
            try daemon.must("top", "box")
            try daemon.must("kill", "box")
            _ = try box.finish()
            try exercise()
            #expect(try daemon.cli("cp", "box:/executed", daemon.directory + "/executed").status != 0)
            #expect(!exists(daemon.directory + "/executed") && !exists("/executed"))
        }
    }

    @Test("A full disk and a disk without inodes are the container's to hear of; its neighbour and the daemon go on")
    func diskFill() throws {
        try withDaemon(onTmpfs: "size=64m,nr_inodes=2000") { daemon in
            try daemon.must("run", "-d", "--name", "neighbour", "busybox", "sleep", "1000")
            let full = try daemon.cli(
                "run", "--name", "full", "busybox", "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=100")
            #expect(full.status == 1)
            #expect(full.error.contains("No space left on device"), "\(full)")
            #expect(try daemon.must("exec", "neighbour", "echo", "fine") == "fine")
            #expect(try daemon.inspect("full")["State"]["ExitCode"].int == 1)
            try daemon.must("rm", "full")
            let inodes = try daemon.cli(
                "run", "--name", "inodes", "busybox", "sh", "-c",
                "n=0; while : >/f$n; do n=$((n + 1)); done; echo $n; exit 3")
            #expect(inodes.status != 0 && inodes.error.contains("No space left on device"), "\(inodes)")
            #expect(try daemon.must("exec", "neighbour", "echo", "fine") == "fine")
            try daemon.must("rm", "inodes")
            #expect(try daemon.must("run", "--rm", "busybox", "echo", "room") == "room")
        }
    }

    @Test("Sparse files of as many bytes as there can be end no sum of sizes")
    func sparseFiles() throws {
        try withDaemon(onTmpfs: "size=64m") { daemon in
            let script = "for f in /one /two /data/one /data/two; do truncate -s \(Int64.max) $f; done; stat -c %s /one"
            let made = try daemon.must("run", "--name", "box", "-v", "data:/data", "busybox", "sh", "-c", script)
            #expect(made == "\(Int64.max)")
            let sizes = try daemon.api("GET", "/containers/json?all=1&size=1").json()[0]
            #expect(sizes["SizeRw"].int == .max && sizes["SizeRootFs"].int == .max)
            let usage = try daemon.api("GET", "/system/df").json()
            #expect(usage["Volumes"][0]["UsageData"]["Size"].int == .max)
            try daemon.must("container", "prune", "-f")
            try daemon.must("volume", "prune", "-af")
        }
    }

    @Test("A flood of log lines is bounded by rotation, and its neighbour goes on")
    func logFlood() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "neighbour", "busybox", "sleep", "1000")
            try daemon.must(
                "run", "-d", "--name", "flood", "--log-opt", "max-size=1m", "--log-opt", "max-file=2", "busybox", "sh",
                "-c", "yes 0123456789012345678901234567890123456789 | head -c 20000000; sleep 1000")
            #expect(try daemon.must("exec", "neighbour", "echo", "fine") == "fine")
            let id = try #require(try daemon.inspect("flood")["Id"].string)
            let folder = "\(daemon.dataRoot)/containers/\(id)"
            #expect(
                try eventually(seconds: 3 * patience) {
                    try daemon.must("exec", "flood", "sh", "-c", "pidof head || echo ended") == "ended"
                })
            let size = try host("sh", "-c", "cat \(folder)/logs/* | wc -c").intValue
            #expect(size > 0 && size < 3 << 20, "\(size) bytes of log are kept")
        }
    }

    @Test("CVE-2021-41091, CVE-2020-15257: no other user reads the data root; no socket is abstract or open to all")
    func rootsAndSockets() throws {
        try withDaemon { daemon in
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            #expect(try host("stat", "-c", "%a %u", daemon.dataRoot) == "700 0")
            #expect(try host("stat", "-c", "%a %u", daemon.execRoot + "/containers") == "700 0")
            #expect(try host("stat", "-c", "%a %U", daemon.socket) == "660 root")
            let asNobody = try Command(
                "/usr/bin/setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "ls", daemon.dataRoot],
                environment: daemon.environment
            ).finish()
            #expect(asNobody.status != 0)
            let sockets = try readFile("/proc/\(daemon.pid)/net/unix")
            #expect(!sockets.contains(" @"), "\(sockets)")
        }
    }

    @Test("CVE-2020-15257: the host's abstract sockets are out of reach, unless a container has the host's network")
    func abstractSockets() throws {
        try withDaemon { daemon in
            let listener = """
                import signal, socket
                server = socket.socket(socket.AF_UNIX)
                server.bind("\\0containerd-shim")
                server.listen()
                signal.pause()
                """
            let command = try Command(
                "/usr/bin/nsenter", ["--net=" + daemon.network, "--", "python3", "-c", listener],
                environment: daemon.environment)
            let look = ["busybox", "grep", "-c", "@containerd-shim", "/proc/net/unix"]
            #expect(try eventually { try daemon.inside("grep", "@containerd-shim", "/proc/net/unix").status == 0 })
            for network in ["none", "bridge"] {
                #expect(try daemon.cli(arguments: ["run", "--rm", "--network", network] + look).output == "0\n")
            }
            #expect(try daemon.cli(arguments: ["run", "--rm", "--network", "host"] + look).output == "1\n")
            withExtendedLifetime(command) {}
        }
    }
}

extension String {
    fileprivate var intValue: Int { Int(filter { $0.isNumber }) ?? 0 }
}
