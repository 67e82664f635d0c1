import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol

/// Runs a step of the setup; its failure becomes a sentence with the stage's name.
@discardableResult
func at<T: ~Copyable>(
    _ stage: String, _ sentence: @autoclosure () -> String, _ body: () throws(SystemError) -> T
) throws(StartFailure) -> T {
    do {
        return try body()
    } catch {
        throw StartFailure(stage: stage, errno: error.errno, message: "\(sentence()): \(error)")
    }
}

/// What travels on the setup socket, a `SOCK_SEQPACKET` pair: one packet is one byte of kind and a payload. Both ends are
/// close-on-exec, so that the runtime reads end of file when the user's program has been executed.
enum SetupMessage: UInt8 {
    /// child → runtime: it is in its new user namespace and waits for the id mappings, then for `proceed`.
    case needsMapping = 0x4d  // M
    /// child → runtime: it has taken the place of the process that the runtime cloned; it waits for `proceed`.
    case replaced = 0x52  // R
    /// child → runtime: the namespaces exist; the child waits for `proceed`.
    case namespacesExist = 0x4e  // N
    /// runtime → child.
    case proceed = 0x43  // C
    /// child → runtime: with the pseudo-terminal's master as descriptor.
    case terminal = 0x54  // T
    /// child → runtime: with the seccomp listener as descriptor.
    case seccompListener = 0x4c  // L
    /// child → runtime: everything is done up to the gate between `create` and `start`.
    case waiting = 0x47  // G
    /// The user's process → runtime: it is about to execute the program. The kernel adds its pid (SCM_CREDENTIALS).
    case executing = 0x55  // U
    /// child → runtime: with what it was to make as descriptor (``ChildMaker``).
    case made = 0x41  // A
    /// child → runtime: errno (four bytes, native), stage, a zero byte, the sentence.
    case failed = 0x46  // F
}

/// The child's side.
struct SetupChannel {
    var descriptor: Int32

    func send(_ message: SetupMessage, passing passed: Int32 = -1) {
        var byte = message.rawValue
        if passed < 0 {
            // write, not sendmsg: the narrowest seccomp policies still allow it.
            while write(descriptor, &byte, 1) < 0 && errno == EINTR {}
        } else {
            _ = clinux_send_with_fd(descriptor, &byte, 1, passed)
        }
    }

    /// Waits for the runtime's answer; ends the process when it has gone, since nobody is left to report to.
    func waitToProceed() {
        guard receive() == SetupMessage.proceed.rawValue else { _exit(1) }
    }

    private func receive() -> UInt8? {
        var byte: UInt8 = 0
        while true {
            let count = read(descriptor, &byte, 1)
            if count < 0 && errno == EINTR { continue }
            return count == 1 ? byte : nil
        }
    }

    /// Reports the failure and ends the process.
    func fail(_ failure: StartFailure) -> Never {
        var packet: [UInt8] = [SetupMessage.failed.rawValue]
        withUnsafeBytes(of: failure.errno) { packet.append(contentsOf: $0) }
        packet.append(contentsOf: failure.stage.utf8)
        packet.append(0)
        // A packet (or a write to a FIFO, PIPE_BUF) is atomic up to 4096 bytes.
        packet.append(contentsOf: failure.message.utf8.prefix(4096 - packet.count))
        while write(descriptor, packet, packet.count) < 0 && errno == EINTR {}
        _exit(1)
    }
}

extension StartFailure {
    /// Reads what `SetupChannel.fail` wrote.
    init?(packet: some RandomAccessCollection<UInt8>) {
        let bytes = Array(packet)
        guard bytes.count > 5, bytes[0] == SetupMessage.failed.rawValue,
            let zero = bytes[5...].firstIndex(of: 0)
        else { return nil }
        let number = bytes[1..<5].withUnsafeBytes { $0.loadUnaligned(as: Int32.self) }
        self.init(
            stage: String(decoding: bytes[5..<zero], as: UTF8.self), errno: number,
            message: String(decoding: bytes[(zero + 1)...], as: UTF8.self))
    }
}

/// The runtime's side: collects what the child says.
struct SetupListener: ~Copyable {
    private let socket: FileDescriptor
    var terminal: FileDescriptor?
    var seccompListener: FileDescriptor?
    private(set) var userPid: pid_t = 0

    /// How the setup ended.
    enum Outcome {
        case executed
        case waiting
    }

