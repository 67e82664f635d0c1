import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The user's program: found as its user, inside the container.
struct Executable {
    let path: String
    private let arguments: [String]
    private let environment: [String]

    /// Looks `process.args[0]` up as execvp(3) does, in the PATH of the process's own environment.
    init(_ process: RuntimeSpec.Process, environment: [String]) throws(StartFailure) {
        guard let arguments = process.args, let name = arguments.first else {
            throw StartFailure(stage: "exec", errno: EINVAL, message: "no command to run was given")
        }
        self.arguments = arguments
        self.environment = environment
        path = try Self.find(name, environment)
    }

    private static func find(_ name: String, _ environment: [String]) throws(StartFailure) -> String {
        if name.utf8.contains(UInt8(ascii: "/")) {
            let number = check(name)
            switch number {
            case 0: return name
            case EISDIR: throw failure(name, EISDIR, "is a directory")
            case EACCES: throw failure(name, EACCES, "permission denied")
            default: throw failure(name, number, "stat \(name): \(reason(number))")
            }
        }
        let search = environment.last { $0.hasPrefix("PATH=") }?.dropFirst(5) ?? ""
        var denied = false
        for directory in search.split(byte: ":", omittingEmptySubsequences: false) where !name.isEmpty {
            let candidate = directory.isEmpty ? "./\(name)" : "\(directory)/\(name)"
            switch check(candidate) {
            case 0: return candidate
            case EACCES: denied = true
            default: break
            }
        }
        if denied { throw failure(name, EACCES, "permission denied") }
        throw failure(name, ENOENT, "executable file not found in $PATH")
    }

    /// 0 if the user may execute it, else an errno.
    private static func check(_ path: String) -> Int32 {
        var status = stat()
        if stat(path, &status) < 0 { return errno }
        if status.st_mode & S_IFMT == S_IFDIR { return EISDIR }
        // Root may execute anything that anybody may: access(2) alone would not say so for mode 0644.
        if status.st_mode & 0o111 == 0 || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 { return EACCES }
        return 0
    }

    private static func reason(_ number: Int32) -> String {
        let text = String(cString: strerror(number))
        return text.prefix(1).lowercased() + text.dropFirst()
    }

    private static func failure(_ name: String, _ number: Int32, _ text: String) -> StartFailure {
        StartFailure(stage: "exec", errno: number, message: "exec: \"\(name)\": \(text)")
    }

    /// Replaces this process. Only a failure comes back.
    func execute() -> StartFailure {
        clinux_execve(path, Self.vector(arguments), Self.vector(environment))
        let number = errno
        return StartFailure(
            stage: "exec", errno: number, message: "exec \(path): \(Self.reason(number))")
    }

    /// The strings as C has them, nil at the end; whoever goes on living frees them.
    static func vector(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var pointers: [UnsafeMutablePointer<CChar>?] = []
        pointers.reserveCapacity(strings.count + 1)
        for string in strings { pointers.append(strdup(string)) }
        pointers.append(nil)
        return pointers
    }
}
