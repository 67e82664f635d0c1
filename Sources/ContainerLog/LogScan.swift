import Glibc
import LinuxKernel

/// One record as it lies in a file, without its newline.
struct LocatedRecord {
    /// Offset of its first byte and of the byte behind its newline.
    var start: Int64
    var end: Int64
    fileprivate var window: [UInt8]
    fileprivate var range: Range<Int>

    func withBytes<Result>(_ use: (UnsafeRawBufferPointer) -> Result) -> Result {
        window.withUnsafeBytes { use(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }
}

/// Reads a log's records from an end towards its start, a block at a time.
struct BackwardScan {
    private static let block: Int64 = 64 << 10
    private let file: Int32
    /// Bytes of the file from `windowStart` on; what lies behind `end` has been handed out.
    private var window: [UInt8] = []
    private var windowStart: Int64
    private var end: Int64
    private var tornTailSkipped = false

    init(file: Int32, end: Int64) {
        self.file = file
        self.end = end
        windowStart = end
    }

    /// Whether the file's last line has no newline.
    func endsTorn() throws(SystemError) -> Bool {
        guard end > 0 else { return false }
        return try readFile(file, at: end - 1, count: 1).first != newline
    }

    /// The record before the last one handed out; nil at the start. A torn last line is passed over.
    mutating func next() throws(SystemError) -> LocatedRecord? {
        if !tornTailSkipped {
            tornTailSkipped = true
            if try endsTorn() {
                guard let previous = try newlineBefore(end) else { return nil }
                end = previous + 1
            }
        }
        guard end > 0 else { return nil }
        // `end` is just behind a newline.
        let start = try newlineBefore(end - 1).map { $0 + 1 } ?? 0
        let record = LocatedRecord(
            start: start, end: end, window: window,
            range: Int(max(start, windowStart) - windowStart)..<Int(end - 1 - windowStart))
        end = start
        return record
    }

    /// Offset of the last newline before `position`. A line longer than any that is written is not kept whole.
    private mutating func newlineBefore(_ position: Int64) throws(SystemError) -> Int64? {
        var searchEnd = position
        while true {
            if searchEnd > windowStart {
                let found = window.withUnsafeBytes { $0.lastNewline(before: Int(searchEnd - windowStart)) }
                if let found { return windowStart + Int64(found) }
                searchEnd = windowStart
            }
            guard windowStart > 0 else { return nil }
            let from = max(0, windowStart - BackwardScan.block)
            let keep = min(window.count, Int(max(0, end - windowStart)), LogRecord.maximumLength)
            window = try readFile(file, at: from, count: Int(windowStart - from)) + window[..<keep]
            if keep < Int(end - windowStart) { end = windowStart + Int64(keep) }
            windowStart = from
        }
    }
}

func readFile(_ file: Int32, at offset: Int64, count: Int) throws(SystemError) -> [UInt8] {
    var failure: SystemError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        while filled < count {
            let got = pread(file, buffer.baseAddress! + filled, count - filled, off_t(offset + Int64(filled)))
            if got < 0, errno == EINTR { continue }
            if got < 0 { failure = .current("read log") }
            if got <= 0 { return }
            filled += got
        }
    }
    if let failure { throw failure }
    return bytes
}

enum LogSearch {
    /// Time of the file's first whole record, nil if it has none.
    static func firstTime(_ file: Int32, format: LogFormat) throws(SystemError) -> Int64? {
        try recordTime(file, from: 0, before: Int64.max, alignedStart: true, format: format)?.time
    }

    /// An offset at the start of a record, before the first one of `time` or later and at most a block away from it.
    static func offset(of time: Int64, in file: Int32, format: LogFormat) throws(SystemError) -> Int64 {
        var low: Int64 = 0
        var high = try fileStatus(file).size
        while high - low > 64 << 10 {
            let middle = low + (high - low) / 2
            let found = try recordTime(file, from: middle, before: high, alignedStart: false, format: format)
            if let found, found.time < time {
                low = found.offset
            } else {
                high = middle
            }
        }
        return low
    }

    /// The first whole and undamaged record that starts at or behind `from` and before `before`.
    private static func recordTime(
        _ file: Int32, from: Int64, before: Int64, alignedStart: Bool, format: LogFormat
    ) throws(SystemError) -> (offset: Int64, time: Int64)? {
        var position = from
        var bytes: [UInt8] = []
        var skipping = !alignedStart
        while true {
            let more = try readFile(file, at: position + Int64(bytes.count), count: 64 << 10)
            if more.isEmpty { return nil }
            bytes += more
            var consumed = 0
            var result: (Int64, Int64)?
            bytes.withUnsafeBytes { view in
                while let end = view.firstNewline(from: consumed) {
                    let record = UnsafeRawBufferPointer(rebasing: view[consumed..<end])
                    let start = position + Int64(consumed)
                    consumed = end + 1
                    if skipping {
                        skipping = false
                        continue
                    }
                    if start >= before { return }
                    if let time = LogRecord.time(record, format: format) {
                        result = (start, time)
                        return
                    }
                }
            }
            if let result { return result }
            position += Int64(consumed)
            if position >= before { return nil }
            bytes.removeFirst(consumed)
            if bytes.count > 1 << 20 {
                // Not a log's line; go on behind it.
                position += Int64(bytes.count)
                bytes = []
                skipping = true
            }
        }
    }
}
