import OCI
import Testing

@testable import Runtime

@Suite struct SystemdTests {
    @Test(arguments: [
        ("system.slice:docker:abc", "/system.slice/docker-abc.scope"),
        ("machine.slice:libpod:abc", "/machine.slice/libpod-abc.scope"),
        ("user-1000-x.slice::abc", "/user.slice/user-1000.slice/user-1000-x.slice/abc.scope"),
        ("-.slice:p:abc", "/p-abc.scope"),
        (":p:abc", "/system.slice/p-abc.scope"),
        ("", "/system.slice/box.scope"),
    ])
    func path(cgroupsPath: String, expected: String) throws {
        #expect(try SystemdScope(cgroupsPath: cgroupsPath, id: "box").path == expected)
    }

    @Test(arguments: ["/a/b", "a:b", "a:b:c", "a.slice:b:", "a.slice:b/c:d", "a--b.slice:c:d"])
    func refused(cgroupsPath: String) {
        #expect(throws: CommandError.self) { try SystemdScope(cgroupsPath: cgroupsPath, id: "box") }
    }

    @Test func masks() {
        #expect(SystemdScope.mask("0") == [1])
        #expect(SystemdScope.mask("0-1,9") == [3, 2])
        #expect(SystemdScope.mask("") == [])
    }

    @Test func properties() throws {
        let properties = try SystemdScope.properties([
            "org.systemd.property.TimeoutStopSec": "2", "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.Delegate": "true", "org.systemd.property.MemoryHigh": "uint64 7", "other": "x",
        ])
        #expect(properties.map { $0.0 } == ["CollectMode", "Delegate", "MemoryHigh", "TimeoutStopUSec"])
        #expect(properties.map { $0.1.signature } == ["s", "b", "t", "t"])
        #expect(throws: CommandError.self) { try SystemdScope.properties(["org.systemd.property.X": "what"]) }
    }

    /// Worked out by hand from the D-Bus Specification's "Marshaling".
    @Test func marshalling() {
        var writer = DBusWriter()
        writer.write(.string("ab"))
        writer.write(.array("(sv)", [.structure([.string("c"), .variant(.boolean(true))])]))
        #expect(
            writer.bytes == [
                2, 0, 0, 0, 0x61, 0x62, 0, 0,
                // The array's length counts from its first element, which is aligned to eight bytes.
                16, 0, 0, 0, 0, 0, 0, 0,
                1, 0, 0, 0, 0x63, 0, 1, 0x62, 0, 0, 0, 0, 1, 0, 0, 0,
            ])
    }

    @Test func message() throws {
        var call = DBusMessage.call("StopUnit", [.string("a.scope"), .string("replace")])
        call.serial = 7
        let bytes = call.encoded
        #expect(DBusMessage.size(bytes[..<16]) == bytes.count)
        let read = try #require(DBusMessage(bytes[...]))
        #expect(read.kind == .call)
        #expect(read.serial == 7)
        #expect(read.member == "StopUnit")
        #expect(read.signature == "ss")
        #expect(read.text == "a.scope")
        #expect(DBusMessage(bytes[..<20]) == nil)
        #expect(DBusMessage.size([UInt8](repeating: 0, count: 16)[...]) == nil)
    }
}
