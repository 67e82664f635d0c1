import Glibc
import Testing

@Suite("Errors: one clear sentence, the right code, nothing left")
struct ErrorTests {
    @Test("No daemon: the client says how to start one")
    func noDaemon() throws {
        let environment = ["PATH": "/usr/bin:/bin", "MYCONTAINER_HOST": "unix:///var/tmp/no-such-socket"]
        let outcome = try Command(TestDaemon.programs + "/mycontainer", ["ps"], environment: environment).finish()
        #expect(outcome.status == 1)
        #expect(outcome.error.contains("/var/tmp/no-such-socket"))
        #expect(outcome.error.contains("mycontainerd"))
        let run = try Command(TestDaemon.programs + "/mycontainer", ["run", "busybox"], environment: environment)
            .finish()
        #expect(run.status == 125)
    }

    @Test("Not root: the daemon refuses")
    func notRoot() throws {
        let copy = "/var/tmp/mycontainer-test-\(getpid())-daemon"
        try host("install", "-m", "0755", TestDaemon.programs + "/mycontainerd", copy)
        defer { unlink(copy) }
        let outcome = try Command(
            "setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", copy],
            environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        ).finish()
        #expect(outcome.status != 0)
        #expect((outcome.error + outcome.output).contains("root"))
    }

    @Test("What the daemon can't read or listen on is said in words, with nothing left behind")
    func daemonPaths() throws {
        let daemon = try TestDaemon()
        defer { #expect(daemon.tearDown().isEmpty) }
        func refusal(_ arguments: [String]) throws -> String {
            let roots = ["--data-root", daemon.dataRoot, "--exec-root", daemon.execRoot]
            let outcome = try Command(
                TestDaemon.programs + "/mycontainerd", roots + arguments, environment: daemon.environment
            ).finish()
            #expect(outcome.status == 1)
            return outcome.error
        }
        let missing = daemon.directory + "/missing.json"
        #expect(try refusal(["--config-file", missing]).contains("\(missing): No such file or directory\n"))
        #expect(try refusal(["--config-file", "/"]).contains("configuration file /: Is a directory\n"))
        let name = String(repeating: "s", count: 120)
        let long = ["--host", "unix://\(daemon.directory)/\(name)", "--pidfile", daemon.directory + "/pid"]
        #expect(try refusal(long).contains("its name is too long"))
        #expect(try host("sh", "-c", "ls \(daemon.directory) | grep -c sss || true") == "0")
    }

    @Test("Unknown commands and flags")
    func usage() throws {
        try withDaemon(images: []) { daemon in
            let verb = try daemon.cli("no-such-verb")
            #expect(verb.status != 0)
            #expect(verb.error.contains("no-such-verb"))
            let flag = try daemon.cli("ps", "--no-such-flag")
            #expect(flag.status != 0)
            #expect(flag.error.contains("no-such-flag"))
        }
    }

    @Test("Images: unknown name, unknown tag, in use")
    func images() throws {
        try withDaemon { daemon in
            for reference in ["no-such-image", "busybox:no-such-tag"] {
                let outcome = try daemon.cli("pull", reference)
                #expect(outcome.status == 1)
                #expect(
                    outcome.error.contains(reference.split(separator: ":").last.map(String.init) ?? reference),
                    "\(outcome.error)")
            }
            #expect(try daemon.cli("pull", "UPPER/case").status != 0)
            // An image of another platform is not taken for the one that was asked for.
            for words in [
                ["save", "busybox"], ["history", "busybox"], ["image", "inspect", "busybox"], ["rmi", "busybox"],
            ] {
                let outcome = try daemon.cli(arguments: words + ["--platform", "linux/s390x"])
                #expect(
                    outcome.status == 1
                        && outcome.error.contains("does not match the specified platform (linux/s390x)"),
                    "\(words): \(outcome.error)")
            }
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            let used = try daemon.cli("rmi", "busybox")
            #expect(used.status == 1)
            #expect(used.error.contains("in use") || used.error.contains("using"), "\(used.error)")
            try daemon.must("rm", "-f", "box")
            try daemon.must("rmi", "busybox")
            #expect(try daemon.must("images", "-q") == "")
        }
    }

    @Test("A registry directory that is not there, or whose blob is corrupt, is named and nothing is kept")
    func registries() throws {
        let folder = "/var/tmp/mycontainer-test-registry-\(getpid())"
        try host("mkdir", folder)
        defer { _ = try? host("rm", "-rf", folder) }
        try host("cp", "-a", TestDaemon.registry + "/busybox", folder + "/busybox")
        // One byte of the largest blob changes, its size does not.
        let script = """
            import os,sys
            d=sys.argv[1]+"/busybox/blobs/sha256/"
            p=d+max(os.listdir(d), key=lambda n: os.path.getsize(d+n))
            f=open(p,"r+b"); f.seek(os.path.getsize(p)//2); b=f.read(1); f.seek(-1,1); f.write(bytes([b[0]^255]))
            """
        try host("python3", "-c", script, folder)
        try withDaemon(["--registry", folder], images: []) { daemon in
            let outcome = try daemon.cli("pull", "busybox")
            #expect(outcome.status == 1)
            #expect(outcome.error.contains("sha256:") || outcome.error.contains("digest"), "\(outcome.error)")
            #expect(try daemon.must("images", "-q") == "")
            #expect(Leaks.layers(daemon).isEmpty)
        }
        try withDaemon(["--registry", folder + "/none"], images: []) { daemon in
            let outcome = try daemon.cli("pull", "busybox")
            #expect(outcome.status == 1)
            #expect(outcome.error.contains(folder + "/none"), "\(outcome.error)")
        }
    }

    @Test("Odd HTTP gets a 4xx and the daemon lives on")
    func oddRequests() throws {
        try withDaemon(images: []) { daemon in
            #expect(try daemon.api("GET", "/no/such/path").status == 404)
            #expect(try daemon.api("GET", "/v9.99/containers/json").status == 400)
            #expect(try daemon.api("GET", "/v1.1/containers/json").status == 400)
            #expect(try daemon.api("POST", "/containers/create", body: "{not json").status == 400)
            #expect(try daemon.api("POST", "/containers/create", body: "{}").status == 400)
            #expect(try daemon.api("GET", "/containers/..%2f..%2fetc/json").status == 404)
            #expect(
                try daemon.api("POST", "/containers/create?name=..%2fx", body: #"{"Image":"busybox"}"#).status == 400)
            for raw in [
                "nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                "POST /containers/create HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            ] {
                let connection = try UnixConnection(daemon.socket)
                connection.send(raw)
                let answer = try connection.receive { $0.count >= 12 }
                #expect(answer.isEmpty || String(decoding: answer, as: UTF8.self).contains(" 4"))
            }
            // Half a request, held open while others are served.
            let half = try UnixConnection(daemon.socket)
            half.send("POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{\"Ima")
            // A head without end.
            let endless = try UnixConnection(daemon.socket)
            for _ in 0..<64 where !endless.send("X-Filler: " + String(repeating: "x", count: 16384) + "\r\n") { break }
            #expect(try daemon.api("GET", "/_ping").text == "OK")
            let connections = try (0..<200).map { _ in try UnixConnection(daemon.socket) }
            #expect(try daemon.api("GET", "/_ping").text == "OK")
            #expect(connections.count == 200)
        }
    }

    @Test("Numbers that no sum can hold are refused or as much as there can be, and the daemon lives on")
    func hugeNumbers() throws {
        try withDaemon { daemon in
            let most = Int64.max
            for query in ["events?since=9223372036.999999999&until=1", "events?since=-\(most)&until=1"] {
                #expect(try daemon.api("GET", "/" + query).status == 400)
            }
            for limits in [
                #""Memory":\#(most)"#, #""Memory":\#(most),"MemorySwap":\#(most)"#, #""PidsLimit":\#(most)"#,
                #""MemoryReservation":\#(most)"#, #""ShmSize":\#(most)"#, #""CpuShares":\#(most)"#,
            ] {
                let body = #"{"Image":"busybox","Cmd":["true"],"HostConfig":{\#(limits)}}"#
                #expect(try [201, 400].contains(daemon.api("POST", "/containers/create?name=box", body: body).status))
                _ = try daemon.api("POST", "/containers/box/start")
                _ = try daemon.api("DELETE", "/containers/box?force=1")
            }
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            #expect(try daemon.api("GET", "/containers/box/logs?stdout=1&since=9223372036.999999999").status == 400)
            #expect(try daemon.api("GET", "/containers/box/logs?stdout=1&tail=\(most)").status == 200)
            #expect(try daemon.api("POST", "/containers/box/stop?t=\(most)").status == 204)
        }
    }

    @Test("A full disk during unpack is named, nothing is kept, and with room it works")
    func diskFull() throws {
        try withDaemon(onTmpfs: "size=3m", images: []) { daemon in
            let outcome = try daemon.cli("pull", "busybox")
            try host("mount", "-o", "remount,size=300m", daemon.dataRoot)
            #expect(outcome.status != 0)
            #expect(
                outcome.error.lowercased().contains("no space") || outcome.error.contains("full"), "\(outcome.error)")
            #expect(try daemon.must("images", "-q") == "")
            try daemon.must("pull", "-q", "busybox")
            #expect(try daemon.must("run", "--rm", "busybox", "echo", "room") == "room")
        }
    }
}
