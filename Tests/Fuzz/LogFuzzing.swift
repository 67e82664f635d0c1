import Glibc
import LinuxKernel

@testable import ContainerLog

/// Logs: files that may hold anything, and output that may be anything.
enum LogFuzzing {
    private static let directory: String = {
        var template = Array("/dev/shm/mycontainer-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("no directory under /dev/shm: errno \(errno)") }
        atexit {
            LogFuzzing.clear()
            rmdir(LogFuzzing.directory)
        }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()
    private static var path: String { directory + "/log" }

    private static func clear() {
        for suffix in ["", ".1", ".2"] { unlink(path + suffix) }
    }

    static func cri(_ input: UnsafeRawBufferPointer) throws { try file(input, .cri) }
    static func json(_ input: UnsafeRawBufferPointer) throws { try file(input, .json) }

    private static func read(_ format: LogFormat, _ set: (inout LogReadOptions) -> Void = { _ in }) throws -> [LogEntry]
    {
        var options = LogReadOptions()
        set(&options)
        let reader = try LogReader(path: path, format: format, options: options)
        var entries: [LogEntry] = []
        while let entry = try reader.next() { entries.append(entry) }
        return entries
    }

    /// A file with any content is read forwards, from its end and by time.
    private static func file(_ input: UnsafeRawBufferPointer, _ format: LogFormat) throws {
        clear()
        do {
            let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
            _ = write(file.raw, input.baseAddress, input.count)
        }
        let all = try read(format)
        require(all.reduce(0) { $0 + $1.content.count } <= input.count, "a log has no more content than bytes")
        for tail in [0, 1, 3, 1 << 20] {
            let last = try read(format) { $0.tail = tail }
            require(last.count <= all.count, "the last \(tail) lines are no more than all")
        }
        if let middle = all.dropFirst(all.count / 2).first {
            _ = try read(format) { $0.since = middle.time }
            _ = try read(format) { $0.until = middle.time }
        }
        var output: [UInt8] = []
        for entry in all { entry.append(to: &output, framed: true, timestamps: true) }
        // A writer goes on where such a file ends.
        var writer = try LogWriter(path: path, format: format, maxSize: 0, maxFiles: 1)
        Array("end\n".utf8).withUnsafeBytes { writer.append($0, stream: .stdout, at: 1) }
        try require(
            try read(format).last.map { $0.content == Array("end\n".utf8) } ?? false, "a new line can be read back")
    }

    /// What is written comes back byte for byte (CRI), and in the same number of bytes where it is text (JSON).
    static func round(_ input: UnsafeRawBufferPointer) throws {
        let (kind, rest) = input.variant
        let format: LogFormat = kind & 1 == 0 ? .cri : .json
        clear()
        var expected: [LogStream: [UInt8]] = [.stdout: [], .stderr: []]
        do {
            var writer = try LogWriter(path: path, format: format, maxSize: 0, maxFiles: 1)
            // Pieces of several lengths on alternating streams.
            var start = 0
            var time: Int64 = 1_700_000_000_000_000_000
            while start < rest.count {
                let length = min(rest.count - start, 1 + Int(rest[start]) * (kind & 2 == 0 ? 1 : 100))
                let stream: LogStream = length & 1 == 0 ? .stdout : .stderr
                let piece = UnsafeRawBufferPointer(rebasing: rest[start..<start + length])
                writer.append(piece, stream: stream, at: time)
                expected[stream]!.append(contentsOf: piece)
                start += length
                time += 7
            }
            writer.finish(at: time)
        }
        var found: [LogStream: [UInt8]] = [.stdout: [], .stderr: []]
        for entry in try read(format) { found[entry.stream]!.append(contentsOf: entry.content) }
        for (stream, bytes) in expected {
            let isText = format == .cri || bytes.allSatisfy { $0 < 0x80 }
            require(!isText || found[stream] == bytes, "a log gives back what was written to \(stream)")
        }
    }
}
