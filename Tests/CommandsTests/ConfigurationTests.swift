import Glibc
import Testing

@testable import Commands

/// A folder for a `config.json`, gone with the test.
final class Folder {
    let path: String

    init(_ config: String? = nil) throws {
        path = "/tmp/mycontainer-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        guard mkdir(path, 0o700) == 0 else { throw CommandFailure("cannot make \(path): \(goReason(errno))") }
        if let config { try replaceFile(path + "/config.json", Array(config.utf8), mode: 0o644) }
    }

    var configuration: ClientConfiguration { get throws { try ClientConfiguration(directory: path) } }
    func text(_ name: String = "config.json") throws -> String {
        String(decoding: try readFile("\(path)/\(name)"), as: UTF8.self)
    }

    /// Puts a program into the folder that can be found as a credential helper while `body` runs.
    func withHelper(_ script: String, _ body: () throws -> Void) throws {
        try replaceFile(path + "/docker-credential-test", Array("#!/bin/sh\n\(script)\n".utf8), mode: 0o755)
        let before = environment("PATH") ?? ""
        setenv("PATH", "\(path):\(before)", 1)
        defer { setenv("PATH", before, 1) }
        try body()
    }

    deinit {
        func remove(_ path: String) {
            if unlink(path) == 0 { return }
            for name in (try? directoryEntries(path)) ?? [] { remove("\(path)/\(name)") }
            rmdir(path)
        }
        remove(path)
    }
}

@Suite struct ClientConfigurationTests {
    @Test func whatIsNotThereSaysNothing() throws {
        let configuration = try ClientConfiguration(directory: "/nonexistent")
        #expect(configuration.text("psFormat").isEmpty && configuration.headers.isEmpty)
        #expect(configuration.currentContext.isEmpty && configuration.pruneFilters.isEmpty)
    }

    @Test func reads() throws {
        let folder = try Folder(
            """
            {"psFormat":"{{.ID}}","detachKeys":"ctrl-x","HttpHeaders":{"X-A":"1","User-Agent":"no"},
             "pruneFilters":["label!=keep"],"currentContext":"theirs"}
            """)
        let configuration = try folder.configuration
        #expect(configuration.text("psFormat") == "{{.ID}}" && configuration.detachKeys == "ctrl-x")
        #expect(configuration.headers.map(\.name) == ["X-A"] && configuration.headers.map(\.value) == ["1"])
        #expect(configuration.pruneFilters == ["label!=keep"])
        #expect(configuration.dockerContext == "theirs" && configuration.currentContext.isEmpty)
    }

    @Test(arguments: ["{", "[]", "nonsense"]) func refusesWhatIsBroken(_ text: String) throws {
        let folder = try Folder(text)
        #expect(throws: CommandFailure.self) { try folder.configuration }
    }

    /// Other programs' members stay as they are; a link is followed and kept.
    @Test func savesWhatItDoesNotKnow() throws {
        let elsewhere = try Folder("{\"credsStore\":\"x\",\"odd\":{\"b\":1,\"a\":[]}}")
        let folder = try Folder()
        try #require(symlink(elsewhere.path + "/config.json", folder.path + "/config.json") == 0)
        var configuration = try folder.configuration
        configuration.currentContext = "one"
        try configuration.save()
        #expect(
            try elsewhere.text() == """
                {
                \t"credsStore": "x",
                \t"odd": {
                \t\t"b": 1,
                \t\t"a": []
                \t},
                \t"plugins": {
                \t\t"mycontainer": {
                \t\t\t"currentContext": "one"
                \t\t}
                \t}
                }

                """)
        var status = stat()
        #expect(lstat(folder.path + "/config.json", &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(stat(folder.path + "/config.json", &status) == 0 && status.st_mode & 0o777 == 0o644)
        configuration.currentContext = ""
        #expect(configuration.document["plugins"].isNull)
    }

    @Test func proxies() throws {
        let folder = try Folder(
            """
            {"proxies":{"default":{"httpProxy":"http://p:1","noProxy":"a,b"},
             "unix:///other.sock":{"httpsProxy":"http://q:2"}}}
            """)
        let configuration = try folder.configuration
        #expect(
            configuration.proxyVariables(host: try Host("/x.sock"), given: ["http_proxy=mine", "NO_PROXY"])
                == ["HTTP_PROXY=http://p:1", "no_proxy=a,b"])
        #expect(
            configuration.proxyVariables(host: try Host("/other.sock"), given: [])
                == ["HTTPS_PROXY=http://q:2", "https_proxy=http://q:2"])
    }
}

