import Glibc

/// Names in directories, as the kernel gives and takes them: bytes without a zero and a slash, which need not be UTF-8.
/// Made a `String`, such a name would become another one: nothing that a container or an archive names may go that way,
/// except into a message.
public enum FileNames {
    /// The names in an open directory, without `.` and `..`, in no order. The descriptor's own position stays.
    public static func list(_ directory: Int32) throws(SystemError) -> [[UInt8]] {
        let own = try FileDescriptor(".", O_RDONLY | O_DIRECTORY, relativeTo: directory)
        guard let stream = fdopendir(own.raw) else { throw SystemError.current("read a directory") }
        // The stream has taken the descriptor over.
        _ = own.release()
        defer { closedir(stream) }
        return names(stream)
    }

    /// The names in the directory at `path`, without `.` and `..`, in no order.
    public static func list(at path: String) throws(SystemError) -> [[UInt8]] {
        guard let stream = opendir(path) else { throw SystemError.current("open \(path)") }
        defer { closedir(stream) }
        return names(stream)
    }

    private static func names(_ stream: OpaquePointer) -> [[UInt8]] {
        var names: [[UInt8]] = []
        while let entry = readdir(stream) {
            let name = FileNames.name(of: entry)
            if !isDots(name) { names.append(Array(UnsafeRawBufferPointer(start: name, count: strlen(name)))) }
        }
        return names
    }

    /// The name in an entry, valid as long as the entry is.
    static func name(of entry: UnsafeMutablePointer<dirent>) -> UnsafePointer<CChar> {
        UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!)
            .assumingMemoryBound(to: CChar.self)
    }

    /// Whether it is `.` or `..`.
    static func isDots(_ name: UnsafePointer<CChar>) -> Bool { strcmp(name, ".") == 0 || strcmp(name, "..") == 0 }
}

/// Gives `body` bytes as a C string.
public func withCString<Result, Failure: Error>(
    _ bytes: some Collection<UInt8>, _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
) throws(Failure) -> Result {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: bytes.count + 1) { buffer throws(Failure) -> Result in
        for (index, byte) in bytes.enumerated() { buffer[index] = CChar(bitPattern: byte) }
        buffer[bytes.count] = 0
        return try body(buffer.baseAddress!)
    }
}

/// Bytes of a name for a message: control characters shown, length bounded.
public func printable(_ bytes: some Collection<UInt8>) -> String {
    let text = String(decoding: bytes.prefix(200), as: UTF8.self)
    let shown = text.unicodeScalars.map { scalar in
        scalar.value < 32 || scalar.value == 127 ? "\\x" + String(scalar.value, radix: 16) : String(scalar)
    }
    return "\"" + shown.joined() + (bytes.count > 200 ? "…" : "") + "\""
}
