import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The runtime's command line: an OCI runtime with runc's commands and flags, and the daemon's `monitor`.
///
/// Dispatch is by hand: a runtime starts for every container, and reflection would cost more than the kernel does.
public enum RuntimeCommandLine {
    struct GlobalOptions: Sendable {
        /// Where the state of containers is kept.
        var root = "/run/mycontainer-runtime"
        /// Whether `root` was named, and has to be there.
        var rootIsGiven = false
        var log = RuntimeLog()
        var cgroups = CgroupDriver.files
    }

    /// Runs the command and ends the process with its exit code.
    public static func main(_ arguments: [String]) -> Never {
        // What the daemon runs, and nobody types.
        if arguments.count == 4, arguments[1] == "monitor", arguments[2] == "--bundle" {
            exit(Monitor.run(bundle: arguments[3], socket: FileDescriptor(owning: MonitorProtocol.inheritedSocket)))
        }
        if arguments.count == 2, arguments[1] == "zygote" {
            exit(Zygote.run(socket: FileDescriptor(owning: MonitorProtocol.inheritedSocket)))
        }
        StandardStreams.open()
        var options = GlobalOptions()
        do {
            let code = try run(arguments, &options)
            exit(code)
        } catch {
            options.log.error(error.message)
            exit(error.exitCode)
        }
    }

    private static func run(_ arguments: [String], _ options: inout GlobalOptions) throws(CommandError) -> Int32 {
        let flags = try Flags(
            arguments.dropFirst(), valued: ["root", "log", "log-format", "rootless", "criu", "cgroup-manager"],
            boolean: ["debug", "systemd-cgroup", "version", "help"], aliases: ["v": "version", "h": "help"])
        if let root = flags.path("root") {
            options.root = root
            options.rootIsGiven = true
        }
        options.log.path = flags.path("log")
        options.log.debugging = flags.has("debug")
        if let text = flags.value("log-format") {
            guard let format = RuntimeLog.Format(rawValue: text) else {
                throw CommandError("unknown log format \(text): text and json are known")
            }
            options.log.format = format
        }
        options.cgroups = try CgroupDriver(flags)
        if flags.has("version") {
            print("mycontainer-runtime version \(ProductVersion.current)")
            print("spec: \(HookContext.ociVersion)")
            return 0
        }
        guard let name = flags.rest.first, !flags.has("help"), name != "help" else {
            print(usage)
            return flags.rest.isEmpty && !flags.has("help") ? 1 : 0
        }
        if flags.value("rootless") == "true" { throw CommandError("rootless containers are not supported") }
        let rest = flags.rest.dropFirst()
        options.log.debug("\(name) \(rest.joined(separator: " "))")
        switch name {
        case "create": return try LifecycleCommands(options: options).create(rest)
        case "run": return try LifecycleCommands(options: options).run(rest)
        case "start": return try LifecycleCommands(options: options).start(rest)
        case "kill": return try LifecycleCommands(options: options).kill(rest)
        case "delete": return try LifecycleCommands(options: options).delete(rest)
        case "exec": return try ExecCommand(options: options).run(rest)
        case "state": return try InspectionCommands(options: options).state(rest)
        case "list": return try InspectionCommands(options: options).list(rest)
        case "ps": return try InspectionCommands(options: options).ps(rest)
        case "events": return try InspectionCommands(options: options).events(rest)
        case "spec": return try InspectionCommands(options: options).spec(rest)
        case "features": return try InspectionCommands(options: options).features(rest)
        case "pause": return try ResourceCommands(options: options).pause(rest)
        case "resume": return try ResourceCommands(options: options).resume(rest)
        case "update": return try ResourceCommands(options: options).update(rest)
        case "checkpoint", "restore":
            throw CommandError("\(name) is not supported: this runtime has no CRIU")
        default:
            throw CommandError("unknown command \(name): mycontainer-runtime --help lists them")
        }
    }

    private static let usage = """
        Usage: mycontainer-runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] [--systemd-cgroup]
                                   [--cgroup-manager cgroupfs|systemd|disabled] COMMAND …

        An OCI runtime. Commands:
          create [--bundle DIR] [--config FILE] [--console-socket PATH] [--pid-file FILE] [--pidfd-socket PATH]
                 [--no-pivot] [--no-new-keyring] [--preserve-fds N] ID
          start ID
          run [create's flags] [--detach] [--keep] ID
          state ID
          kill [--all] ID [SIGNAL]
          delete [--force] ID
          exec [--process FILE] [--tty] [--user UID[:GID]] [--env K=V] [--cwd DIR] [--cap NAME] [--detach]
               [--console-socket PATH] [--pid-file FILE] [--pidfd-socket PATH] [--preserve-fds N] [--no-new-privs]
               [--cgroup PATH] [--ignore-paused] [--additional-gids GID] [--apparmor PROFILE] [--process-label LABEL]
               ID COMMAND …
          list [--format table|json] [--quiet]
          ps [--format table|json] ID [ps options]
          pause ID · resume ID
          update [--resources FILE] [--memory BYTES] [--cpu-quota US] … ID
          events [--stats] [--interval SECONDS] ID
          spec [--bundle DIR] · features

        The daemon also runs it as: mycontainer-runtime monitor --bundle DIR, mycontainer-runtime zygote
        """
}

/// Messages for whoever started the runtime.
enum Diagnostics {
    static func say(_ message: String) {
        let line = "mycontainer-runtime: \(message)\n"
        _ = write(2, line, line.utf8.count)
    }
}

/// Wall clock time as text.
enum Clock {
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// RFC 3339 with nanoseconds, UTC.
    static func rfc3339(_ nanoseconds: Int64 = now()) -> String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func pad(_ value: Int, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let date = "\(pad(Int(parts.tm_year) + 1900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))-\(pad(Int(parts.tm_mday), 2))"
        let time = "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(pad(Int(nanoseconds % 1_000_000_000), 9))Z"
    }
}
