import EngineAPI
import Testing

@testable import Commands

@Suite struct SizeTests {
    @Test(
        arguments: [
            ("32", 32), ("32b", 32), ("32B", 32), ("32k", 32 << 10), ("32kb", 32 << 10), ("32KiB", 32 << 10),
            ("1.5m", 3 << 19), ("64M", 64 << 20), ("2g", 2 << 30), ("2 g", 2 << 30), ("1t", 1 << 40), ("0", 0),
        ] as [(String, Int64)])
    func reads(_ word: String, _ bytes: Int64) throws {
        #expect(try parseBytes(word) == bytes)
    }

    @Test(arguments: [
        ("", "invalid size: ''"), ("x", "invalid size: 'x'"), ("-1", "invalid size: '-1'"),
        ("1x", "invalid suffix: 'x'"), ("1kx", "invalid suffix: 'kx'"), ("1bb", "invalid suffix: 'bb'"),
        ("9e99g", "invalid size: '9e99g' is more than 2^63 bytes"),
    ])
    func refuses(_ word: String, _ reason: String) {
        #expect(throws: InvalidValue(reason)) { try parseBytes(word) }
    }

    @Test(
        arguments: [
            ("0.5", 500_000_000), ("2", 2_000_000_000), ("1/2", 500_000_000), ("0.000000001", 1), (".25", 250_000_000),
            ("-1", -1_000_000_000),
        ] as [(String, Int64)])
    func readsCPUs(_ word: String, _ nano: Int64) throws {
        #expect(try parseNanoCPUs(word) == nano)
    }

    @Test(arguments: [
        ("x", "failed to parse x as a rational number"), ("", "failed to parse  as a rational number"),
        ("0.0000000001", "value is too precise"), ("1/3", "value is too precise"),
    ])
    func refusesCPUs(_ word: String, _ reason: String) {
        #expect(throws: InvalidValue(reason)) { try parseNanoCPUs(word) }
    }

    @Test(arguments: [
        (0, "0B"), (999, "999B"), (1000, "1kB"), (1234, "1.23kB"), (1_210_000, "1.21MB"), (117_000_000, "117MB"),
        (999_900, "1000kB"), (72_800_000_000, "72.8GB"),
    ])
    func showsDecimalSizes(_ bytes: Int, _ text: String) {
        #expect(humanSize(bytes) == text)
    }

    @Test(arguments: [(0, "0B"), (1024, "1KiB"), (2_087_357_235, "1.944GiB"), (561_152, "548KiB")])
    func showsBinarySizes(_ bytes: Int, _ text: String) {
        #expect(binarySize(bytes) == text)
    }
}

@Suite struct TimeTests {
    @Test(
        arguments: [
            (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] as [(Int64, String)])
    func saysHowLong(_ seconds: Int64, _ text: String) {
        #expect(humanDuration(seconds * second) == text)
    }

    /// Images say of themselves what they like.
    @Test func agesOfAnyYear() {
        let now = 1_700_000_000 * second
        #expect(age(ofSeconds: 1_700_000_000 - 60, now: now) == "About a minute ago")
        #expect(age(ofSeconds: 253_402_300_799, now: now) == "Less than a second ago")
        #expect(age(ofSeconds: .max, now: now) == "Less than a second ago")
        #expect(age(ofSeconds: .min, now: now) == "292 years ago")
        #expect(localTimestamp(ofSeconds: 253_402_300_799).hasPrefix("9999-12-31T"))
    }

    @Test(
        arguments: [
            ("1h30m", 5400 * second), ("250ms", second / 4), ("1.5s", 3 * second / 2), ("0", 0), ("-1m", -60 * second),
        ] as [(String, Int64)])
    func readsDurations(_ word: String, _ nanoseconds: Int64) throws {
        #expect(try parseDuration(word) == nanoseconds)
    }

    @Test func refusesDurations() {
        #expect(throws: InvalidValue("time: missing unit in duration \"5\"")) { try parseDuration("5") }
        #expect(throws: InvalidValue("time: invalid duration \"x\"")) { try parseDuration("x") }
    }

    @Test func turnsTimesIntoTimestamps() throws {
        let now = 1_700_000_000 * second + 5
        #expect(try apiTimestamp("10m", now: now) == "1699999400.000000005")
        #expect(try apiTimestamp("1700000000", now: now) == "1700000000")
        #expect(try apiTimestamp("2013-01-02T13:23:37Z", now: now) == "1357133017.000000000")
        #expect(try apiTimestamp("2013-01-02T13:23:37.5+01:00", now: now) == "1357129417.500000000")
        #expect(try apiTimestamp("1969-12-31T23:59:58.5Z", now: now) == "-2.500000000")
        #expect(throws: InvalidValue.self) { try apiTimestamp("yesterday", now: now) }
        #expect(throws: InvalidValue.self) { try apiTimestamp("-2555000h", now: now) }
    }
}

@Suite struct MountTests {
    @Test func readsEveryPart() throws {
        let bind = try parseMount("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave")
        #expect(bind.type == "bind" && bind.source == "/a" && bind.target == "/b" && bind.readOnly)
        #expect(bind.bindOptions?.propagation == "rslave")
        let volume = try parseMount("src=v,dst=/v,volume-nocopy,volume-label=a=b,volume-opt=type=nfs")
        #expect(volume.type == "volume" && volume.volumeOptions?.noCopy == true)
        #expect(volume.volumeOptions?.labels == ["a": "b"])
        #expect(volume.volumeOptions?.driverConfig?.options == ["type": "nfs"])
        let memory = try parseMount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770")
        #expect(memory.tmpfsOptions?.sizeBytes == 1 << 20 && memory.tmpfsOptions?.mode == 0o1770)
        #expect(
            try parseMount(#"type=volume,dst=/v,"volume-opt=o=a,b""#).volumeOptions?.driverConfig?.options == [
                "o": "a,b"
            ])
    }

