import Glibc
import Testing

@testable import ContainerLog

/// A log in a directory of its own.
final class TestLog {
    let directory: String
    var path: String { directory + "/container.log" }
    let format: LogFormat

    init(_ format: LogFormat = .cri) {
        self.format = format
        var template = Array("/tmp/container-log-XXXXXX".utf8CString)
        directory = String(cString: mkdtemp(&template))
    }

    deinit {
        for name in names { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }

    var names: [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix(while: { $0 != 0 }), as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    func writer(maxSize: Int64 = 0, maxFiles: Int = 1) throws -> LogWriter {
        try LogWriter(path: path, format: format, maxSize: maxSize, maxFiles: maxFiles)
    }

    func read(_ change: (inout LogReadOptions) -> Void = { _ in }) throws -> [LogEntry] {
        var options = LogReadOptions()
        change(&options)
        let reader = try LogReader(path: path, format: format, options: options)
        var entries: [LogEntry] = []
        while let entry = try reader.next() { entries.append(entry) }
        return entries
    }

    func lines(_ change: (inout LogReadOptions) -> Void = { _ in }) throws -> [String] {
        try read(change).map { String(decoding: $0.content, as: UTF8.self) }
    }

    func bytes(_ name: String = "container.log") -> [UInt8] {
        guard let file = fopen("\(directory)/\(name)", "r") else { return [] }
        defer { fclose(file) }
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return all }
            all += buffer[..<count]
        }
    }

    func put(_ bytes: [UInt8], _ name: String = "container.log", append: Bool = false) {
        let file = fopen("\(directory)/\(name)", append ? "a" : "w")!
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }
}

extension LogWriter {
    mutating func append(_ text: String, _ stream: LogStream = .stdout, at time: Int64) {
        append(Array(text.utf8), stream, at: time)
    }

    mutating func append(_ bytes: [UInt8], _ stream: LogStream = .stdout, at time: Int64) {
        bytes.withUnsafeBytes { append($0, stream: stream, at: time) }
    }
}

/// Deterministic randomness: a failure can be repeated.
struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
