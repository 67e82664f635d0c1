import EngineAPI
import FoundationEssentials
import OCI
import Testing

/// Documents as dockerd 28.5 writes them, and what clients of all ages send.
@Suite struct WireTests {
    /// Compares documents as trees, so that order does not matter but every null, `[]` and absence does.
    private func expect(_ value: some WireValue, writes text: String, _ location: SourceLocation = #_sourceLocation)
        throws
    {
        let written = try JSON.decode(JSONValue.self, from: try JSON.encode(value))
        let wanted = try JSON.decode(JSONValue.self, from: text)
        #expect(written == wanted, sourceLocation: location)
    }

    @Test func emptyContainerConfigHasGosNulls() throws {
        try expect(
            ContainerConfig(),
            writes: """
                {"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,
                 "AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,
                 "Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}
                """)
    }

    @Test func emptyHostConfigHasGosNulls() throws {
        try expect(
            HostConfig(),
            writes: """
                {"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":null},"NetworkMode":"",
                 "PortBindings":null,"RestartPolicy":{"Name":"","MaximumRetryCount":0},"AutoRemove":false,
                 "VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,
                 "CgroupnsMode":"","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,
                 "IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,
                 "PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"",
                 "ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"",
                 "BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,
                 "BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,
                 "CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,
                 "DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,
                 "MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"Ulimits":null,"CpuCount":0,
                 "CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null}
                """)
    }

    @Test func omitEmptyKeepsPointersToZeroAndDropsEmptyMaps() throws {
        var host = HostConfig()
        host.`init` = false
        host.pidsLimit = 0
        host.sysctls = [:]
        host.portBindings = ["80/tcp": nil, "81/tcp": [PortBinding(hostIP: "", hostPort: "8081")]]
        let document = try JSON.decode([String: JSONValue].self, from: try JSON.encode(host))
        #expect(document["Init"] == .bool(false))
        #expect(document["PidsLimit"] == .integer(0))
        #expect(document["Sysctls"] == nil)
        #expect(
            document["PortBindings"]
                == .object([
                    "80/tcp": .null,
                    "81/tcp": .array([.object(["HostIp": .string(""), "HostPort": .string("8081")])]),
                ]))
        #expect(try JSON.decode(HostConfig.self, from: try JSON.encode(host)).portBindings == host.portBindings)
    }

    @Test func createRequestIsOneFlatObject() throws {
        let request = try JSON.decode(
            ContainerCreateRequest.self,
            from: """
                {"Image":"busybox","Cmd":"date","entrypoint":["/bin/sh","-c"],"TTY":true,"Env":null,"Unknown":[1,{}],
                 "Volumes":{"/data":{}},
                 "HostConfig":{"memory":67108864,"NanoCpus":500000000,"Binds":["data:/data"],"AutoRemove":null},
                 "NetworkingConfig":{"EndpointsConfig":{"none":{}}}}
                """)
        #expect(request.config.image == "busybox")
        #expect(request.config.cmd == ["date"])
        #expect(request.config.entrypoint == ["/bin/sh", "-c"])
        #expect(request.config.tty)
        #expect(request.config.volumes == ["/data": EmptyObject()])
        #expect(request.hostConfig?.memory == 64 << 20)
        #expect(request.hostConfig?.resources.nanoCpus == 500_000_000)
        #expect(request.networkingConfig?.endpointsConfig?["none"] == EndpointSettings())
        let again = try JSON.decode(ContainerCreateRequest.self, from: try JSON.encode(request))
        #expect(again == request)
    }

