import FoundationEssentials
import OCI
import Testing

/// What the fast encoder writes must be what Foundation's decoder reads, for every shape that `Codable` synthesizes.
@Suite struct JSONTextEncoderTests {
    private enum Shape: Codable, Equatable {
        case nothing
        case one(Int)
        case several(name: String, inner: Inner?)
    }

    private struct Inner: Codable, Equatable {
        var empty = Empty()
        var numbers: [[Int]] = [[], [1, -2], []]
        var maps: [String: [String: UInt64]] = ["a": ["b": .max], "c": [:]]
        var absent: String?
        var present: Bool? = false
        var fraction = 0.25
    }

    private struct Empty: Codable, Equatable {}

    private struct Document: Codable, Equatable {
        var shapes: [Shape] = [
            .nothing, .one(3), .several(name: "\u{1}\"\\/é\n", inner: Inner()), .several(name: "", inner: nil),
        ]
        var words = ["", "b"]
        var labels = ["k": "v", "é": ""]
        var bytes: [UInt8] = [0, 255]
        var optionals: [Int?] = [nil, 1]
        var last: Inner? = Inner()
    }

    @Test func isReadBackWhole() throws {
        let document = Document()
        let bytes = try JSONTextEncoder.encode(document)
        #expect(try JSONDecoder().decode(Document.self, from: Data(bytes)) == document)
    }

    @Test func membersStandInTheTypesOrderAndNothingIsEscapedThatNeedNot() throws {
        struct Pair: Encodable {
            var z = "a/b"
            var a: [Int]? = []
            var none: Int?
        }
        #expect(String(decoding: try JSONTextEncoder.encode(Pair()), as: UTF8.self) == #"{"z":"a/b","a":[]}"#)
    }

    @Test func valuesWithoutAContainerAndBareOnes() throws {
        #expect(String(decoding: try JSONTextEncoder.encode(Empty()), as: UTF8.self) == "{}")
        #expect(String(decoding: try JSONTextEncoder.encode("x"), as: UTF8.self) == #""x""#)
        #expect(String(decoding: try JSONTextEncoder.encode([Int]()), as: UTF8.self) == "[]")
        #expect(throws: EncodingError.self) { try JSONTextEncoder.encode([Double.infinity]) }
    }

    @Test func aRuntimeSpecKeepsEverything() throws {
        let spec = RuntimeSpec(
            ociVersion: "1.2.0",
            process: .init(
                terminal: true, consoleSize: .init(height: 1, width: 2),
                user: .init(uid: 1, gid: 2, additionalGids: [3]),
                args: ["sh", "-c", "echo \"$X\""], env: ["X=ü"], cwd: "/",
                capabilities: .init(bounding: ["CAP_KILL"], effective: []),
                rlimits: [.init(type: "RLIMIT_NOFILE", hard: .max, soft: 1)]),
            root: .init(path: "/r"), hostname: "h",
            mounts: [.init(destination: "/proc", type: "proc", source: "proc", options: ["ro"])],
            annotations: ["a": "b"],
            linux: .init(
                resources: .init(memory: .init(limit: -1), unified: ["memory.high": "max"]), cgroupsPath: "/c",
                namespaces: [.init(type: "pid"), .init(type: "network", path: "/n")]))
        let bytes = try JSONTextEncoder.encode(spec)
        #expect(try JSONDecoder().decode(RuntimeSpec.self, from: Data(bytes)) == spec)
    }
}
