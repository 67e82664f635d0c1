import EngineAPI
import LinuxKernel
import Testing

@testable import Engine

@Suite struct IdentityMapTests {
    /// The kernel refuses such mappings, but they are asked about before it sees them.
    @Test func mappingsPastTheLastId() {
        let last = IdentityMaps.Mapping(containerID: 0, hostID: .max - 5, size: 100)
        let maps = IdentityMaps(uids: [last], gids: [.init(containerID: .max - 5, hostID: 0, size: 100)])
        #expect(maps.hostUser(5) == .max && maps.hostUser(6) == nil)
        #expect(maps.group(ofHost: 5) == .max && maps.group(ofHost: 50) == IdentityMaps.overflow)
        let all = IdentityMaps.Mapping(containerID: 0, hostID: 0, size: .max)
        #expect(IdentityMaps.unbroken([all, .init(containerID: .max, hostID: 0, size: 10)]) == .max)
    }
}

@Suite struct IdentityRangesTests {
    private func ranges(_ setting: String?, users: String = "", groups: String = "") throws -> IdentityRanges {
        IdentityRanges(
            pool: try IdentityPool(setting: setting, subordinateUsers: users, subordinateGroups: groups),
            instance: "00000000")
    }

    @Test func rangesDontTouchAndComeBack() throws {
        let ranges = try ranges("1000:250")
        let first = try ranges.allocate(100, for: "a")
        let second = try ranges.allocate(100, for: "b")
        #expect(first == 1000..<1100)
        #expect(second == 1100..<1200)
        #expect(throws: EngineError.self) { try ranges.allocate(100, for: "c") }
        #expect(try ranges.allocate(50, for: "d") == 1200..<1250)
        ranges.release("a")
        #expect(try ranges.allocate(60, for: "e") == 1000..<1060)
        #expect(try ranges.allocate(40, for: "f") == 1060..<1100)
    }

    @Test func anEmptyPoolIsAConflictThatSaysWhatToDo() throws {
        let ranges = try ranges("1000:100")
        _ = try ranges.allocate(60, for: "a")
        let refusal = #expect(throws: EngineError.self) { try ranges.allocate(60, for: "b") }
        #expect(refusal?.kind == .conflict)
        #expect(
            refusal?.message.contains("1 containers have 60 of those in the daemon's userns-auto-range 1000:100")
                == true)
        #expect(refusal?.message.contains("--userns auto:size=N") == true)
    }

    @Test func whatAnEarlierDaemonGaveIsKept() throws {
        let ranges = try ranges("1000:300")
        ranges.restore(1000..<1100, of: "a")
        ranges.restore(1150..<1200, of: "b")
        #expect(try ranges.allocate(100, for: "c") == 1200..<1300)
        #expect(try ranges.allocate(50, for: "d") == 1100..<1150)
    }

    @Test func daemonsOfOneHostBeginElsewhere() throws {
        let pool = try IdentityPool(setting: nil, subordinateUsers: "", subordinateGroups: "")
        let one = IdentityRanges(pool: pool, instance: "1a2b3c4d")
        let other = IdentityRanges(pool: pool, instance: "5e6f7081")
        for index in 0..<20 {
            let mine = try one.allocate(65536, for: "\(index)")
            let theirs = try other.allocate(65536, for: "\(index)")
            #expect(!mine.overlaps(theirs))
            #expect(mine.lowerBound >= 0x7000_0000 && mine.upperBound <= 0x7FFE_0000)
        }
    }

    @Test func theSearchGoesRoundTheWholePool() throws {
        let pool = try IdentityPool(setting: "65536:131072", subordinateUsers: "", subordinateGroups: "")
        let ranges = IdentityRanges(pool: pool, instance: "00000001")
        #expect(try ranges.allocate(65536, for: "a") == 131_072..<196_608)
        #expect(try ranges.allocate(65536, for: "b") == 65536..<131_072)
    }

    @Test func subordinateIdsOfTheAccountContainers() throws {
        let users = "somebody:100000:65536\ncontainers:200000:1000\ncontainers:500000:10\n"
        let pool = try IdentityPool(
            setting: nil, subordinateUsers: users, subordinateGroups: "containers:200500:1000\ncontainers:500000:10\n")
        #expect(pool.ranges == [200_500..<201_000, 500_000..<500_010])
        // The setting is stronger.
        let set = try IdentityPool(setting: "7:8", subordinateUsers: users, subordinateGroups: users)
        #expect(set.ranges == [7..<15])
        #expect(throws: EngineError.self) {
            try IdentityPool(setting: nil, subordinateUsers: users, subordinateGroups: "containers:300000:1000\n")
        }
    }

    @Test(arguments: ["", "1", "0:100", "5:0", "a:b", "1:2:3", "4294967295:1", "-1:5"])
    func wrongSettingsAreRefused(_ setting: String) {
        #expect(throws: EngineError.self) {
            try IdentityPool(setting: setting, subordinateUsers: "", subordinateGroups: "")
        }
    }
}

