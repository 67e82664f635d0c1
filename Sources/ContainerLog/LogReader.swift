import Glibc
import LinuxKernel
import Synchronization

/// What to read of a log.
public struct LogReadOptions: Sendable {
    /// Only entries at or after this time (nanoseconds since the epoch).
    public var since: Int64?
    /// Only entries at or before this time; a follower stops there too.
    public var until: Int64?
    /// Only the last lines, as many; counted over both streams, as dockerd does.
    public var tail: Int?
    public var stdout = true
    public var stderr = true
    /// At the end of the log wait for more, until ``LogReader/Control/finish()`` or `cancel()`.
    public var follow = false
    /// Begin here instead of at the start of the oldest file.
    public var start: LogPosition?
    /// End here: with the position that an attach returned, log and live stream join without gap or overlap.
    public var end: LogPosition?

    public init() {}
}

/// Reads a container's log, rotated files first, while it may be written and rotated.
///
/// A reader belongs to one thread, which it blocks while it follows; it is stopped from others through its ``control``.
/// It holds two descriptors, and two more when it follows.
public final class LogReader {
    /// Stops a reader from another thread.
    public final class Control: Sendable {
        fileprivate let cancelled = Atomic(false)
        fileprivate let finishing = Atomic(false)
        fileprivate let wakeup: FileDescriptor
        private let signal: FileDescriptor

        fileprivate init() throws(SystemError) {
            var ends: [Int32] = [-1, -1]
            try checked("pipe") { pipe(&ends) }
            for end in ends {
                _ = fcntl(end, F_SETFD, FD_CLOEXEC)
                _ = fcntl(end, F_SETFL, O_NONBLOCK)
            }
            wakeup = FileDescriptor(owning: ends[0])
            signal = FileDescriptor(owning: ends[1])
        }

        /// The container ended and its log is complete: hand out what is there, then end.
        public func finish() {
            finishing.store(true, ordering: .releasing)
            wake()
        }

        /// End now.
        public func cancel() {
            cancelled.store(true, ordering: .releasing)
            wake()
        }

        private func wake() { _ = write(signal.raw, "x", 1) }
    }

    public let control: Control
    private let path: String
    private let format: LogFormat
    private let options: LogReadOptions
    private var file: OpenLog?
    private var watch: FileDescriptor?
    private var ended = false
    private var openLines: Set<LogStream> = []

    /// Finds the place to begin at. A log that does not exist is empty (and is waited for by a follower).
    public init(path: String, format: LogFormat, options: LogReadOptions = LogReadOptions()) throws(SystemError) {
        self.path = path
        self.format = format
        self.options = options
        control = try Control()
        if options.follow { watch = try LogReader.watchDirectory(of: path) }
        file = try firstFile()
    }

    /// The next entry, nil at the end. Damaged lines are passed over. Blocks while it follows and there is no more.
    public func next() throws(SystemError) -> LogEntry? {
        while !ended, !control.cancelled.load(ordering: .acquiring) {
            guard var entry = try nextRecord() else {
                ended = true
                break
            }
            if let until = options.until, entry.time > until {
                ended = true
                break
            }
            let wanted = entry.stream == .stdout ? options.stdout : options.stderr
            entry.continuesLine = openLines.contains(entry.stream)
            if entry.partial { openLines.insert(entry.stream) } else { openLines.remove(entry.stream) }
            if !wanted || entry.time < options.since ?? Int64.min { continue }
            return entry
        }
        return nil
    }

    private func nextRecord() throws(SystemError) -> LogEntry? {
        while true {
            // Read before the log is: what was written before `finish()` is handed out.
            let finishing = control.finishing.load(ordering: .acquiring)
            if let file {
                if let end = options.end, file.inode == end.inode, file.position >= end.offset { return nil }
                if let line = try file.nextLine() {
                    if let entry = line.withUnsafeBytes({ LogRecord.parse($0, format: format) }) { return entry }
                    continue
                }
                if let end = options.end, file.inode == end.inode { return nil }
                if let newer = try successor(of: file) {
                    self.file = newer
                    continue
                }
            } else if let opened = try OpenLog(path) {
                file = opened
                continue
            }
            if finishing || !options.follow { return nil }
            guard try waitForMore() else { return nil }
        }
    }

    // MARK: - Files

    /// The file after `file`: nil while that is the live one. Names move under us; the inode says which is which.
    private func successor(of file: OpenLog) throws(SystemError) -> OpenLog? {
        for _ in 0..<100 {
            guard let live = fileStatus(path) else { return nil }
            if live.inode == file.inode { return nil }
            // It was rotated: what came between the last read and that is read first.
            if try file.hasMore() { return file }
            var index = 1
            var candidate = path
            while let status = fileStatus("\(path).\(index)"), status.inode != file.inode {
                candidate = "\(path).\(index)"
                index += 1
            }
            // Without our own file among them (it fell off the end) this is the oldest that is left.
            guard let opened = try OpenLog(candidate) else { continue }
            // Still the neighbour? Otherwise another rotation came in between.
            let neighbour = fileStatus(candidate)?.inode == opened.inode
            let own = fileStatus("\(path).\(index)")
            if neighbour, own == nil || own?.inode == file.inode { return opened }
        }
        return try OpenLog(path)
    }

    /// All files, newest first, each once.
    private func files() throws(SystemError) -> [OpenLog] {
        var all: [OpenLog] = []
        var index = 0
        while let opened = try OpenLog(index == 0 ? path : "\(path).\(index)") {
            if all.last?.inode != opened.inode { all.append(opened) }
            index += 1
        }
        return all
    }

