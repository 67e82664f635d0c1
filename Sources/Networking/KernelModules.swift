import Glibc
import LinuxKernel

/// Modules of the kernel that must not be loaded as it loads them by itself.
enum KernelModules {
    /// Loads `ifb`, where it is a module and not there yet. The kernel would load it with the first link of that kind, and
    /// the module then makes `ifb0` and `ifb1` in the host's own namespace, which nobody asked for (`numifbs` of
    /// drivers/net/ifb.c).
    ///
    /// Best effort: where it doesn't work, the kernel's way is left.
    static func loadIfb() { _ = ifb }

    private static let ifb: Void = {
        if access("/sys/module/ifb", F_OK) == 0 { return }
        // Where the kernel finds its own helper; empty or absent where it loads no modules.
        guard let file = try? FileDescriptor("/proc/sys/kernel/modprobe", O_RDONLY) else { return }
        var bytes = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = max(0, read(file.raw, &bytes, bytes.count))
        let path = String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        if path.isEmpty { return }
        let texts = [path, "-q", "ifb", "numifbs=0"]
        var words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var pid = pid_t()
        guard posix_spawn(&pid, path, nil, nil, &words, &environment) == 0 else { return }
        while waitpid(pid, nil, 0) < 0, errno == EINTR {}
    }()
}
