import Glibc

/// Reading and writing of cgroup control files: small texts, one write(2) a value.
enum CgroupFile {
    /// The whole text, nil (and errno) where it can't be read. A path may be bytes that are no text: containers name their
    /// groups.
    static func read(_ path: UnsafePointer<CChar>) -> String? {
        readBytes(path).map { String(decoding: $0, as: UTF8.self) }
    }

    static func readBytes(_ path: UnsafePointer<CChar>) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var capacity = 4096
        while true {
            var failed: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
                var got = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                while got < 0 && errno == EINTR { got = Glibc.read(descriptor, buffer.baseAddress, buffer.count) }
                failed = got < 0 ? errno : 0
                count = max(0, got)
            }
            if failed != 0 {
                errno = failed
                return nil
            }
            if chunk.isEmpty { return bytes }
            bytes += chunk
            capacity = 65536
        }
    }

    /// Writes `value` in one write(2), as control files need; 0 or the errno.
    static func write(_ path: String, _ value: String) -> Int32 {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        var value = value
        return value.withUTF8 { bytes in
            while true {
                if Glibc.write(descriptor, bytes.baseAddress, bytes.count) >= 0 { return 0 }
                if errno != EINTR { return errno }
            }
        }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}

extension Substring {
    /// The parts between ASCII separators, empty ones left out. Splitting bytes is many times as fast as splitting
    /// characters, and control files are ASCII.
    func parts(by separator: Unicode.Scalar) -> [Substring] {
        utf8.split(separator: UInt8(ascii: separator)).map { Substring($0) }
    }
}

extension String {
    func parts(by separator: Unicode.Scalar) -> [Substring] { self[...].parts(by: separator) }

    /// Lines without their ends, empty ones left out.
    var lines: [Substring] { parts(by: "\n") }
}
