import CLinux
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// `mycontainer-runtime monitor --bundle DIR`: the process on the host that owns one container's streams, log and exit
/// record, and outlives the daemon.
///
/// It is single-threaded, sits in one epoll loop (``ContainerMonitor``), and is started with one end of a
/// ``MonitorChannel`` that has the first requests queued. If the daemon goes away it carries on.
public enum Monitor {
    /// How long to wait for the monitor of the container's previous run, which is about to go.
    private static let lockTime: UInt32 = 10

    /// Runs the monitor of the container whose bundle is `bundle` until the container has ended.
    /// - Parameters:
    ///   - socket: the daemon's connection, ``MonitorProtocol/inheritedSocket`` when started by exec.
    ///   - supplies: what a zygote had ready.
    /// - Returns: the exit code: 0, or 1 when the container could not be prepared (requests were then refused with the
    ///   reason).
    public static func run(bundle: String, socket: consuming FileDescriptor) -> Int32 {
        settle()
        return run(bundle: bundle, socket: socket, supplies: MonitorSupplies(), hasLog: true)
    }

    /// The same in a process that has settled already (``settle()``).
    /// - Parameter hasLog: whether the standard error is the monitor's log.
    static func run(
        bundle: String, socket: consuming FileDescriptor, supplies: MonitorSupplies, hasLog: Bool
    ) -> Int32 {
        let channel = MonitorChannel(adopting: socket)
        let monitor: ContainerMonitor
        do throws(StartFailure) {
            if !hasLog { openLog(bundle) }
            try closeDescriptors(except: [channel.rawDescriptor] + supplies.descriptors)
            Confinement.prepare()
            monitor = try ContainerMonitor(bundle: bundle, lock: try takeLock(bundle), supplies: supplies)
        } catch {
            complain(error.message)
            refuse(channel, error)
            return 1
        }
        do throws(SystemError) {
            try monitor.run(channel: channel)
            return 0
        } catch {
            complain("the event loop failed: \(error)")
            return 1
        }
    }

    /// Answers every request that is queued with the reason why there is no monitor.
    private static func refuse(_ channel: borrowing MonitorChannel, _ failure: StartFailure) {
        while let packet = try? channel.receive(MonitorRequest.self, blocking: false) {
            let reply = MonitorMessage(sequence: packet.message.sequence, body: .failed(failure))
            try? channel.send(reply, blocking: false)
        }
    }

    /// One line for whoever looks for what went wrong with a monitor: stderr, `<bundle>/monitor.log`.
    static func complain(_ sentence: String) {
        let line = Array("mycontainer-runtime monitor: \(sentence)\n".utf8)
        _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }

    /// The monitor's stderr.
    private static func openLog(_ bundle: String) {
        if let log = try? FileDescriptor("\(bundle)/monitor.log", O_WRONLY | O_CREAT | O_APPEND, mode: 0o600) {
            dup2(log.raw, 2)
        }
    }

    /// Makes this process independent of who started it.
    static func settle() {
        // A zygote ignores its children's ends. Who was executed leads a session already: then this changes nothing.
        signal(SIGCHLD, SIG_DFL)
        setsid()
        // A client that goes away is an error of one write, a log past a file size limit one of another. Hangups and
        // interrupts are meant for the daemon. All of this is reset in the container's processes.
        for ignored in [SIGPIPE, SIGXFSZ, SIGHUP, SIGINT, SIGTERM, SIGTTOU] { signal(ignored, SIG_IGN) }
        umask(0o022)
        chdir("/")
        // Executed through a descriptor, it would be named after its number.
        ProcessTitle.set(name: "mycontainer-mon")
        ProcessTitle.locate()
        // The daemon may be protected from the OOM killer; its containers and their monitors are not.
        if let score = try? FileDescriptor("/proc/self/oom_score_adj", O_WRONLY) { _ = write(score.raw, "0", 1) }
    }

    /// Closes everything but the standard streams and `descriptors`.
    static func closeDescriptors(except descriptors: [Int32]) throws(StartFailure) {
        var next: Int32 = 3
        for kept in descriptors.sorted() {
            if kept > next { _ = clinux_close_range(UInt32(next), UInt32(kept - 1), 0) }
            next = kept + 1
        }
        do {
            try Process.closeDescriptors(from: next)
        } catch {
            throw StartFailure(stage: "monitor", errno: error.errno, message: "cannot close descriptors: \(error)")
        }
    }

    /// The lock says that a monitor lives: the kernel releases it whatever happens to us.
    private static func takeLock(_ bundle: String) throws(StartFailure) -> FileDescriptor {
        let path = "\(bundle)/\(MonitorProtocol.lockName)"
        do throws(SystemError) {
            let lock = try FileDescriptor(path, O_RDWR | O_CREAT, mode: 0o600)
            if flock(lock.raw, LOCK_EX | LOCK_NB) == 0 { return lock }
            // Without SA_RESTART the alarm interrupts the wait.
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in }
            sigaction(SIGALRM, &action, nil)
            alarm(lockTime)
            let result = flock(lock.raw, LOCK_EX)
            let failure = SystemError.current("flock \(path)")
            alarm(0)
            if result == 0 { return lock }
            throw failure
        } catch {
            throw StartFailure(
                stage: "monitor", errno: error.errno,
                message: error.errno == EINTR
                    ? "another monitor of this container lives: \(path) has been locked for \(lockTime) s"
                    : "cannot lock \(path): \(error)")
        }
    }
}

/// Reading the documents of a bundle. Nothing decoded is kept longer than it is used: a monitor waits for days.
enum Bundle {
    private static let maximumSize = 8 << 20

    static func read(_ path: String) throws(StartFailure) -> [UInt8] {
        do throws(SystemError) {
            let file = try FileDescriptor(path, O_RDONLY)
            var status = stat()
            try checked("stat \(path)") { fstat(file.raw, &status) }
            guard status.st_size <= maximumSize else { throw SystemError("read \(path)", errno: EFBIG) }
            let size = Int(status.st_size)
            var failure: SystemError?
            let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                while count < size {
                    let got = Glibc.read(file.raw, buffer.baseAddress! + count, size - count)
                    if got < 0, errno == EINTR { continue }
                    if got < 0 { failure = .current("read \(path)") }
                    if got <= 0 { return }
                    count += got
                }
            }
            if let failure { throw failure }
            return bytes
        } catch {
            throw StartFailure(stage: "bundle", errno: error.errno, message: "cannot read the bundle: \(error)")
        }
    }

    /// A file of procfs, whose size is not known before it is read; at most a page.
    static func readSmall(_ path: String) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptor(path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = try checked("read \(path)") { Glibc.read(file.raw, &bytes, bytes.count) }
        return Array(bytes[..<count])
    }

    static func decode<Document: Decodable>(_ type: Document.Type, _ path: String) throws(StartFailure) -> Document {
        let bytes = try read(path)
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw StartFailure(stage: "bundle", errno: EINVAL, message: "\(path) cannot be understood: \(error)")
        }
    }
}
