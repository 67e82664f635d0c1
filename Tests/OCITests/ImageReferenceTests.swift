import OCI
import Testing

@Suite struct ImageReferenceTests {
    @Test(arguments: [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.35", "docker.io/library/busybox:1.35", "busybox:1.35"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox:x", "docker.io/library/busybox:x", "busybox:x"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("example.test/a/b_c/d--e:T.a-g", "example.test/a/b_c/d--e:T.a-g", "example.test/a/b_c/d--e:T.a-g"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("a__b/c.d", "docker.io/a__b/c.d", "a__b/c.d"),
        // Found by fuzzing: shown without its registry it would be another's.
        ("docker.io/example.test/app", "docker.io/example.test/app", "docker.io/example.test/app"),
        ("docker.io/localhost/app", "docker.io/localhost/app", "docker.io/localhost/app"),
    ])
    func normalises(text: String, full: String, familiar: String) throws {
        let reference = try ImageReference(parsing: text)
        #expect(reference.description == full)
        #expect(reference.familiar == familiar)
        #expect(try ImageReference(parsing: full) == reference)
    }

    @Test(arguments: [
        "", ":tag", "UPPER", "a//b", "a/", "/a", "-a", "a-", "a___b", "a._b", "a..b", "../a", "a/../b", "a:", "a:-x",
        "a: b", "a@", "a@sha256:12", "a@sha512:" + String(repeating: "a", count: 64), "a b", "a:b:c", "host:port/x",
        "ex ample.test/x", String(repeating: "a", count: 64), String(repeating: "x", count: 256),
        "a:" + String(repeating: "t", count: 129), "a\n", "a\0b", "é",
    ])
    func refuses(text: String) {
        #expect(throws: InvalidReference.self) { try ImageReference(parsing: text) }
    }

    @Test func addsTheDefaultTagOnlyWhereNothingElseSays() throws {
        let digest = String(repeating: "0", count: 64)
        #expect(try ImageReference(parsing: "a").withDefaultTag.familiar == "a:latest")
        #expect(try ImageReference(parsing: "a:b").withDefaultTag.familiar == "a:b")
        let byDigest = try ImageReference(parsing: "a@sha256:" + digest).withDefaultTag
        #expect(byDigest.tag == nil && byDigest.digest?.hex == digest)
        #expect(try ImageReference(parsing: "a:b@sha256:" + digest).tag == "b")
    }
}

@Suite struct DigestTests {
    @Test func readsAndWrites() throws {
        let hex = String(repeating: "0123456789abcdef", count: 4)
        let digest = try Digest(parsing: "sha256:" + hex)
        #expect(digest.description == "sha256:" + hex)
        #expect(digest.short == "0123456789ab")
        #expect(Digest(bytes: [UInt8](repeating: 0xa5, count: 32)).hex == String(repeating: "a5", count: 32))
    }

    @Test(arguments: ["", "sha256", "sha256:", "sha256:AB", "md5:00", String(repeating: "0", count: 64)])
    func refuses(text: String) {
        #expect(throws: InvalidDigest.self) { try Digest(parsing: text) }
        #expect(Digest(hex: "sha256:" + text) == nil)
    }

    @Test func refusesUpperCaseAndWrongLength() {
        #expect(Digest(hex: String(repeating: "A", count: 64)) == nil)
        #expect(Digest(hex: String(repeating: "a", count: 63)) == nil)
        #expect(Digest(hex: String(repeating: "é", count: 32)) == nil)
    }
}

@Suite struct RFC3339Tests {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2024-02-29T12:34:56.000000007Z", 1_709_210_096_000_000_007),
            ("2024-02-29T14:34:56.5+02:00", 1_709_210_096_500_000_000), ("1969-12-31T23:59:59.25Z", -750_000_000),
        ] as [(String, Int64)])
    func reads(text: String, nanoseconds: Int64) {
        #expect(RFC3339.nanoseconds(text) == nanoseconds)
        #expect(RFC3339.nanoseconds(RFC3339.format(nanoseconds)) == nanoseconds)
    }

    @Test(arguments: ["", "2024", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "0001-01-01T00:00:00Z", "yesterday"])
    func refuses(text: String) { #expect(RFC3339.nanoseconds(text) == nil) }

    @Test func writesNoNeedlessDigits() {
        #expect(RFC3339.format(1_709_210_096_500_000_000) == "2024-02-29T12:34:56.5Z")
        #expect(RFC3339.format(-1) == "1969-12-31T23:59:59.999999999Z")
    }
}
