import Glibc
import LinuxKernel

/// Writes what a container prints to its log: complete lines at once, an unfinished one when its newline, 16 KiB or the
/// end comes. Memory is bounded by two unfinished lines; the file by rotation.
///
/// A disk that is full or broken never stops the container: what could not be written is counted, said once
/// (``takeProblem()``), and noted in the log itself when writing works again.
public struct LogWriter: ~Copyable {
    private let path: String
    private let format: LogFormat
    private let maxSize: Int64
    private let maxFiles: Int
    private var file: FileDescriptor
    private var size: Int64
    /// Rotation failed: do not try again before the file is this long.
    private var rotateAt: Int64
    /// Times never go backwards, whatever the clock does: seeking by time relies on it.
    private var lastTime: Int64
    private var unfinished: [LogStream: [UInt8]] = [:]
    private var output: [UInt8] = []
    private var problem: String?
    private var failing = false
    private var lostBytes = 0
    private let attributes: [UInt8]
    private var forwarder: LogForwarder?

    /// Opens or creates the log (mode 0640) and goes on where it ends; a line torn by a crash is ended.
    /// - Parameters:
    ///   - path: the live file; rotated ones are `<path>.1` (newest) … `<path>.<maxFiles-1>`.
    ///   - maxSize: bytes after which the file rotates, 0 for never. A record is never split.
    ///   - maxFiles: files kept, the live one included.
    ///   - attributes: what `json-file` writes beside each line.
    ///   - destination: where each line is sent besides.
    public init(
        path: String, format: LogFormat, maxSize: Int64, maxFiles: Int, attributes: [String: String] = [:],
        destination: LogDestination? = nil
    ) throws(SystemError) {
        let opened = try FileDescriptor(path, O_RDWR | O_CREAT | O_APPEND, mode: 0o640)
        let end = try LogWriter.endOfLog(opened.raw, path: path, format: format)
        self.path = path
        self.format = format
        self.maxSize = maxSize
        self.maxFiles = max(1, maxFiles)
        self.attributes = LogRecord.attributes(attributes)
        if let destination { forwarder = LogForwarder(destination) }
        size = end.size
        rotateAt = maxSize
        lastTime = end.time
        file = opened
    }

    /// Size of an existing log, its torn last line ended, and the time of its last record (0: it has none).
    private static func endOfLog(
        _ file: Int32, path: String, format: LogFormat
    ) throws(SystemError) -> (size: Int64, time: Int64) {
        var size = try fileStatus(file).size
        var scan = BackwardScan(file: file, end: size)
        if try scan.endsTorn() {
            try checked("write \(path)") { write(file, "\n", 1) }
            size += 1
            scan = BackwardScan(file: file, end: size)
        }
        while let record = try scan.next() {
            if let time = record.withBytes({ LogRecord.time($0, format: format) }) { return (size, time) }
        }
        return (size, 0)
    }

    /// Where the log ends. Lines that are held back are written first, so that everything that was appended before is
    /// in the log before this position, and everything appended later behind it.
    public mutating func position(at time: Int64) -> LogPosition {
        finish(at: time)
        let status = try? fileStatus(file.raw)
        return LogPosition(inode: status?.inode ?? 0, offset: status?.size ?? size)
    }

    /// Appends output as it was read. `time` is in nanoseconds since the epoch.
    public mutating func append(_ bytes: UnsafeRawBufferPointer, stream: LogStream, at time: Int64) {
        lastTime = max(lastTime, time)
        noteRecovery()
        var start = 0
        while let end = bytes.firstNewline(from: start) {
            add(bytes, start..<end, stream: stream, lineEnds: true)
            start = end + 1
        }
        if start < bytes.count { add(bytes, start..<bytes.count, stream: stream, lineEnds: false) }
        flush()
    }

    /// Writes the lines that have not been finished, as partial ones: the streams have ended or a reader needs them.
    public mutating func finish(at time: Int64) {
        lastTime = max(lastTime, time)
        for stream in [LogStream.stdout, .stderr] {
            guard let held = unfinished.removeValue(forKey: stream) else { continue }
            held.withUnsafeBytes { record($0, stream: stream, partial: true) }
        }
        flush()
    }

    /// A sentence about what went wrong since the last call, nil if nothing new did.
    public mutating func takeProblem() -> String? { problem.take() ?? forwarder?.takeProblem() }

    // MARK: - Lines to records

