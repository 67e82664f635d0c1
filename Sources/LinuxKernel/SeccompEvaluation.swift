import CLinux
import CSeccomp
import Glibc

/// A system call as a filter sees it (`struct seccomp_data`, seccomp(2)).
public struct SeccompCall: Sendable, Hashable {
    public var number: UInt32
    /// AUDIT_ARCH_*
    public var architecture: UInt32
    public var arguments: [UInt64]

    public init(number: UInt32, architecture: UInt32, arguments: [UInt64]) {
        self.number = number
        self.architecture = architecture
        self.arguments = arguments
    }

    /// The call's name; `syscall_N` where neither libseccomp nor our own table knows it.
    public var name: String {
        if let text = seccomp_syscall_resolve_num_arch(architecture, Int32(bitPattern: number)) {
            defer { free(text) }
            return String(cString: text)
        }
        return SeccompNumbers.newer.first { UInt32($0.value) == number }?.key ?? "syscall_\(number)"
    }

    /// `x86_64`, `x32`, `i386` …, the kernel's number for others.
    public var architectureName: String {
        switch architecture {
        case 0xc000_003e: number & 0x4000_0000 == 0 ? "x86_64" : "x32"
        case 0x4000_0003: "i386"
        case 0xc000_00b7: "aarch64"
        case 0x4000_0028: "arm"
        default: String(architecture, radix: 16)
        }
    }
}

/// What a filter answers to a call: SECCOMP_RET_* and the errno or number in its lower half.
public struct SeccompAnswer: RawRepresentable, Sendable, Hashable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    private var action: UInt32 { rawValue & 0xffff_0000 }

    public static let allow = SeccompAnswer(rawValue: 0x7fff_0000)
    public static let notify = SeccompAnswer(rawValue: 0x7fc0_0000)

    /// Whether the call is made: SECCOMP_RET_ALLOW and SECCOMP_RET_LOG.
    public var lets: Bool { action == 0x7fff_0000 || action == 0x7ffc_0000 }

    /// In words: an errno's name, or what becomes of the process.
    public var description: String {
        switch action {
        case 0x7fff_0000, 0x7ffc_0000: return "allowed"
        case 0x0005_0000:
            let number = Int32(rawValue & 0xffff)
            return clinux_errno_name(number).map { String(cString: $0) } ?? "errno \(number)"
        case 0x0003_0000: return "SIGSYS"
        case 0x7fc0_0000: return "the profile's agent"
        case 0x7ff0_0000: return "a tracer"
        default: return "killed"
        }
    }
}

extension SeccompFilter {
    /// What the filter answers to `call`, by running its program here. Covers what libseccomp and we emit; nil for a
    /// program with anything else.
    public func answer(to call: SeccompCall) -> SeccompAnswer? {
        program.withUnsafeBytes { bytes in
            var counter = 0
            var accumulator: UInt32 = 0
            while counter * 8 + 8 <= bytes.count {
                let code = bytes.loadUnaligned(fromByteOffset: counter * 8, as: UInt16.self)
                let (then, otherwise) = (Int(bytes[counter * 8 + 2]), Int(bytes[counter * 8 + 3]))
                let value = bytes.loadUnaligned(fromByteOffset: counter * 8 + 4, as: UInt32.self)
                counter += 1
                switch code {
                case 0x20:
                    guard let word = call.word(at: value) else { return nil }
                    accumulator = word
                case 0x05: counter += Int(value)
                case 0x15: counter += accumulator == value ? then : otherwise
                case 0x25: counter += accumulator > value ? then : otherwise
                case 0x35: counter += accumulator >= value ? then : otherwise
                case 0x45: counter += accumulator & value != 0 ? then : otherwise
                case 0x54: accumulator &= value
                case 0x06: return SeccompAnswer(rawValue: value)
                default: return nil
                }
            }
            return nil
        }
    }

    /// How many instructions longer ``auditing`` is.
    static let auditOpening = 5

    /// The same filter for an audit: what it wouldn't let through is asked of a listener instead. All but sendmsg, by which
    /// the process that has loaded the filter hands over the listener: that one is let through unseen.
    public var auditing: SeccompFilter {
        // ld [4]; jeq NATIVE, 0, 3; ld [0]; jeq SENDMSG, 0, 1; ret ALLOW
        let opening: [(code: UInt16, then: UInt8, otherwise: UInt8, value: UInt32)] = [
            (0x20, 0, 0, 4), (0x15, 0, 3, seccomp_arch_native()), (0x20, 0, 0, 0),
            (0x15, 0, 1, UInt32(bitPattern: seccomp_syscall_resolve_name("sendmsg"))),
            (0x06, 0, 0, SeccompAnswer.allow.rawValue),
        ]
        var bytes: [UInt8] = []
        for (code, then, otherwise, value) in opening {
            bytes += [UInt8(code & 0xff), UInt8(code >> 8), then, otherwise]
            withUnsafeBytes(of: value) { bytes += $0 }
        }
        bytes += program
        for offset in stride(from: 0, to: bytes.count, by: 8) {
            // BPF_RET | BPF_K is how a program answers.
            guard bytes[offset] == 0x06, bytes[offset + 1] == 0 else { continue }
            let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + 4 + $1]) << (8 * UInt32($1)) }
            guard !SeccompAnswer(rawValue: value).lets else { continue }
            for index in 0..<4 {
                bytes[offset + 4 + index] = UInt8(
                    truncatingIfNeeded: SeccompAnswer.notify.rawValue >> (8 * UInt32(index)))
            }
        }
        return SeccompFilter(program: bytes, flags: flags | UInt32(SECCOMP_FILTER_FLAG_NEW_LISTENER))
    }
}

extension SeccompCall {
    fileprivate func word(at offset: UInt32) -> UInt32? {
        switch offset {
        case 0: return number
        case 4: return architecture
        // The instruction pointer, which no filter of ours looks at.
        case 8, 12: return 0
        case 16..<64 where offset % 4 == 0:
            let index = Int(offset - 16) / 8
            guard index < arguments.count else { return nil }
            return UInt32(truncatingIfNeeded: offset % 8 == 0 ? arguments[index] : arguments[index] >> 32)
        default: return nil
        }
    }
}

/// The other end of a filter that notifies (seccomp_unotify(2)).
public enum SeccompListener {
    /// A system call that waits for an answer.
    public struct Notification: Sendable {
        public let id: UInt64
        public let call: SeccompCall
    }

    /// The next call that waits; nil where its process was killed meanwhile. Blocks while there is none: to be called when
    /// the listener is readable.
    public static func receive(_ listener: Int32) throws(SystemError) -> Notification? {
        var notification = seccomp_notif()
        if clinux_seccomp_receive(listener, &notification) < 0 {
            if errno == ENOENT || errno == EINTR { return nil }
            throw .current("receive a seccomp notification")
        }
        let data = notification.data
        let arguments = data.args
        return Notification(
            id: notification.id,
            call: SeccompCall(
                number: UInt32(bitPattern: data.nr), architecture: data.arch,
                arguments: [arguments.0, arguments.1, arguments.2, arguments.3, arguments.4, arguments.5]))
    }

    /// Lets the call happen as if there were no filter. Its process may be gone: then nothing happens.
    public static func letThrough(_ notification: Notification, on listener: Int32) {
        _ = clinux_seccomp_continue(listener, notification.id)
    }
}
