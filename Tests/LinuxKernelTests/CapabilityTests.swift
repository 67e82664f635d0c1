import LinuxKernel
import OCI
import Testing

@Suite struct CapabilityTests {
    @Test func knowsNamesAndNumbers() {
        #expect(Capabilities.number(of: "CAP_CHOWN") == 0)
        #expect(Capabilities.number(of: "net_admin") == 12)
        #expect(Capabilities.number(of: "Cap_Sys_Admin") == 21)
        for name in ["", "CAP_", "12", "CAP_12", "NOTHING", "ALL"] { #expect(Capabilities.number(of: name) == nil) }
        #expect(Capabilities.name(of: 21) == "CAP_SYS_ADMIN")
        #expect(Capabilities.name(of: 63) == "CAP_63")
    }

    @Test func followsDockersRules() throws {
        let available = Capabilities.available
        #expect(!available.isEmpty)
        func resolved(_ add: [String] = [], _ drop: [String] = [], privileged: Bool = false) throws -> CapabilitySet {
            try CapabilitySet(names: Capabilities.resolve(add: add, drop: drop, privileged: privileged))
        }
        let defaults = try CapabilitySet(names: Capabilities.dockerDefault)
        let admin = try CapabilitySet(names: ["NET_ADMIN"])
        let chown = try CapabilitySet(names: ["CHOWN"])
        #expect(Capabilities.dockerDefault.count == 14)
        #expect(try resolved() == defaults)
        #expect(try resolved(["net_admin"]) == defaults.union(admin))
        #expect(try resolved([], ["CAP_CHOWN"]) == defaults.subtracting(chown))
        #expect(try resolved(["CHOWN"], ["CHOWN"]) == defaults)
        #expect(try resolved(["ALL"]) == available)
        #expect(try resolved(["all"], ["chown"]) == available.subtracting(chown))
        #expect(try resolved([], ["ALL"]).isEmpty)
        #expect(try resolved(["NET_ADMIN"], ["ALL"]) == admin)
        #expect(try resolved(privileged: true) == available)
        #expect(throws: CapabilityError.self) { try resolved(["FLY"]) }
        #expect(throws: CapabilityError.self) { try resolved([], ["FLY"]) }
    }

    @Test func fillsTheSetsAsDockerDoes() {
        let root = Capabilities.specification(bounding: ["CAP_CHOWN"], uid: 0)
        #expect(root.effective == ["CAP_CHOWN"] && root.permitted == ["CAP_CHOWN"] && root.inheritable == nil)
        let user = Capabilities.specification(bounding: ["CAP_CHOWN"], uid: 1000)
        #expect(user.bounding == ["CAP_CHOWN"] && user.effective == nil && user.permitted == nil)
    }
}
