import EngineAPI
import Glibc
import LinuxKernel

@testable import Engine

/// A container's record with little in it, for tests that look at one thing.
func makeRecord(
    id: String = String(repeating: "ab", count: 32), name: String = "quiet_hopper",
    _ configure: (inout ContainerRecord.Document) -> Void = { _ in }
) -> ContainerRecord {
    var config = ContainerConfig()
    config.image = "busybox"
    config.hostname = String(id.prefix(12))
    var host = HostConfig()
    host.networkMode = "bridge"
    host.ipcMode = "private"
    host.cgroupnsMode = "private"
    host.shmSize = 64 << 20
    host.restartPolicy.name = "no"
    var document = ContainerRecord.Document(
        created: 1_700_000_000_000_000_000, imageID: "sha256:" + String(repeating: "0", count: 64), chainID: nil,
        path: "/bin/sh", arguments: ["-c", "true"], config: config, hostConfig: host, mounts: [], reaper: true,
        logFormat: ContainerRecord.StoredLog(format: "cri", maxSize: 1 << 20, maxFiles: 2))
    configure(&document)
    return ContainerRecord(
        id: id, name: name, document: document, status: ContainerRecord.Status(lifecycle: .created(failure: nil)))
}

/// A directory that goes with the value.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/mycontainer-engine-test-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template)!)
    }

    deinit { try? TreeRemoval.remove(path) }
}

/// The message of the `EngineError` that `body` throws, nil when it throws none.
func refusal(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch {
        return (error as? EngineError)?.message ?? "\(error)"
    }
}