// The helper's place in PATH is the whole process's.
@Suite(.serialized) struct CredentialTests {
    @Test func inTheFile() throws {
        // The first is `me:a:b`.
        let folder = try Folder(
            """
            {"auths":{"r.example":{"auth":"bWU6YTpi"},"https://old.example/v1/":{"auth":"bWU6eA=="},
             "token.example":{"identitytoken":"t"},"bad.example":{"auth":"%%%"}}}
            """)
        let store = CredentialStore(try folder.configuration)
        #expect(
            try store.credentials("r.example")
                == Credentials(username: "me", password: "a:b", serverAddress: "r.example"))
        #expect(try store.credentials("old.example").password == "x")
        #expect(try store.credentials("token.example").identityToken == "t")
        #expect(try store.credentials("nobody.example").isEmpty)
        #expect(throws: CommandFailure.self) { try store.credentials("bad.example") }
    }

    @Test func storedAndErased() throws {
        let folder = try Folder("{\"psFormat\":\"x\"}")
        var store = CredentialStore(try folder.configuration)
        let given = Credentials(username: "me", password: "pä:ss", serverAddress: "r.example:5000")
        try store.store(given)
        #expect(try CredentialStore(folder.configuration).credentials("r.example:5000") == given)
        var status = stat()
        #expect(stat(folder.path + "/config.json", &status) == 0)
        #expect(try store.erase("r.example:5000"))
        #expect(try !store.erase("r.example:5000"))
        #expect(try folder.text() == "{\n\t\"psFormat\": \"x\"\n}\n")
    }

    @Test func aNewFileIsTheOwnersAlone() throws {
        let folder = try Folder()
        var store = CredentialStore(try ClientConfiguration(directory: folder.path + "/new"))
        try store.store(Credentials(username: "a", password: "b", serverAddress: "c"))
        var status = stat()
        #expect(stat(folder.path + "/new/config.json", &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(stat(folder.path + "/new", &status) == 0 && status.st_mode & 0o777 == 0o700)
    }

    /// The protocol: the question on standard input, the answer on standard output, `<token>` for identity tokens.
    @Test func fromAHelper() throws {
        let folder = try Folder("{\"credsStore\":\"test\",\"credHelpers\":{\"plain.example\":\"\"}}")
        let record = folder.path + "/record"
        try folder.withHelper(
            """
            question=$(cat)
            echo "$1 $question" >>\(record)
            case "$1 $question" in
                "get token.example") echo '{"Username":"<token>","Secret":"t"}' ;;
                "get r.example") echo '{"ServerURL":"r.example","Username":"me","Secret":"s"}' ;;
                "get "*|"erase "*) echo "credentials not found in native keychain"; exit 1 ;;
                "list ") echo '{"r.example":"me"}' ;;
                "store "*broken*) echo "the keyring is locked"; exit 1 ;;
            esac
            """
        ) {
            var store = CredentialStore(try folder.configuration)
            #expect(try store.credentials("r.example").password == "s")
            #expect(try store.credentials("token.example").identityToken == "t")
            #expect(try store.credentials("nobody.example").isEmpty)
            #expect(try store.all().map(\.username) == ["me"])
            try store.store(Credentials(username: "me", password: "new", serverAddress: "r.example"))
            #expect(try store.erase("r.example"))
            #expect(
                throws: CommandFailure.self
            ) { try store.store(Credentials(username: "me", password: "broken", serverAddress: "r.example")) }
            let said = try folder.text("record")
            #expect(said.contains("store {\"ServerURL\":\"r.example\",\"Username\":\"me\",\"Secret\":\"new\"}\n"))
            #expect(said.contains("erase r.example\n"))
            #expect(try !folder.text().contains("new"))
        }
        #expect(throws: CommandFailure.self) { try CredentialStore(folder.configuration).credentials("r.example") }
    }

    @Test func header() {
        let given = Credentials(username: "me", password: "\u{3F}\u{3F}>>~", serverAddress: "r")
        #expect(given.header == "eyJ1c2VybmFtZSI6Im1lIiwicGFzc3dvcmQiOiI_Pz4-fiIsInNlcnZlcmFkZHJlc3MiOiJyIn0=")
        #expect(CredentialStore.hostname("https://r.example:5000/v2/") == "r.example:5000")
        #expect(CredentialStore.key(host: "docker.io") == "https://index.docker.io/v1/")
    }
}

