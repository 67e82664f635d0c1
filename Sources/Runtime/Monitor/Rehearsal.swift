import ContainerLog
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// What a monitor does first, done on documents of its own. The zygote does it once, so that type metadata is instantiated
/// for all of its children, and a monitor that waits for its container once more: code is paged in, and memory that it
/// shares with the zygote is its own, before anybody waits for it.
enum Rehearsal {
    /// - Parameter cgroups: where the host's cgroups are.
    static func run(_ cgroups: CgroupLayout?) {
        let process = RuntimeSpec.Process(
            terminal: true, consoleSize: .init(height: 1, width: 1), user: .init(uid: 1, gid: 1, additionalGids: [1]),
            args: ["a"], env: ["A=b"], cwd: "/", capabilities: .init(bounding: ["CAP_KILL"], effective: ["CAP_KILL"]),
            rlimits: [.init(type: "RLIMIT_NOFILE", hard: 1, soft: 1)], noNewPrivileges: true, oomScoreAdj: 1)
        let linux = RuntimeSpec.Linux(
            uidMappings: [.init()], sysctl: ["a": "b"],
            resources: .init(
                devices: [.init()], memory: .init(limit: 1), cpu: .init(shares: 1), pids: .init(limit: 1),
                blockIO: .init(weight: 1)),
            cgroupsPath: "/", namespaces: [.init(type: "pid")], devices: [.init()], maskedPaths: ["/"],
            readonlyPaths: ["/"])
        let spec = RuntimeSpec(
            ociVersion: "1.2.0", process: process, root: .init(path: "/"), hostname: "a",
            mounts: [.init(destination: "/", type: "a", source: "a", options: ["a"])], annotations: ["a": "b"],
            linux: linux)
        let launch = LaunchDocument(
            id: "a", cgroupPath: "/", overlay: .init(lower: ["/"], upper: "/", work: "/"),
            streams: .init(openStdin: true, stdinOnce: true),
            log: .init(format: .cri, path: "/", maxSize: 1, maxFiles: 1), reaper: true,
            seccompProgram: .init(path: "/", flags: 0), exitRecordPath: "/")
        roundTrip(spec)
        roundTrip(launch)
        let attach = MonitorRequest.Attach(stdin: true, stdout: true, stderr: true)
        for body: MonitorRequest.Body in [
            .hello(version: 1), .attach(attach), .start,
            .exec(.init(id: "a", process: process, attach: attach, exitRecordPath: "/")),
        ] { roundTrip(MonitorRequest(sequence: 1, body: body)) }
        let record = ExitRecord(exitCode: 0, signal: 0, oomKilled: false, startedAt: 1, finishedAt: 1)
        let status = MonitorMessage.Status(
            version: 1, id: "a", state: .ready, pid: 0, userPid: 0, startedAt: 0, execs: ["a": 1])
        for body: MonitorMessage.Body in [
            .hello(status), .attached(.init(inode: 1, offset: 1)), .started(pid: 1, startedAt: 1), .exited(record),
        ] { roundTrip(MonitorMessage(sequence: 1, body: body)) }
        roundTrip(ZygoteRequest.monitor(bundle: "/"))
        roundTrip(ZygoteReply.started(pid: 1))
        try? exerciseStreams()
        prepareStart(process, cgroups)
    }

    /// What goes before the container's program, as far as it can be done without a container.
    private static func prepareStart(_ process: RuntimeSpec.Process, _ cgroups: CgroupLayout?) {
        if let cgroups, let group = try? ContainerCgroup(layout: cgroups, path: "/rehearsal") {
            // No limits: looks each one up and writes nothing.
            _ = try? group.update(RuntimeSpec.Resources())
        }
        for pointer in Executable.vector(process.environment(home: "/")) { free(pointer) }
        _ = Devices.standard
    }

    /// Passes a byte through the event loop, a log and a client.
    private static func exerciseStreams() throws {
        let loop = try EventLoop()
        let log = try LogWriter(path: "/dev/null", format: .cri, maxSize: 0, maxFiles: 1)
        let output = Output(loop: loop, framed: true, cutOffTime: 1_000_000_000, log: log)
        let streams = ProcessStreams(
            loop: loop, output: output, terminal: false, size: (0, 0), openInput: true, inputEndsWithClient: true)
        guard case .descriptors(_, let end, _) = try streams.prepare() else { return }
        _ = write(end, "a", 1)
        var ends: [Int32] = [-1, -1]
        try checked("socketpair") {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
        }
        close(ends[1])
        let client = try AttachedClient(
            loop: loop, socket: FileDescriptor(owning: ends[0]), attach: .init(stdin: true, stdout: true, stderr: true),
            framed: true)
        _ = streams.add(client)
        try streams.begin(terminal: nil)
        let timer = loop.after(1) { loop.stop() }
        try loop.run()
        loop.cancel(timer)
        streams.processEnded()
        output.finish()
        client.close()
    }

    private static func roundTrip<Document: Codable>(_ document: Document) {
        guard let bytes = try? JSONTextEncoder.encode(document) else { return }
        _ = try? JSONDecoder().decode(Document.self, from: Data(bytes))
    }
}
