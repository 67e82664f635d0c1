import Glibc

/// Sends what a container wrote to standard output and standard error. Without a terminal the stream is framed:
/// a header of eight bytes (stream, three zeros, length in big-endian order) before each piece.
struct OutputDemultiplexer {
    /// False for a terminal's bytes, which come as they are.
    let isFramed: Bool
    /// Where output and errors go; -1 throws them away.
    private let output: Int32
    private let errors: Int32

    private var header: [UInt8] = []
    private var left = 0
    private var target: Int32 = -1
    private var daemonMessage: [UInt8] = []

    init(isFramed: Bool, output: Int32 = STDOUT_FILENO, errors: Int32 = STDERR_FILENO) {
        self.isFramed = isFramed
        self.output = output
        self.errors = errors
    }

    /// Takes the next bytes of the stream; they may end anywhere, within a header too.
    ///
    /// - Throws: `CommandFailure` for a stream that is not framed so, or with what the daemon says in it (stream 3),
    ///   or where nobody reads the output any more.
    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(CommandFailure) {
        if !isFramed {
            try put(bytes[...], output)
            return
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            if left == 0 {
                let missing = rest.prefix(8 - header.count)
                header += missing
                rest = rest.dropFirst(missing.count)
                if header.count < 8 { return }
                try begin()
            }
            let piece = rest.prefix(left)
            rest = rest.dropFirst(piece.count)
            left -= piece.count
            if target == -2 {
                daemonMessage += piece
                if left == 0 { throw CommandFailure(trimmed(String(decoding: daemonMessage, as: UTF8.self))) }
            } else {
                try put(piece, target)
            }
        }
    }

    private mutating func begin() throws(CommandFailure) {
        left = header[4..<8].reduce(0) { $0 << 8 | Int($1) }
        switch header[0] {
        // 0 is stdin, which dockerd writes to stdout.
        case 0, 1: target = output
        case 2: target = errors
        case 3: target = -2
        default: throw CommandFailure("the daemon sent a stream with an unknown frame (type \(header[0]))")
        }
        header = []
    }

    private func put(_ bytes: Slice<UnsafeRawBufferPointer>, _ descriptor: Int32) throws(CommandFailure) {
        if descriptor < 0 || bytes.isEmpty { return }
        if !writeAll(UnsafeRawBufferPointer(rebasing: bytes), to: descriptor) {
            // As a program that SIGPIPE ends: nothing to say, nobody to say it to.
            throw CommandFailure(errno == EPIPE ? nil : "cannot write output: \(goReason(errno))", exitCode: 1)
        }
    }
}