    @Test(arguments: [
        ("", "value is empty"), ("type=bind,x", "invalid field 'x' must be a key=value pair"),
        ("type=bind,foo=1", "unknown option 'foo' in 'foo=1'"), ("type=", "invalid value for 'type': value is empty"),
        ("type=bind,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        (
            "type=bind,src=/a,dst=/b,bind-recursive=readonly",
            "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"
        ),
        ("type=tmpfs,dst=/t,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
    ])
    func refuses(_ word: String, _ reason: String) {
        #expect(throws: InvalidValue(reason)) { try parseMount(word) }
    }

    @Test func tellsVolumesApart() throws {
        #expect(try VolumeArgument("/data") == .anonymous("/data"))
        #expect(try VolumeArgument("name:/data:ro") == .bind("name:/data:ro"))
        #expect(try VolumeArgument("./x:/y") == .bind(absolutePath("./x") + ":/y"))
        #expect(throws: InvalidValue("invalid spec: a::b: empty section between colons")) { try VolumeArgument("a::b") }
        #expect(throws: InvalidValue("invalid spec: a:b:c:d: too many colons")) { try VolumeArgument("a:b:c:d") }
    }
}

@Suite struct PortTests {
    @Test(arguments: [
        ("80", ["80/tcp="]), ("8080:80", ["80/tcp=8080"]), ("127.0.0.1::53/udp", ["53/udp=127.0.0.1:"]),
        ("9000-9001:90-91", ["90/tcp=9000", "91/tcp=9001"]), ("7000-7005:70", ["70/tcp=7000-7005"]),
        ("[::1]:1:2", ["2/tcp=::1:1"]),
    ])
    func reads(_ word: String, _ expected: [String]) throws {
        let mappings = try parsePublish(word).map { mapping in
            let address = mapping.binding.hostIP.isEmpty ? "" : mapping.binding.hostIP + ":"
            return "\(mapping.port)=\(address)\(mapping.binding.hostPort)"
        }
        #expect(mappings == expected)
    }

    @Test(arguments: [
        ("", "no port specified: <empty>"), ("x", "invalid containerPort: x"),
        ("70000", "invalid containerPort: 70000"),
        ("x:80", "invalid hostPort: x"),
        ("1-2:3-5", "invalid ranges specified for container and host Ports: 3-5 and 1-2"),
        ("80/foo", "invalid proto: foo"), ("1.2.3:1:2", "invalid IP address: 1.2.3"),
    ])
    func refuses(_ word: String, _ reason: String) {
        #expect(throws: InvalidValue(reason)) { try parsePublish(word) }
    }
}

@Suite struct DeviceTests {
    @Test func readsUlimits() throws {
        #expect(try parseUlimit("nofile=10:20") == Ulimit(name: "nofile", soft: 10, hard: 20))
        #expect(try parseUlimit("core=-1") == Ulimit(name: "core", soft: -1, hard: -1))
        #expect(throws: InvalidValue("invalid ulimit type: foo")) { try parseUlimit("foo=1") }
        #expect(throws: InvalidValue("ulimit soft limit must be less than or equal to hard limit: 3 > 2")) {
            try parseUlimit("nofile=3:2")
        }
    }

