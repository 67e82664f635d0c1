import EngineAPI
import Testing

@testable import Engine

@Suite("Dockerfile instructions of commit and import")
struct ConfigChangesTests {
    private func apply(_ changes: String..., to config: ContainerConfig = ContainerConfig()) throws -> ContainerConfig {
        try ConfigChanges.apply(changes, to: config)
    }

    @Test("CMD and ENTRYPOINT in both forms; an ENTRYPOINT drops the image's CMD, not one given with it")
    func commands() throws {
        #expect(try apply(#"CMD ["a", "b c"]"#).cmd == ["a", "b c"])
        #expect(try apply("cmd a  b").cmd == ["/bin/sh", "-c", "a  b"])
        #expect(try apply("CMD [a, b]").cmd == ["/bin/sh", "-c", "[a, b]"])
        let old = ContainerConfig { $0.cmd = ["old"] }
        let entry = try apply(#"ENTRYPOINT ["run"]"#, to: old)
        #expect(entry.entrypoint == ["run"])
        #expect(entry.cmd == nil)
        #expect(try apply(#"CMD ["new"]"#, #"ENTRYPOINT ["run"]"#, to: old).cmd == ["new"])
    }

    @Test("ENV and LABEL: pairs, the old form, quotes and variables")
    func pairs() throws {
        let old = ContainerConfig { $0.env = ["HOME=/root", "A=0"] }
        #expect(
            try apply(#"ENV A=1 B="two words" C=it\ is D='$A' E=$A-${HOME}"#, to: old).env
                == ["HOME=/root", "A=1", "B=two words", "C=it is", "D=$A", "E=0-/root"])
        #expect(try apply("ENV NAME rest of  line").env == ["NAME=rest of  line"])
        #expect(try apply("ENV X=1", "ENV Y=${X:-2}${Z:-3}${X:+4}${Z+5}").env == ["X=1", "Y=134"])
        #expect(try apply(#"LABEL a=1 "b c"="d""#).labels == ["a": "1", "b c": "d"])
        for wrong in ["ENV", "ENV A", "ENV A=1 B", "ENV =1", "ENV A=\"open", "ENV A=${B", "ENV A=${B%x}"] {
            #expect(throws: EngineError.self, "\(wrong)") { try apply(wrong) }
        }
    }

    @Test("EXPOSE, VOLUME, USER, WORKDIR, STOPSIGNAL, ONBUILD")
    func others() throws {
        let environment = ContainerConfig { $0.env = ["PORTS=80 443", "DIR=/srv"] }
        #expect(
            try apply("EXPOSE $PORTS 7000-7001/udp", to: environment).exposedPorts?.keys.sorted()
                == ["443/tcp", "7000/udp", "7001/udp", "80/tcp"])
        #expect(try apply("EXPOSE 1-65535 1-65535/udp").exposedPorts?.count == 131_070)
        #expect(
            try apply(#"VOLUME ["/a", "/b c"]"#, "VOLUME /d /e").volumes?.keys.sorted() == ["/a", "/b c", "/d", "/e"])
        #expect(try apply("USER 1:2").user == "1:2")
        #expect(try apply("WORKDIR $DIR", "WORKDIR a/../b", to: environment).workingDir == "/srv/b")
        #expect(try apply("STOPSIGNAL SIGINT").stopSignal == "SIGINT")
        #expect(try apply("ONBUILD RUN make && make install").onBuild == ["RUN make && make install"])
        for wrong in [
            "EXPOSE 0x50", "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE 80/ip", "VOLUME [\"\"]", "USER", "STOPSIGNAL SIGWRONG",
            "ONBUILD ONBUILD RUN a", "ONBUILD FROM a", "RUN true", "FROM busybox", "HELLO world",
        ] {
            #expect(throws: EngineError.self, "\(wrong)") { try apply(wrong) }
        }
    }

    @Test("HEALTHCHECK and its options")
    func health() throws {
        let health = try apply("HEALTHCHECK --interval=1m --timeout=2s --retries=4 CMD curl -f localhost").healthcheck
        #expect(health?.test == ["CMD-SHELL", "curl -f localhost"])
        #expect(health?.interval == 60_000_000_000)
        #expect(health?.timeout == 2_000_000_000)
        #expect(health?.retries == 4)
        #expect(try apply(#"HEALTHCHECK CMD ["a", "b"]"#).healthcheck?.test == ["CMD", "a", "b"])
        #expect(try apply("HEALTHCHECK NONE").healthcheck?.test == ["NONE"])
        for wrong in [
            "HEALTHCHECK", "HEALTHCHECK CMD", "HEALTHCHECK NONE x", "HEALTHCHECK HTTP /",
            "HEALTHCHECK --interval=x CMD a",
            "HEALTHCHECK --wrong=1s CMD a", "HEALTHCHECK --interval=1us CMD a",
        ] {
            #expect(throws: EngineError.self, "\(wrong)") { try apply(wrong) }
        }
    }

    @Test("Comments, empty and continued lines; several instructions in one text")
    func lines() throws {
        let config = try apply("# comment\n\nENV A=1 \\\n  B=2\n  USER me\n")
        #expect(config.env == ["A=1", "B=2"])
        #expect(config.user == "me")
    }
}
