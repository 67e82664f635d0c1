import CLinux
import Glibc
import LinuxKernel

/// What remains to be done to directories when all else is in place: each file made in a directory changes its time,
/// and what was only implied takes its metadata from the layers below. Kept in memory up to a bound, then in an unnamed
/// file, so that a layer of a million directories costs no more.
final class DirectoryJournal {
    struct Record {
        /// Whether the layer has no entry of its own for the directory.
        var isImplied = false
        var mode: UInt32 = 0
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        var nanoseconds: Int = 0
        var seconds: Int64 = 0
        /// Tells the directory from another one that took its place later.
        var inode: UInt64 = 0
        var pathLength = 0
    }

    private static let memoryBytes = 1 << 20

    private let directory: Int32
    private var buffer: [UInt8] = []
    /// Open once it is needed, and owned by this.
    private var file: Int32 = -1

    /// - Parameter directory: where the unnamed file would be made.
    init(spillDirectory directory: Int32) { self.directory = directory }

    deinit {
        if file >= 0 { close(file) }
    }

    func append(_ record: Record, path: some Collection<UInt8>) throws(SystemError) {
        var record = record
        record.pathLength = path.count
        withUnsafeBytes(of: record) { buffer.append(contentsOf: $0) }
        buffer.append(contentsOf: path)
        if buffer.count >= DirectoryJournal.memoryBytes { try spill() }
    }

    private func spill() throws(SystemError) {
        if file < 0 {
            file = try FileDescriptor(".", clinux_o_tmpfile() | O_RDWR, mode: 0o600, relativeTo: directory).release()
        }
        var done = 0
        while done < buffer.count {
            done += try checked("write a layer's journal") {
                buffer.withUnsafeBytes { write(file, $0.baseAddress! + done, $0.count - done) }
            }
        }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Goes through the records in the order in which they came.
    func forEach(_ body: (Record, [UInt8]) throws -> Void) throws {
        if file >= 0 {
            try spill()
            try forEachSpilled(body)
        } else {
            _ = try DirectoryJournal.parse(buffer[...], body)
        }
    }

    private func forEachSpilled(_ body: (Record, [UInt8]) throws -> Void) throws {
        var pending: [UInt8] = []
        var offset: off_t = 0
        while true {
            let chunk = try [UInt8](unsafeUninitializedCapacity: DirectoryJournal.memoryBytes) { memory, count in
                count = try checked("read a layer's journal") {
                    pread(file, memory.baseAddress, memory.count, offset)
                }
            }
            if chunk.isEmpty { return }
            offset += off_t(chunk.count)
            pending += chunk
            let used = try DirectoryJournal.parse(pending[...], body)
            pending.removeFirst(used)
        }
    }

    /// - Returns: how many bytes made up whole records.
    private static func parse(_ bytes: ArraySlice<UInt8>, _ body: (Record, [UInt8]) throws -> Void) throws -> Int {
        let header = MemoryLayout<Record>.size
        var offset = 0
        while bytes.count - offset >= header {
            let record = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Record.self) }
            guard bytes.count - offset - header >= record.pathLength else { break }
            let start = bytes.startIndex + offset + header
            try body(record, Array(bytes[start..<start + record.pathLength]))
            offset += header + record.pathLength
        }
        return offset
    }
}