    private mutating func add(
        _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, stream: LogStream, lineEnds: Bool
    ) {
        var rest = UnsafeRawBufferPointer(rebasing: bytes[range])
        if var held = unfinished.removeValue(forKey: stream) {
            let taken = min(rest.count, LogRecord.maximumContent - held.count)
            held.append(contentsOf: UnsafeRawBufferPointer(rebasing: rest[..<taken]))
            rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
            if rest.isEmpty {
                if lineEnds {
                    held.withUnsafeBytes { record($0, stream: stream, partial: false) }
                } else if held.count == LogRecord.maximumContent {
                    held.withUnsafeBytes { record($0, stream: stream, partial: true) }
                } else {
                    unfinished[stream] = held
                }
                return
            }
            held.withUnsafeBytes { record($0, stream: stream, partial: true) }
        }
        while rest.count > LogRecord.maximumContent {
            let piece = UnsafeRawBufferPointer(rebasing: rest[..<LogRecord.maximumContent])
            record(piece, stream: stream, partial: true)
            rest = UnsafeRawBufferPointer(rebasing: rest[LogRecord.maximumContent...])
        }
        if lineEnds {
            record(rest, stream: stream, partial: false)
        } else if rest.count == LogRecord.maximumContent {
            record(rest, stream: stream, partial: true)
        } else if !rest.isEmpty {
            unfinished[stream] = [UInt8](rest)
        }
    }

    private mutating func record(_ content: UnsafeRawBufferPointer, stream: LogStream, partial: Bool) {
        let start = output.count
        LogRecord.append(
            content, stream: stream, partial: partial, time: lastTime, format: format, attributes: attributes,
            to: &output)
        forwarder?.send(content, stream: stream, partial: partial, time: lastTime)
        if maxSize > 0, size + Int64(output.count) > rotateAt, size + Int64(start) > 0 {
            flush(upTo: start)
            rotate()
        }
        if output.count >= 64 << 10 { flush() }
    }

    // MARK: - Files

    private mutating func flush() {
        flush(upTo: output.count)
        // An idle monitor keeps no buffer for output.
        if output.isEmpty { output = [] }
    }

    private mutating func flush(upTo end: Int) {
        guard end > 0 else { return }
        var written = 0
        var failure: SystemError?
        output.withUnsafeBytes { bytes in
            while written < end {
                let count = write(file.raw, bytes.baseAddress! + written, end - written)
                if count < 0 {
                    if errno == EINTR { continue }
                    failure = .current("write \(path)")
                    return
                }
                written += count
            }
        }
        if let failure {
            // Whole records stay; half of one would be a damaged line. The size is asked for: others may have emptied it.
            let whole = output.withUnsafeBytes { $0.lastNewline(before: written).map { $0 + 1 } ?? 0 }
            if whole < written, let status = try? fileStatus(file.raw) {
                ftruncate(file.raw, off_t(max(0, status.size - Int64(written - whole))))
            }
            lost(end - whole, failure)
            written = whole
        } else {
            failing = false
        }
        size += Int64(written)
        output.removeFirst(end)
    }

    private mutating func lost(_ bytes: Int, _ error: SystemError) {
        lostBytes += bytes
        if failing { return }
        failing = true
        problem = "output is not logged any more: \(error); the container goes on, and so does the log when it can"
    }

    /// Output was lost and the file can be written again: say so in the log, where it will be missed.
    private mutating func noteRecovery() {
        guard lostBytes > 0 else { return }
        let note = "mycontainer: \(lostBytes) bytes of log are missing here: they could not be written"
        let count = lostBytes
        lostBytes = 0
        var text = Array(note.utf8)
        text.withUnsafeMutableBytes { record(UnsafeRawBufferPointer($0), stream: .stderr, partial: false) }
        flush()
        if failing { lostBytes = count }
    }

    private mutating func rotate() {
        // The new file is there before the old one moves: without room for it nothing changes.
        let fresh = "\(path).new"
        unlink(fresh)
        do throws(SystemError) {
            let next = try FileDescriptor(fresh, O_RDWR | O_CREAT | O_EXCL | O_APPEND, mode: 0o640)
            if maxFiles > 1 {
                var last = 1
                while last < maxFiles - 1, access("\(path).\(last)", F_OK) == 0 { last += 1 }
                for index in stride(from: last, to: 1, by: -1) { rename("\(path).\(index - 1)", "\(path).\(index)") }
                try checked("rename \(path)") { rename(path, "\(path).1") }
            }
            try checked("rename \(fresh)") { rename(fresh, path) }
            file = next
            size = 0
            rotateAt = maxSize
        } catch {
            unlink(fresh)
            rotateAt = size + max(maxSize / 8, 64 << 10)
            problem = "the log could not be rotated: \(error); it goes on growing past its limit"
        }
    }
}

struct FileStatus {
    var inode: UInt64
    var size: Int64
    /// Names that it has; 0 when it has been deleted.
    var links: UInt64

    fileprivate init(_ status: stat) {
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        links = UInt64(status.st_nlink)
    }
}

func fileStatus(_ descriptor: Int32) throws(SystemError) -> FileStatus {
    var status = stat()
    try checked("fstat") { fstat(descriptor, &status) }
    return FileStatus(status)
}

func fileStatus(_ path: String) -> FileStatus? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return FileStatus(status)
}