    private func firstFile() throws(SystemError) -> OpenLog? {
        var candidates = try files()
        if let end = options.end {
            // Nothing behind the end matters; a log whose end has been rotated away has nothing before it either.
            guard let newest = candidates.firstIndex(where: { $0.inode == end.inode }) else {
                ended = true
                return nil
            }
            candidates.removeFirst(newest)
        }
        if let start = options.start, let oldest = candidates.firstIndex(where: { $0.inode == start.inode }) {
            candidates.removeSubrange((oldest + 1)...)
            candidates[oldest].seek(start.offset)
        }
        guard let oldest = candidates.last else { return nil }
        var chosen = oldest
        if let since = options.since {
            // The newest file that begins before `since`, and in it the place found by halving.
            for candidate in candidates {
                chosen = candidate
                if let first = try LogSearch.firstTime(candidate.raw, format: format), first < since {
                    let offset = try LogSearch.offset(of: since, in: candidate.raw, format: format)
                    candidate.seek(max(candidate.position, offset))
                    break
                }
            }
        }
        if let tail = options.tail { return try tailStart(candidates, tail: tail, notBefore: chosen) }
        return chosen
    }

    /// Moves to where the last `tail` lines begin, but not before `floor` and its position.
    private func tailStart(_ candidates: [OpenLog], tail: Int, notBefore floor: OpenLog) throws(SystemError) -> OpenLog
    {
        var lines = 0
        var counted = false
        for candidate in candidates {
            let lowest = candidate === floor ? candidate.position : 0
            let bound = options.end.flatMap { $0.inode == candidate.inode ? $0.offset : nil }
            let end = if let bound { bound } else { try fileStatus(candidate.raw).size }
            if tail <= 0 {
                candidate.seek(end)
                return candidate
            }
            var scan = BackwardScan(file: candidate.raw, end: end)
            while let record = try scan.next(), record.start >= lowest {
                guard let ends = record.withBytes({ LogRecord.endsLine($0, format: format) }) else { continue }
                if ends || !counted {
                    // A line begins behind the record that ends the one before it.
                    if lines == tail {
                        candidate.seek(record.end)
                        return candidate
                    }
                    lines += 1
                    counted = true
                }
            }
            if candidate === floor { return floor }
        }
        return floor
    }

    // MARK: - Waiting

    private static func watchDirectory(of path: String) throws(SystemError) -> FileDescriptor {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let flags = Int32(IN_CLOEXEC | IN_NONBLOCK)
        let watch = FileDescriptor(owning: try checked("inotify_init") { inotify_init1(flags) })
        let events = UInt32(IN_MODIFY | IN_CREATE | IN_MOVED_TO)
        try checked("watch \(directory)") {
            inotify_add_watch(watch.raw, directory.isEmpty ? "/" : directory, events)
        }
        return watch
    }

    /// Waits for a change of the log or a command; false when it is time to stop.
    private func waitForMore() throws(SystemError) -> Bool {
        guard let watched = watch?.raw else { return false }
        var waiting = [
            pollfd(fd: watched, events: Int16(POLLIN), revents: 0),
            pollfd(fd: control.wakeup.raw, events: Int16(POLLIN), revents: 0),
        ]
        var timeout: Int32 = -1
        if let until = options.until {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            let left = until - (Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))
            if left < 0 { return false }
            timeout = Int32(clamping: left / 1_000_000 + 1)
        }
        try checked("poll") { poll(&waiting, 2, timeout) }
        var drain = [UInt8](repeating: 0, count: 4096)
        while read(control.wakeup.raw, &drain, drain.count) > 0 {}
        while read(watched, &drain, drain.count) > 0 {}
        return !control.cancelled.load(ordering: .acquiring)
    }
}

/// An open log file and the part of it that has been read ahead.
private final class OpenLog {
    private static let block = 64 << 10
    private let file: FileDescriptor
    let inode: UInt64
    private var buffer: [UInt8] = []
    private var consumed = 0
    /// Offset of the next line.
    private(set) var position: Int64 = 0

    var raw: Int32 { file.raw }

    /// nil where there is no such file.
    init?(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            file = try FileDescriptor(path, O_RDONLY)
        } catch {
            if error.errno == ENOENT { return nil }
            throw error
        }
        inode = try fileStatus(file.raw).inode
    }

    func seek(_ offset: Int64) {
        position = offset
        buffer = []
        consumed = 0
    }

    /// The next whole line without its newline; nil when there is none yet. A line that is not whole is read again
    /// later: a writer that ran out of disk may have taken it back.
    func nextLine() throws(SystemError) -> ArraySlice<UInt8>? {
        var searched = consumed
        while true {
            if let end = buffer.withUnsafeBytes({ $0.firstNewline(from: searched) }) {
                let line = buffer[consumed..<end]
                position += Int64(end + 1 - consumed)
                consumed = end + 1
                return line
            }
            if consumed > 0 {
                buffer.removeFirst(consumed)
                consumed = 0
            }
            searched = buffer.count
            let more = try readFile(file.raw, at: position + Int64(buffer.count), count: OpenLog.block)
            if more.isEmpty {
                buffer = []
                if try fileStatus(file.raw).size < position { position = 0 }
                return nil
            }
            buffer += more
            if buffer.count > 1 << 20 {
                // No line that we wrote: go on behind it.
                position += Int64(buffer.count)
                buffer = []
                searched = 0
            }
        }
    }

    func hasMore() throws(SystemError) -> Bool {
        var last = UInt8(0)
        // A torn last line of a rotated file stays torn: only a newline behind the position is more to read.
        var offset = position
        while true {
            let bytes = try readFile(file.raw, at: offset, count: OpenLog.block)
            if bytes.isEmpty { return false }
            if bytes.contains(newline) { return true }
            last = bytes[0]
            offset += Int64(bytes.count)
            if offset - position > 1 << 20 { return last != 0 }
        }
    }
}