    @Test func anErrorNamesTheField() throws {
        let error = try #require(throws: JSONError.self) {
            try JSON.decode(ContainerCreateRequest.self, from: #"{"HostConfig":{"Memory":"64m"}}"#)
        }
        #expect(error.description == "invalid JSON: HostConfig.Memory must be a whole number")
        let list = try #require(throws: JSONError.self) {
            try JSON.decode(ContainerCreateRequest.self, from: #"{"Env":["A=1",2]}"#)
        }
        #expect(list.description == "invalid JSON: Env[1] must be a string")
        #expect(throws: JSONError.self) { try JSON.decode(ContainerConfig.self, from: #"{"Image":"#) }
        #expect(throws: JSONError.self) { try JSON.decode(Resources.self, from: #"{"BlkioWeight":70000}"#) }
    }

    @Test func slashesAndUnicodeAreNotEscaped() throws {
        #expect(try JSON.string(ErrorResponse(message: "/bin/ü")) == #"{"message":"/bin/ü"}"#)
    }

    @Test func waitAndTopAndPrune() throws {
        try expect(WaitResponse(statusCode: 137), writes: #"{"StatusCode":137}"#)
        try expect(WaitResponse(statusCode: 0, error: "no"), writes: #"{"StatusCode":0,"Error":{"Message":"no"}}"#)
        try expect(
            TopResponse(titles: ["PID"], processes: [["1"]]), writes: #"{"Titles":["PID"],"Processes":[["1"]]}"#)
        try expect(ContainersPruneReport(), writes: #"{"ContainersDeleted":null,"SpaceReclaimed":0}"#)
        try expect(VolumeListResponse(volumes: []), writes: #"{"Volumes":[],"Warnings":null}"#)
        try expect(ContainerCreateResponse(id: "a"), writes: #"{"Id":"a","Warnings":[]}"#)
    }

    @Test func eventsCarryTheOldMembersForContainersAndImages() throws {
        try expect(
            EventMessage(
                type: "container", action: "start", id: "c1", attributes: ["image": "busybox", "name": "a"],
                time: 1_700_000_000_000_000_001),
            writes: """
                {"status":"start","id":"c1","from":"busybox","Type":"container","Action":"start",
                 "Actor":{"ID":"c1","Attributes":{"image":"busybox","name":"a"}},"scope":"local",
                 "time":1700000000,"timeNano":1700000000000000001}
                """)
        try expect(
            EventMessage(
                type: "volume", action: "create", id: "v", attributes: ["driver": "local"], time: 1_000_000_000),
            writes: """
                {"Type":"volume","Action":"create","Actor":{"ID":"v","Attributes":{"driver":"local"}},
                 "scope":"local","time":1,"timeNano":1000000000}
                """)
    }

    @Test func statsDocumentShape() throws {
        var stats = ContainerStats()
        stats.name = "/a"
        stats.id = "c1"
        stats.cpuStats.usage.total = 5
        try expect(
            stats,
            writes: """
                {"name":"/a","id":"c1","read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z","pids_stats":{},
                 "blkio_stats":{"io_service_bytes_recursive":null,"io_serviced_recursive":null,
                 "io_queue_recursive":null,"io_service_time_recursive":null,"io_wait_time_recursive":null,
                 "io_merged_recursive":null,"io_time_recursive":null,"sectors_recursive":null},
                 "num_procs":0,"storage_stats":{},
                 "cpu_stats":{"cpu_usage":{"total_usage":5,"usage_in_kernelmode":0,"usage_in_usermode":0},
                 "throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},
                 "precpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},
                 "throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"memory_stats":{}}
                """)
    }

    @Test func progressLines() throws {
        try expect(
            ProgressMessage(status: "Downloading", id: "abc", detail: .init(current: 1, total: 2)),
            writes: #"{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"abc"}"#)
        try expect(
            ProgressMessage(status: "Pull complete", id: "abc", detail: .init()),
            writes: #"{"status":"Pull complete","progressDetail":{},"id":"abc"}"#)
        try expect(ProgressMessage(error: "no"), writes: #"{"errorDetail":{"message":"no"},"error":"no"}"#)
    }

    @Test func filtersInBothForms() throws {
        let new = try Filters(json: #"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#)
        #expect(new["label"] == ["a=b", "c"])
        #expect(try Filters(json: #"{"label":["a=b","c"],"status":["exited"]}"#) == new)
        #expect(new.matchesLabels("label", ["a": "b", "c": "d"]))
        #expect(!new.matchesLabels("label", ["a": "x", "c": "d"]))
        #expect(new.matchesExactly("status", "exited") && !new.matchesExactly("status", "running"))
        #expect(new.firstUnknown(["label"]) == "status")
        #expect(try Filters(json: "").isEmpty)
        #expect(throws: (any Error).self) { try Filters(json: "[1]") }
        #expect(throws: (any Error).self) { try Filters(json: #"{"label":"x"}"#) }
        #expect(try Filters(json: #"{"dangling":["true"]}"#).flag("dangling") == true)
        #expect(throws: InvalidFilter.self) { try Filters(json: #"{"dangling":["maybe"]}"#).flag("dangling") }
        var written = Filters()
        written.add("label", "a")
        #expect(try JSON.string(written) == #"{"label":{"a":true}}"#)
    }

    @Test func versions() {
        #expect(APIVersion("1.51") == .newest)
        #expect(APIVersion("1.9")! < APIVersion("1.24")!)
        for text in ["", "1", "1.", ".1", "1.2.3", "a.b", "1.-2", "1.99999"] { #expect(APIVersion(text) == nil) }
    }
}

/// The text itself, which `docker inspect` shows as it comes.
@Suite struct JSONWriterTests {
    @Test func escapesAsGoDoes() throws {
        #expect(
            try JSON.string("a\"b\\c/d\u{8}\t\n\u{C}\r\u{1}\u{1F}é\u{1F600}<&>")
                == #""a\"b\\c/d\b\t\n\f\r\u0001\u001fé😀<&>""#)
    }

    @Test func numbersKeepEveryDigit() throws {
        #expect(try JSON.string([Int64.min, Int64.max, 0, -1]) == "[-9223372036854775808,9223372036854775807,0,-1]")
        #expect(try JSON.string(UInt64.max) == "18446744073709551615")
        #expect(try JSON.string([0.5, 3.0, -1e-7]) == "[0.5,3,-1e-07]")
        #expect(throws: EncodingError.self) { try JSON.string(Double.nan) }
    }

    @Test func mapsAreSortedAndFieldsKeepTheirOrder() throws {
        #expect(try JSON.string(["b": 1, "B": 2, "é": 3, "a": 4]) == #"{"B":2,"a":4,"b":1,"é":3}"#)
        #expect(
            try JSON.string(PortBinding(hostIP: "::", hostPort: "80")) == #"{"HostIp":"::","HostPort":"80"}"#)
    }

    @Test func nestingPutsCommasWhereTheyBelong() throws {
        let value = JSONValue.array([
            .object([:]), .array([]), .object(["x": .array([.null, .bool(true)]), "y": .string("")]), .integer(7),
        ])
        #expect(try JSON.string(value) == #"[{},[],{"x":[null,true],"y":""},7]"#)
    }

    /// Whatever encodes it: the wire, a document of the database that holds it, an encoder of another library's.
    @Test func writesWhatCodableEncodes() throws {
        var inspect = ContainerInspect()
        inspect.hostConfig = HostConfig { $0.portBindings = ["80/tcp": nil, "81/udp": []] }
        inspect.config = ContainerConfig {
            $0.labels = ["a": "\u{7}"]
            $0.entrypoint = []
        }
        let written = try JSON.decode(JSONValue.self, from: try JSON.encode(inspect))
        let encoded = try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(inspect))
        #expect(written == encoded)
        struct Row: Codable {
            var before = 1
            var inspect: [ContainerInspect]
        }
        let row = try JSONTextEncoder.encode(Row(inspect: [inspect, inspect]))
        #expect(try JSONDecoder().decode(Row.self, from: Data(row)).inspect == [inspect, inspect])
    }
}