@Suite struct UserNamespaceModeTests {
    @Test func dockersAndPodmansSpellings() throws {
        #expect(try UserNamespaceMode("") == .standard)
        #expect(try UserNamespaceMode("host") == .host)
        #expect(try UserNamespaceMode("auto") == .auto(.init()))
        #expect(try UserNamespaceMode("keep-id") == .keep)
        #expect(try UserNamespaceMode("keep") == .keep)
        #expect(try UserNamespaceMode("container:x") == .container("x"))
        let sized = UserNamespaceMode.Auto(
            size: 1024, uids: [.init(containerID: 5, hostID: 1005, size: 2)],
            gids: [.init(containerID: 6, hostID: 1006, size: 1)])
        #expect(try UserNamespaceMode("auto:size=1024,uidmapping=5:1005:2,gidmapping=6:1006:1") == .auto(sized))
    }

    @Test(arguments: [
        "none", "private", "host:1", "auto:size=0", "auto:size=x", "auto:colour=1", "auto:size", "map", "map:",
        "map:uidmapping=0:1", "map:uidmapping=1:1000:5", "map:uidmapping=0:1000:0", "container:", "keep-id:uid=1",
        "map:uidmapping=0:4294967290:10", "map:uidmapping=0:100:10,uidmapping=5:500:1",
        "map:uidmapping=0:100:10,uidmapping=50:105:1",
    ])
    func othersAreRefused(_ text: String) {
        let refusal = #expect(throws: EngineError.self) { try UserNamespaceMode(text) }
        #expect(refusal?.kind == .invalidParameter)
        #expect(refusal?.message.contains(text) == true)
    }

    @Test func oneListOfMappingsServesBoth() throws {
        let mapping = [IdentityMaps.Mapping(containerID: 0, hostID: 100_000, size: 10)]
        #expect(
            try UserNamespaceMode("map:gidmapping=0:100000:10") == .map(IdentityMaps(uids: mapping, gids: mapping)))
    }

    @Test func givenMappingsAreCutOutOfTheRange() throws {
        guard case .auto(let auto) = try UserNamespaceMode("auto:size=100,uidmapping=10:1000:5,uidmapping=98:2000:4")
        else {
            Issue.record("no auto")
            return
        }
        let maps = try auto.maps(from: 50000, "auto")
        #expect(
            maps.uids == [
                .init(containerID: 0, hostID: 50000, size: 10), .init(containerID: 10, hostID: 1000, size: 5),
                .init(containerID: 15, hostID: 50015, size: 83), .init(containerID: 98, hostID: 2000, size: 4),
            ])
        #expect(maps.gids == [.init(containerID: 0, hostID: 50000, size: 100)])
        #expect(maps.hostUser(12) == 1002 && maps.hostUser(15) == 50015 && maps.hostUser(102) == nil)
        #expect(maps.user(ofHost: 2001) == 99 && maps.user(ofHost: 50012) == 65534)
    }

    @Test func namespacesOfOthersAreRefusedBesidesOneOfOnesOwn() throws {
        var host = makeRecord { _ in }.hostConfig
        try UserNamespaceRules.validate(NamespaceModes(host), mode: "auto", isImplied: false)
        host.ipcMode = "host"
        try UserNamespaceRules.validate(NamespaceModes(host), mode: "auto", isImplied: false)
        for change in [\HostConfig.networkMode, \.pidMode, \.ipcMode] {
            for value in ["host", "container:x"] where change != \HostConfig.ipcMode || value != "host" {
                var changed = makeRecord { _ in }.hostConfig
                changed[keyPath: change] = value
                let modes = try NamespaceModes(changed)
                let refusal = #expect(throws: EngineError.self) {
                    try UserNamespaceRules.validate(modes, mode: "auto", isImplied: true)
                }
                #expect(refusal?.message.contains("--userns host") == true)
            }
        }
    }
}

@Suite struct FileCapabilityTests {
    @Test func theNamespacesRootComesAndGoes() {
        let plain: [UInt8] = [1, 0, 0, 2, 0, 4, 0, 0] + [UInt8](repeating: 0, count: 12)
        let limited = FileCapability.limited(plain, to: 0x7001_0000)
        #expect(limited.count == 24)
        #expect(limited[..<4] == [1, 0, 0, 3])
        #expect(limited[20...] == [0, 0, 1, 0x70])
        #expect(FileCapability.plain(limited, in: 0x7001_0000) == plain)
        #expect(FileCapability.plain(limited, in: 5) == limited)
        #expect(FileCapability.plain(plain, in: 5) == plain)
        #expect(FileCapability.limited([1, 2], to: 5) == [1, 2])
    }
}
