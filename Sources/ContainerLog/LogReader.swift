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
    /// At the end of the log wait for more, until ``LogReader/Control/finish()`` or `cancel()`. Who does not follow gets
    /// what the log has at the beginning, however fast it grows.
    public var follow = false
    /// Begin here instead of at the start of the oldest file.
    public var start: LogPosition?
    /// End here: with the position that an attach returned, log and live stream join without gap or overlap.
    public var end: LogPosition?

    public init() {}
}

/// Reads a container's log, rotated files first, while it may be written and rotated.
///
/// Files are told apart by their inodes, since their names move with each rotation. What it has found it keeps open and
/// reads to the end, also where a rotation deletes it meanwhile. Lost to it are only files that come and go while it
/// reads older ones: where a writer fills more than the log keeps before its reader is through with that.
///
/// A reader belongs to one thread, which it blocks while it follows; it is stopped from others through its ``control``.
/// It holds a descriptor for each file that it has found and not read yet, two more, and a third when it follows.
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
    private var end: LogPosition?
    private var file: OpenLog?
    /// The files to read after `file`, oldest first. When they were found, `file` was not the live one any more.
    private var newer: [OpenLog] = []
    private var watch: FileDescriptor?
    private var ended = false
    private var openLines: Set<LogStream> = []

    /// Finds the place to begin at. A log that does not exist is empty (and is waited for by a follower).
    public init(path: String, format: LogFormat, options: LogReadOptions = LogReadOptions()) throws(SystemError) {
        self.path = path
        self.format = format
        self.options = options
        end = options.end
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
                if let end, file.inode == end.inode, file.position >= end.offset { return nil }
                if let line = try file.nextLine() {
                    if let entry = line.withUnsafeBytes({ LogRecord.parse($0, format: format) }) { return entry }
                    continue
                }
                if let end, file.inode == end.inode { return nil }
                if try advance(from: file) { continue }
            } else if try begin() {
                continue
            }
            if finishing || !options.follow { return nil }
            guard try waitForMore() else { return nil }
        }
    }

    // MARK: - Files

    /// Takes up a log that was not there before, from its oldest file on; false while there is none.
    private func begin() throws(SystemError) -> Bool {
        newer = try files(after: nil).reversed()
        if newer.isEmpty { return false }
        file = newer.removeFirst()
        return true
    }

    /// Goes on to the file after `current`, which has been read to its end; false while that is the live one.
    private func advance(from current: OpenLog) throws(SystemError) -> Bool {
        if newer.isEmpty {
            if fileStatus(path)?.inode == current.inode { return false }
            // It was rotated: what came between the last read and that is read first.
            if try current.hasMore() { return true }
            newer = try files(after: current).reversed()
            if newer.isEmpty { return false }
        }
        file = newer.removeFirst()
        return true
    }

    /// Numbers without a file that are looked at before the numbers are taken to have ended. A rotation leaves one free
    /// for a moment; for two in a row there has to be a rotation between two looks.
    private static let gap = 8

    /// The files that are newer than `known`, or all of them, newest first, each once.
    ///
    /// Rotations go on meanwhile, and rename the oldest file first. A file only ever moves to a higher number, and one
    /// that is newer stays at a lower one: on the way up to `known` every file in between is met, at least once, and for
    /// the last time in its order. Where `known` isn't met it has been deleted, and so may others have been.
    private func files(after known: OpenLog?) throws(SystemError) -> [OpenLog] {
        var found: [OpenLog] = []
        var index = 0
        var missing = 0
        while missing < LogReader.gap {
            if let opened = try OpenLog(index == 0 ? path : "\(path).\(index)") {
                missing = 0
                if opened.inode == known?.inode { return found }
                found.removeAll { $0.inode == opened.inode }
                found.append(opened)
            } else {
                missing += 1
            }
            index += 1
        }
        // The place of one that has been deleted since is not known.
        let places = try found.map { file throws(SystemError) in try fileStatus(file.raw).links > 0 }
        return zip(found, places).filter(\.1).map(\.0)
    }

    private func firstFile() throws(SystemError) -> OpenLog? {
        var candidates = try files(after: nil)
        if let end {
            // Nothing behind the end matters; a log whose end has been rotated away has nothing before it either.
            guard let newest = candidates.firstIndex(where: { $0.inode == end.inode }) else {
                ended = true
                return nil
            }
            candidates.removeFirst(newest)
        } else if !options.follow, let newest = candidates.first {
            end = LogPosition(inode: newest.inode, offset: try fileStatus(newest.raw).size)
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
        if let tail = options.tail { chosen = try tailStart(candidates, tail: tail, notBefore: chosen) }
        newer = candidates.prefix { $0 !== chosen }.reversed()
        return chosen
    }

    /// Moves to where the last `tail` lines begin, but not before `floor` and its position.
    private func tailStart(_ candidates: [OpenLog], tail: Int, notBefore floor: OpenLog) throws(SystemError) -> OpenLog
    {
        var lines = 0
        var counted = false
        for candidate in candidates {
            let lowest = candidate === floor ? candidate.position : 0
            let bound = end.flatMap { $0.inode == candidate.inode ? $0.offset : nil }
            let last = if let bound { bound } else { try fileStatus(candidate.raw).size }
            if tail <= 0 {
                candidate.seek(last)
                return candidate
            }
            var scan = BackwardScan(file: candidate.raw, end: last)
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
