import EngineAPI
import Testing

@testable import APIServer

/// Old shapes for old clients.
@Suite struct CompatibilityTests {
    private func members(_ value: JSONValue, _ path: String...) -> [String: JSONValue] {
        var value = value
        for name in path {
            guard case .object(let object) = value else { return [:] }
            value = object[name] ?? .null
        }
        if case .object(let object) = value { return object }
        return [:]
    }

    @Test func imageListByVersion() {
        var image = ImageSummary()
        image.size = 7
        image.containers = 2
        image.descriptor = Descriptor()
        let newest = Compatibility.image(image, .newest)
        #expect(newest.virtualSize == 0 && newest.containers == 2 && newest.descriptor != nil && newest.repoTags == [])
        let v1_43 = Compatibility.image(image, APIVersion(1, 43))
        #expect(v1_43.virtualSize == 7 && v1_43.containers == -1 && v1_43.descriptor == nil && v1_43.repoTags == [])
        let v1_42 = Compatibility.image(image, APIVersion(1, 42))
        #expect(v1_42.repoTags == ["<none>:<none>"] && v1_42.repoDigests == ["<none>@<none>"])
    }

    @Test func imageInspectByVersion() {
        var image = ImageInspect()
        image.size = 9
        image.config = ImageConfig { $0.env = ["A=1"] }
        let newest = Compatibility.image(image, .newest)
        #expect(members(newest)["VirtualSize"] == nil)
        #expect(members(newest)["Created"] == nil)
        #expect(members(newest, "Config")["Env"] == .array([.string("A=1")]))
        #expect(members(newest, "Config")["Cmd"] == .null)
        #expect(members(newest, "Config")["Tty"] == nil)
        let old = Compatibility.image(image, APIVersion(1, 43))
        #expect(members(old)["VirtualSize"] == .integer(9))
        #expect(members(old)["Created"] == .string(Timestamp.never))
        #expect(members(old, "Config")["Tty"] == .bool(false))
    }

    @Test func infoByVersion() {
        var info = SystemInfo()
        info.securityOptions = ["name=seccomp,profile=builtin"]
        info.runcCommit.id = "abc"
        let newest = Compatibility.info(info, .newest)
        #expect(members(newest)["BridgeNfIptables"] == nil)
        #expect(members(newest, "RuncCommit")["Expected"] == nil)
        let old = Compatibility.info(info, APIVersion(1, 24))
        #expect(members(old)["BridgeNfIptables"] == .bool(false))
        #expect(members(old)["SecurityOptions"] == .array([.string("seccomp")]))
        #expect(members(old, "RuncCommit")["Expected"] == .string("abc"))
    }

    private func adapted(
        _ version: APIVersion, _ configure: (inout ContainerCreateRequest) -> Void
    ) throws -> (ContainerCreateRequest, [String]) {
        var request = ContainerCreateRequest()
        request.config.image = "x"
        configure(&request)
        let warnings = try Compatibility.adapt(&request, version)
        return (request, warnings)
    }

    @Test func creationsOfOldClients() throws {
        let (v1_24, _) = try adapted(APIVersion(1, 24)) {
            $0.hostConfig = HostConfig { $0.autoRemove = true }
        }
        #expect(v1_24.hostConfig?.autoRemove == false)
        #expect(v1_24.hostConfig?.ipcMode == "shareable")
        #expect(v1_24.hostConfig?.networkMode == "bridge")
        let (newest, warnings) = try adapted(.newest) {
            $0.config.macAddress = "02:42:ac:11:00:02"
            $0.hostConfig = HostConfig {
                $0.networkMode = "default"
                $0.pidsLimit = -1
                $0.autoRemove = true
            }
            $0.networkingConfig = NetworkingConfig { $0.endpointsConfig = ["default": EndpointSettings()] }
        }
        #expect(newest.hostConfig?.pidsLimit == nil)
        #expect(newest.hostConfig?.autoRemove == true)
        #expect(newest.networkingConfig?.endpointsConfig?.keys.sorted() == ["bridge"])
        #expect(warnings.count == 1)
    }

    @Test func mountsThatAVersionDoesNotHave() throws {
        func mount(_ version: APIVersion, _ configure: (inout Mount) -> Void) throws -> Mount? {
            try adapted(version) { $0.hostConfig = HostConfig { $0.mounts = [Mount(configure)] } }.0.hostConfig?
                .mounts?[0]
        }
        #expect(throws: Failure.self) {
            try mount(.newest) {
                $0.type = "bind"
                $0.volumeOptions = Mount.VolumeOptions()
            }
        }
        let old = try mount(APIVersion(1, 41)) {
            $0.type = "bind"
            $0.readOnly = true
            $0.volumeOptions = Mount.VolumeOptions()
        }
        #expect(old?.volumeOptions == nil)
        #expect(old?.bindOptions?.readOnlyNonRecursive == true)
        #expect(throws: Failure.self) { try mount(APIVersion(1, 47)) { $0.type = "image" } }
        #expect(throws: Failure.self) {
            try mount(APIVersion(1, 44)) {
                $0.type = "volume"
                $0.volumeOptions = Mount.VolumeOptions { $0.subpath = "a" }
            }
        }
    }

    @Test func detachKeyNames() throws {
        #expect(try DetachKeys.parse(nil) == [16, 17])
        #expect(try DetachKeys.parse("") == [16, 17])
        #expect(try DetachKeys.parse("ctrl-a,d") == [1, UInt8(ascii: "d")])
        #expect(try DetachKeys.parse("ctrl-@,ctrl-[,ctrl-\\,ctrl-_") == [0, 27, 28, 31])
        for text in ["ctrl-", "ctrl-1", "shift-a", "a,,b"] {
            #expect(throws: Failure.self) { try DetachKeys.parse(text) }
        }
    }

    @Test func detachSequences() {
        var keys = DetachSequence([1, 1, 2])
        #expect(keys.process([5, 1]).output == [5])
        #expect(keys.process([3]).output == [1, 3])
        let (output, detached) = keys.process([1, 1, 2, 9])
        #expect(detached && output.isEmpty)
        var single = DetachSequence([4])
        #expect(single.process([1, 4, 2]) == ([1], true))
    }
}