    @Test func readsDevices() throws {
        #expect(try parseDevice("/dev/a").pathInContainer == "/dev/a")
        #expect(try parseDevice("/dev/a:r").cgroupPermissions == "r")
        #expect(try parseDevice("/dev/a:/dev/b:rw").pathInContainer == "/dev/b")
        #expect(throws: InvalidValue("bad mode specified: x")) { try parseDevice("/dev/a:/dev/b:x") }
        #expect(throws: InvalidValue("dev is not an absolute path")) { try parseDevice("dev") }
        #expect(try parseDeviceRule("c 7:* rmw") == "c 7:* rmw")
        #expect(throws: InvalidValue("invalid device cgroup format 'c 7 r'")) { try parseDeviceRule("c 7 r") }
        #expect(try parseByteRate("/dev/sda:1mb").rate == 1 << 20)
        #expect(throws: InvalidValue("bad format for device path: sda:1")) { try parseOperationRate("sda:1") }
        #expect(throws: InvalidValue("invalid weight for device: /dev/sda:5")) { try parseDeviceWeight("/dev/sda:5") }
    }

    @Test func readsHosts() throws {
        #expect(try parseExtraHost("a:1.2.3.4") == "a:1.2.3.4")
        #expect(try parseExtraHost("b=[::1]") == "b:::1")
        #expect(throws: InvalidValue("invalid IP address in add-host: \"x\"")) { try parseExtraHost("a:x") }
        #expect(try parseAddress("2001:0db8::0001") == "2001:db8::1")
        #expect(try parseSearchDomain("example.com.") == "example.com")
        #expect(throws: InvalidValue("-x is not a valid domain")) { try parseSearchDomain("-x") }
    }
}

@Suite struct FilterTests {
    @Test func makesTheParameter() throws {
        var filters = Filters()
        try filters.add("status=exited")
        try filters.add("Label = a=b")
        try filters.add("status=created")
        #expect(filters.query == #"{"label":{"a=b":true},"status":{"created":true,"exited":true}}"#)
        #expect(Filters().query == nil)
        #expect(throws: InvalidValue("bad format of filter (expected name=value)")) {
            var filters = Filters()
            try filters.add("x")
        }
    }
}

@Suite struct DetachKeyTests {
    @Test func holdsBackTheStartOfTheSequence() throws {
        var keys = try DetachKeys("")
        #expect(keys.filter([65, 16]).bytes == [65])
        #expect(keys.filter([66]).bytes == [16, 66])
        #expect(keys.filter([16, 17]).detaches)
        var own = try DetachKeys("ctrl-a,x")
        let (bytes, detaches) = own.filter([1, 1, UInt8(ascii: "x"), 9])
        #expect(bytes == [1] && detaches)
        #expect(throws: InvalidValue("Unknown character: 'ctrl-'")) { try DetachKeys("ctrl-") }
    }
}

@Suite struct NetworkValueTests {
    @Test func rates() throws {
        #expect(try NetworkRate(parsing: "10mbit").bitsPerSecond == 10_000_000)
        #expect(try NetworkRate(parsing: "1.5g").bitsPerSecond == 1_500_000_000)
        #expect(try NetworkRate(parsing: "64000").bitsPerSecond == 64_000)
        #expect(try NetworkRate(parsing: "-1").bitsPerSecond == -1)
        let limited = try NetworkRate(parsing: "8kbit,burst=64k")
        #expect(limited.bitsPerSecond == 8000 && limited.burst == 65_536)
        #expect(try NetworkRate(parsing: "8kbit, 1m").burst == 1 << 20)
        for word in ["", "fast", "1foo", "10mbps", "0", "-2", "1m,latency=5", "1m,0"] {
            #expect(throws: InvalidValue.self, "\(word)", performing: { try NetworkRate(parsing: word) })
        }
    }

    @Test func blocks() throws {
        let block = try #require(AddressBlock("10.1.0.0/17"))
        #expect(block.contains(try #require(AddressBlock(address: "10.1.127.255"))))
        #expect(!block.contains(try #require(AddressBlock(address: "10.1.128.0"))))
        #expect(!block.contains(try #require(AddressBlock("10.1.0.0/16"))))
        #expect(!block.contains(try #require(AddressBlock(address: "::1"))))
        #expect(AddressBlock("10.1.0.0/33") == nil)
    }

    /// `port add` and `port rm` take nothing of docker's `port` away.
    @Test func portVerbs() throws {
        let daemon = try RecordingDaemon(answers: [
            ("POST /containers/web/ports/add", 200, #"{"PortBindings":{"80/tcp":[{"HostIp":"::","HostPort":"8080"}]}}"#)
        ])
        defer { daemon.stop() }
        func run(_ words: String...) -> Int32 {
            CommandLineProgram.main(["-H", "unix://\(daemon.socketPath)"] + words)
        }
        #expect(run("port", "add", "web", "8080:80") == 0)
        let request = try #require(daemon.takeRequests().first)
        #expect(request.path == "/containers/web/ports/add")
        #expect(request.body["PortBindings"]["80/tcp"].elements.first?["HostPort"].string == "8080")
        _ = run("port", "rm")
        #expect(daemon.takeRequests().first?.path == "/containers/rm/json")
        _ = run("port", "add", "80")
        #expect(daemon.takeRequests().first?.path == "/containers/add/json")
    }
}
