import Testing

@Suite("Registry directories and the streams of images")
struct ImageTests {
    @Test("search lists repositories, and /distribution says what a pull would find")
    func search() throws {
        let registry = try ScratchRegistry()
        try registry.make("team/busy-tool", #"{"base": "busybox"}"#)
        try withDaemon(["--registry", registry.path], images: []) { daemon in
            #expect(try daemon.must("search", "--format", "{{.Name}}", "busy") == "busybox\nteam/busy-tool")
            #expect(try daemon.must("search", "--format", "{{.Name}}", "--limit", "1", "busy") == "busybox")
            #expect(
                try daemon.must("search", "--format", "{{.Name}}", "-f", "is-official=false", "busy")
                    == "team/busy-tool")
            #expect(try daemon.api("GET", "/images/search?term=nothing-like-it").json() == .array([]))
            #expect(try daemon.api("GET", "/images/search?term=a&limit=101").status == 400)
            let found = try daemon.api("GET", "/distribution/team/busy-tool/json").json()
            #expect(found["Descriptor"]["digest"].string!.hasPrefix("sha256:"))
            #expect(found["Platforms"][0]["os"].string == "linux")
            try daemon.must("pull", "-q", "team/busy-tool")
            let pulled = try daemon.api("GET", "/images/team/busy-tool/json").json()["RepoDigests"][0].string
            #expect(pulled == "team/busy-tool@" + found["Descriptor"]["digest"].string!)
            #expect(try daemon.api("GET", "/distribution/nobody/json").status == 404)
        }
    }

    @Test("Messages of pull and load have dockerd's shape; what was loaded is said once")
    func messages() throws {
        try withDaemon(images: []) { daemon in
            let pull = try daemon.api("POST", "/images/create?fromImage=busybox&tag=latest").text
            let lines = try pull.split(separator: "\n").map { try JSON.parse(String($0)) }
            #expect(lines[0]["status"].string == "Pulling from library/busybox")
            #expect(!lines[0].has("progressDetail"))
            for line in lines
            where line["status"].string == "Pulling fs layer" || line["status"].string == "Pull complete" {
                #expect(line["progressDetail"] == .object([:]))
                #expect(line["id"].string?.count == 12)
            }
            #expect(lines.contains { $0["status"].string == "Pull complete" })
            let archive = daemon.directory + "/busybox.tar"
            try daemon.must("save", "-o", archive, "busybox")
            try daemon.must("rmi", "busybox")
            #expect(try daemon.must("load", "-i", archive) == "Loaded image: busybox:latest")
        }
    }

    @Test("A start that fails ends no wait for the next exit")
    func failedStart() throws {
        try withDaemon { daemon in
            let tools = daemon.directory + "/tools"
            try host("mkdir", tools)
            try daemon.must("create", "--name", "box", "-v", tools + ":/tools", "busybox", "/tools/run")
            let waiting = try UnixConnection(daemon.socket)
            waiting.send(
                "POST /containers/box/wait?condition=next-exit HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            // The head says that the wait has begun.
            _ = try waiting.receive { $0.suffix(4) == Array("\r\n\r\n".utf8) }
            #expect(try daemon.cli("start", "box").status == 1)
            #expect(try daemon.inspect("box")["State"]["ExitCode"].int == 127)
            try writeFile(tools + "/run", "#!/bin/sh\nexit 7\n", mode: 0o755)
            try daemon.must("start", "box")
            let answer = try waiting.receive { _ in false }
            #expect(String(decoding: answer, as: UTF8.self).contains(#""StatusCode":7"#))
        }
    }
}
