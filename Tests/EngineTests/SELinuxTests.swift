import EngineAPI
import LinuxKernel
import Testing

@testable import Engine

@Suite struct SELinuxTests {
    private func labels(_ options: [String]) throws -> ContainerLabels {
        try LabelOptions.labels(options, SELinux.Contexts(files: "")) { "s0:c3,c4" }
    }

    @Test func aContainersLabels() throws {
        #expect(
            try labels([])
                == .init(
                    process: "system_u:system_r:container_t:s0:c3,c4",
                    mount: "system_u:object_r:container_file_t:s0:c3,c4"))
        #expect(
            try labels(["type:spc_t", "role:r", "user:u"])
                == .init(process: "u:r:spc_t:s0:c3,c4", mount: "u:object_r:container_file_t:s0:c3,c4"))
        #expect(
            try labels(["level:s0:c1,c2", "filetype:svirt_file_t"])
                == .init(
                    process: "system_u:system_r:container_t:s0:c1,c2", mount: "system_u:object_r:svirt_file_t:s0:c1,c2")
        )
        #expect(
            try labels(["type:spc_t", "disable"])
                == .init(process: "", mount: "system_u:object_r:container_file_t:s0:c1022,c1023"))
    }

    @Test func aPolicyWithoutLevels() throws {
        let contexts = SELinux.Contexts(
            files: """
                # comment
                process = "u:r:box_t"
                file="u:object_r:box_file_t"
                ro_file = "u:object_r:ro_t"
                broken
                """)
        #expect(contexts.layers.type == "ro_t")
        #expect(SELinux.Contexts(files: "file = a:b:c:s0:c1").layers.description == "a:b:c:s0")
        #expect(SELinux.Contexts(files: "").layers.type == "container_ro_file_t")
        let labels = try LabelOptions.labels([], contexts) { () throws(EngineError) in
            throw .internal("no level is wanted")
        }
        #expect(labels == .init(process: "u:r:box_t", mount: "u:object_r:box_file_t"))
    }

    @Test func oneThatJoinsAnotherHasItsLabel() throws {
        let other = try labels([])
        #expect(try labels(try #require(LabelOptions.like(other.process))) == other)
        #expect(LabelOptions.like("") == nil)
    }

    @Test func options() throws {
        #expect(try SecurityOptions(["label=type:t", "label:role:r"]).labels == ["type:t", "role:r"])
        #expect(
            try SecurityOptions(["label=disable", "disable", "label:disable"]).labels.allSatisfy { $0 == "disable" })
        for bad in ["label=", "label=spc_t", "label=kind:x", "label=type:", "label=type:a b", "label=type:a:b"] {
            #expect(throws: EngineError.self, "\(bad)") { try SecurityOptions([bad]) }
        }
    }

    @Test func levelsAreOnesOwnAndComeBack() throws {
        let levels = SELinuxLevels()
        let all = try (0..<200).map { try levels.allocate(for: "\($0)") }
        #expect(Set(all).count == 200)
        for level in all {
            let categories = level.dropFirst(3).split(separator: ",").compactMap { UInt32($0.dropFirst()) }
            #expect(
                level.hasPrefix("s0:c") && categories.count == 2 && categories[0] < categories[1]
                    && categories[1] < 1024)
        }
        // Of eight categories there are 28 pairs, and the last is nobody's.
        let few = SELinuxLevels(categories: 8)
        let taken = try (0..<27).map { try few.allocate(for: "\($0)") }
        #expect(Set(taken).count == 27 && !taken.contains("s0:c6,c7"))
        #expect(throws: EngineError.self) { try few.allocate(for: "one more") }
        few.release("13")
        #expect(try few.allocate(for: "one more") == taken[13])
    }

    @Test func modesInAnyOrder() throws {
        for (mode, relabeling) in [
            ("z,ro", MountRequest.Relabeling.shared), ("ro,z", .shared), ("Z,ro", .own), ("ro,Z", .own),
        ] {
            for source in ["/host", "volume"] {
                let request = try MountRequest.parse(bind: "\(source):/x:\(mode)")
                #expect(request.relabeling == relabeling && request.readOnly, "\(source) \(mode)")
            }
        }
        #expect(try MountRequest.parse(bind: "/host:/x:ro").relabeling == nil)
        for both in ["z,Z", "Z,z", "z,z"] {
            #expect(throws: EngineError.self) { try MountRequest.parse(bind: "/host:/x:\(both)") }
        }
    }
}
