import ContainerLog
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// `mycontainer-runtime zygote`: forks monitors; see ``ZygoteClient`` for the other side.
///
/// One monitor is forked ahead and waits for its container (``SpareMonitor``). What is kept ready is made when the daemon
/// says that there is time: right after a fork, the scheduler would let the child wait for it.
///
/// It is single-threaded, so that a fork of it may go on running Swift, and has done beforehand what every monitor would
/// pay for again: the first decoding of JSON alone costs a fresh process more than a fork. It never sees a container's
/// documents itself, its children read their own; so no container's reaper, which is a copy of a monitor, holds
/// anything of another container.
public enum Zygote {
    /// Serves requests from `socket` until the daemon closes it.
    /// - Returns: the exit code.
    public static func run(socket: consuming FileDescriptor) -> Int32 {
        let channel = MonitorChannel(adopting: socket)
        // Sockets of the daemon's clients that were not close-on-exec would never see their end while we hold them.
        try? Process.closeDescriptors(from: channel.rawDescriptor + 1)
        signal(SIGPIPE, SIG_IGN)
        // Monitors outlive us and nobody waits for them: the kernel reaps them.
        signal(SIGCHLD, SIG_IGN)
        chdir("/")
        ProcessTitle.set(name: "mycontainer-zyg")
        warmUp()
        Confinement.prepare()
        var supplies = MonitorSupplies.made()
        supplies.refill()
        Memory.fillHoles()
        var spare: SpareMonitor?
        var hasTime = true
        while true {
            do throws(ChannelError) {
                // Whoever waits goes first.
                if hasTime && !channel.hasPacket {
                    if supplies.refill() { continue }
                    if spare == nil { spare = SpareMonitor.fork(supplies.withoutNetwork) }
                    hasTime = false
                    continue
                }
                var packet = try channel.receive(ZygoteRequest.self)
                switch packet.message {
                case .prepare: hasTime = true
                case .monitor(let bundle, let ownNetwork):
                    guard let end = packet.takeDescriptor() else {
                        try channel.send(
                            ZygoteReply.failed(
                                StartFailure(
                                    stage: "zygote", errno: EBADF, message: "the request came without a descriptor")))
                        continue
                    }
                    // A namespace is one container's: this one has it, or nobody.
                    let own = ownNetwork ? supplies.withNetwork() : supplies.withoutNetwork
                    if let spare = spare.take(), spare.run(bundle, end, own) {
                        try channel.send(ZygoteReply.started(pid: spare.pid))
                    } else {
                        try channel.send(fork(bundle, end, own))
                    }
                case .networkNamespace(let path, let owner):
                    try openNetworkNamespace(path, owner, channel)
                }
            } catch {
                // The daemon has gone, or is of another version than we are: it waits for an answer, and executes
                // monitors when there is nobody to give one.
                return 0
            }
        }
    }

    private static func fork(
        _ bundle: String, _ end: consuming FileDescriptor, _ supplies: MonitorSupplies
    ) -> ZygoteReply {
        do throws(SystemError) {
            switch try Process.clone([]) {
            case .child:
                // A monitor that held the zygote's channel would hide the zygote's end from the daemon.
                if end.raw != MonitorProtocol.inheritedSocket { close(MonitorProtocol.inheritedSocket) }
                signal(SIGCHLD, SIG_DFL)
                setsid()
                Monitor.settle()
                exit(Monitor.run(bundle: bundle, socket: end, supplies: supplies, hasLog: false))
            case .parent(let pid, let pidfd):
                _ = consume pidfd
                return .started(pid: pid)
            }
        } catch {
            return .failed(
                StartFailure(stage: "zygote", errno: error.errno, message: "cannot fork a monitor: \(error)"))
        }
    }

    /// Answers with descriptors of the namespace, which are closed again here before anything else is forked.
    private static func openNetworkNamespace(
        _ path: String?, _ owner: NamespaceOwner?, _ channel: borrowing MonitorChannel
    ) throws(ChannelError) {
        let descriptors: NetworkNamespaceDescriptors
        do throws(StartFailure) {
            descriptors = try NetworkNamespace.open(path, owner: owner)
        } catch {
            return try channel.send(ZygoteReply.failed(error))
        }
        try descriptors.send(over: channel)
    }

    /// Runs through what a monitor does first, on documents of its own: type metadata is instantiated and code paged in
    /// once, here, instead of in every child.
    private static func warmUp() {
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
        roundTrip(ZygoteRequest.monitor(bundle: "/", ownNetwork: true))
        roundTrip(ZygoteReply.started(pid: 1))
        try? exerciseStreams()
        Scratch.trim()
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