    /// - Returns: the listener and the child's end, which the caller closes after the clone.
    static func pair() throws(StartFailure) -> SetupPair {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try at("setup", "cannot make the setup socket") { () throws(SystemError) in
            try checked("socketpair") { socketpair(AF_UNIX, type, 0, &ends) }
            var yes: Int32 = 1
            try checked("SO_PASSCRED") {
                setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, socklen_t(MemoryLayout<Int32>.size))
            }
        }
        return SetupPair(
            listener: SetupListener(socket: FileDescriptor(owning: ends[0])), child: FileDescriptor(owning: ends[1]))
    }

    private init(socket: consuming FileDescriptor) { self.socket = socket }

    func proceed() { send(.proceed) }

    func send(_ message: SetupMessage) {
        var byte = message.rawValue
        _ = clinux_send_with_fd(socket.raw, &byte, 1, -1)
    }

    private static let nonsense = StartFailure(
        stage: "setup", errno: EPROTO, message: "the setup socket carried nonsense")

    /// What a child was to make, or its failure.
    func made() throws(StartFailure) -> FileDescriptor {
        var bytes = [UInt8](repeating: 0, count: 4096)
        var passed: Int32 = -1
        var pid: pid_t = 0
        let count = clinux_receive_with_fd(socket.raw, &bytes, bytes.count, &passed, &pid)
        if count > 0, passed >= 0, bytes[0] == SetupMessage.made.rawValue { return FileDescriptor(owning: passed) }
        throw StartFailure(packet: bytes[..<max(0, count)]) ?? Self.nonsense
    }

    /// Reads until the user's program runs or the child waits at the gate, calling `needsMapping` and `namespacesExist`
    /// where the child asks for it, with its host pid.
    mutating func run(
        supervisor: (any SeccompSupervisor)? = nil,
        replaced: (pid_t) throws(StartFailure) -> Void = { _ in },
        needsMapping: (pid_t) throws(StartFailure) -> Void = { _ in },
        namespacesExist: (pid_t) throws(StartFailure) -> Void = { _ in }
    ) throws(StartFailure) -> Outcome {
        while true {
            if let supervisor, supervisor.answersItself { waitAnswering(supervisor) }
            var bytes = [UInt8](repeating: 0, count: 4096)
            var passed: Int32 = -1
            var pid: pid_t = 0
            let count = clinux_receive_with_fd(socket.raw, &bytes, bytes.count, &passed, &pid)
            if count < 0 {
                // A child that was killed before it read `proceed` leaves ECONNRESET behind, reported once and before what it
                // said (unix_release_sock in the kernel's net/unix/af_unix.c).
                if errno == EINTR || errno == ECONNRESET { continue }
                throw StartFailure(stage: "setup", errno: errno, message: "the setup socket failed")
            }
            if count == 0 {
                if userPid != 0 { return .executed }
                throw StartFailure(
                    stage: "setup", errno: 0,
                    message: "the container's first process was killed while it was being set up "
                        + "(is its memory or pids limit too low?)")
            }
            let descriptor: FileDescriptor? = passed >= 0 ? FileDescriptor(owning: passed) : nil
            switch SetupMessage(rawValue: bytes[0]) {
            case .replaced:
                try replaced(pid)
                proceed()
            case .needsMapping:
                try needsMapping(pid)
                proceed()
            case .namespacesExist:
                try namespacesExist(pid)
                proceed()
            case .terminal:
                terminal = consume descriptor
            case .seccompListener:
                if let supervisor, descriptor != nil { try supervisor.begin(passed, pid: pid) }
                seccompListener = consume descriptor
            case .waiting:
                return .waiting
            case .executing:
                userPid = pid
            case .failed:
                throw StartFailure(packet: bytes[..<count])
                    ?? StartFailure(stage: "setup", errno: 0, message: "the setup failed without saying why")
            case .proceed, .made, nil: throw Self.nonsense
            }
        }
    }
}

extension SetupListener {
    /// Returns when the child has something to say. Until then its system calls, at which its own filter may stop it, are
    /// answered.
    private func waitAnswering(_ supervisor: any SeccompSupervisor) {
        let listener = raw(seccompListener)
        guard listener >= 0 else { return }
        while true {
            var entries = [
                pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&entries, 2, -1) < 0 && errno != EINTR { return }
            // What the child says first: once its program runs, the calls are another's to answer.
            if entries[0].revents != 0 { return }
            if entries[1].revents & Int16(POLLIN) != 0 {
                supervisor.answer(listener)
            } else if entries[1].revents != 0 {
                return
            }
        }
    }
}

struct SetupPair: ~Copyable {
    var listener: SetupListener
    let child: FileDescriptor

    consuming func takeListener() -> SetupListener { listener }
}