@Suite struct ContextTests {
    /// The vectors of FIPS 180-4's examples, and one whose padding needs a block of its own.
    @Test(arguments: [
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ]) func digests(_ text: String, _ expected: String) { #expect(sha256(text) == expected) }

    private func store(_ folder: Folder) throws -> ContextStore {
        ContextStore(try folder.configuration, defaultHost: "unix:///run/x.sock")
    }

    @Test func savedWhereDockerLooks() throws {
        let folder = try Folder()
        let store = try store(folder)
        try store.save(.init(name: "abc", description: "d", host: "unix:///a"))
        #expect(
            try folder.text("contexts/meta/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/meta.json")
                == #"{"Name":"abc","Metadata":{"Description":"d"},"#
                + #""Endpoints":{"docker":{"Host":"unix:///a","SkipTLSVerify":false}}}"#)
        #expect(try store.metadata("abc").host == "unix:///a")
        #expect(try store.all().map(\.name) == ["abc", "default"])
        try store.remove("abc")
        #expect(!store.exists("abc"))
        #expect(throws: CommandFailure.self) { try store.metadata("abc") }
    }

    /// Keys for daemons on TCP go through unharmed.
    @Test func exportedAndImported() throws {
        let folder = try Folder()
        let store = try store(folder)
        try store.save(.init(name: "one", description: "", host: "tcp://h:1"))
        let keys = "\(folder.path)/contexts/tls/\(sha256("one"))/docker"
        try makeDirectory(keys, mode: 0o700)
        try replaceFile(keys + "/ca.pem", Array("secret".utf8), mode: 0o600)
        try store.importArchive(try store.archive("one"), as: "two")
        #expect(try store.metadata("two").host == "tcp://h:1")
        #expect(store.keyFiles("two").map(\.files) == [["ca.pem"]])
        #expect(try folder.text("contexts/tls/\(sha256("two"))/docker/ca.pem") == "secret")
    }

    @Test(arguments: ["tls/docker/../../x", "tls/../x/y", "other", "tls/a/b/c", "/etc/passwd"])
    func importsNothingElse(_ name: String) throws {
        let folder = try Folder()
        let store = try store(folder)
        var archive: [UInt8] = []
        for (name, text) in [("meta.json", #"{"Name":"x"}"#), (name, "y")] {
            let header = TarHeader(name: name, kind: .file, size: Int64(text.utf8.count))
            archive += header.blocks + Array(text.utf8) + TarHeader.padding(header.size)
        }
        #expect(throws: CommandFailure.self) { try store.importArchive(archive, as: "two") }
        #expect(try directoryEntries(folder.path).isEmpty)
    }

    @Test(arguments: ["", "default", "a", "-ab", "a b", "ä1"]) func refusesNames(_ name: String) {
        #expect(throws: CommandFailure.self) { try ContextStore.validate(name) }
    }

    /// `--context`, `-H`, the environment, what was chosen, in this order; docker's own choice never unasked.
    @Test func precedence() throws {
        let folder = try Folder(#"{"currentContext":"theirs","plugins":{"mycontainer":{"currentContext":"ours"}}}"#)
        let store = try store(folder)
        for name in ["ours", "theirs", "other"] {
            try store.save(.init(name: name, description: "", host: "unix:///\(name).sock"))
        }
        func path(_ words: String...) throws -> String {
            let arguments = try ParsedArguments(
                ["--config", folder.path] + words, options: GlobalOptions.options, interspersed: false)
            let global = GlobalOptions(arguments: arguments)
            return try global.host(global.configuration()).path
        }
        guard
            ["MYCONTAINER_HOST", "MYCONTAINER_CONTEXT", "DOCKER_HOST", "DOCKER_CONTEXT"].allSatisfy({
                environment($0) == nil
            })
        else { return }
        #expect(try path() == "/ours.sock")
        #expect(try path("-c", "other") == "/other.sock")
        #expect(try path("-H", "unix:///h.sock") == "/h.sock")
        #expect(try path("-H", "env") == "/theirs.sock")
        #expect(throws: CommandFailure.self) { try path("-c", "other", "-H", "/h.sock") }
        #expect(throws: CommandFailure.self) { try path("-c", "missing") }
        try store.save(.init(name: "remote", description: "", host: "tcp://h:1"))
        #expect(throws: CommandFailure.self) { try path("-c", "remote") }
    }
}
