import CLinux
import Glibc

/// What `ps` and `/proc/<pid>/cmdline` say about this process.
///
/// A forked process keeps its parent's arguments, and inside a container those would tell host paths. The kernel reads
/// the command line from the process's own memory, between `arg_start` and `arg_end` of /proc/self/stat (proc(5)), so
/// that writing there changes it without a privilege (`PR_SET_MM` asks for CAP_SYS_RESOURCE).
public enum ProcessTitle {
    /// Written once, in a single-threaded program, before anything forks.
    nonisolated(unsafe) private static var arguments: UnsafeMutableRawBufferPointer?

    /// Finds where the arguments are. Needs the host's /proc, so it is done before a container's is mounted.
    public static func locate() {
        guard let file = try? FileDescriptor("/proc/self/stat", O_RDONLY) else { return }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = read(file.raw, &bytes, bytes.count)
        // The second field, the name in brackets, may hold anything; 48 and 49 are counted from what follows it.
        guard count > 0, let bracket = bytes[..<count].lastIndex(of: UInt8(ascii: ")")) else { return }
        let fields = bytes[(bracket + 1)..<count].split(separator: UInt8(ascii: " "))
        guard fields.count > 46,
            let start = UInt(String(decoding: fields[45], as: UTF8.self)),
            let end = UInt(String(decoding: fields[46], as: UTF8.self)), end > start,
            let base = UnsafeMutableRawPointer(bitPattern: start)
        else { return }
        arguments = UnsafeMutableRawBufferPointer(start: base, count: Int(end - start))
    }

    /// Shows `title` as the command line, cut to the room that the original arguments left, and `name` (at most 15
    /// bytes) as the command name. Without a title only the name changes.
    public static func set(_ title: String? = nil, name: String) {
        _ = name.withCString { clinux_prctl(PR_SET_NAME, UInt(bitPattern: $0), 0, 0, 0) }
        guard let title, let arguments else { return }
        _ = memset(arguments.baseAddress!, 0, arguments.count)
        UnsafeMutableRawBufferPointer(rebasing: arguments.dropLast()).copyBytes(
            from: title.utf8.prefix(arguments.count - 1))
    }
}
