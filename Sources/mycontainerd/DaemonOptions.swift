import ArgumentParser
import OCI

/// The daemon's flags, named and meant as dockerd's are. What is not given here may stand in the configuration file.
struct DaemonOptions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mycontainerd", abstract: "The container engine's daemon: the Docker Engine API on a unix socket.")

    @Option(help: "Directory of images, volumes and container layers (default /var/lib/mycontainer)")
    var dataRoot: String?

    @Option(help: "Directory of run state (default /run/mycontainer)")
    var execRoot: String?

    @Option(
        name: [.customShort("H"), .long],
        help: "Socket to listen on: unix:///path or fd:// for systemd's (default unix:///run/mycontainer.sock)")
    var host: [String] = []

    @Option(help: "Directory that pull reads images from; may be repeated")
    var registry: [String] = []

    @Option(help: "Configuration file (default /etc/mycontainer/daemon.json, if it exists)")
    var configFile: String?

    @Option(name: [.customShort("p"), .long], help: "File for the daemon's process id (default /run/mycontainer.pid)")
    var pidfile: String?

    @Option(
        name: [.customShort("G"), .long], help: "Group that may use the socket (default mycontainer, if it exists)")
    var group: String?

    @Option(help: "The mycontainer-runtime program (default: beside this one)")
    var runtime: String?

    @Flag(name: [.customShort("D"), .long], help: "Log more")
    var debug = false

    @Option(name: [.customShort("l"), .long], help: "debug, info, warn, error or fatal (default info)")
    var logLevel: String?

    @Flag(inversion: .prefixedNo, help: "Leave containers running when the daemon stops (default)")
    var liveRestore: Bool?

    @Flag(inversion: .prefixedNo, help: "Run a reaper as PID 1 of containers that do not say (default)")
    var `init`: Bool?

    @Option(help: "Label of this daemon, key=value; may be repeated")
    var label: [String] = []

    @Option(help: "Log driver of containers that name none: local, json-file, journald, syslog or none")
    var logDriver: String?

    @Option(help: "Default option of the log driver, key=value; may be repeated")
    var logOpt: [String] = []

    @Option(help: "Size of /dev/shm of containers that do not say (default 64M)")
    var defaultShmSize: String?

    @Option(help: "Seccomp profile in place of the built-in one, or unconfined")
    var seccompProfile: String?

    @Option(help: "User namespace of containers that do not say: host, or auto[:size=N] (default host)")
    var userns: String?

    @Option(
        help:
            "Ids of the host that --userns auto takes, START:SIZE (default: those of the account containers in subuid)")
    var usernsAutoRange: String?

    @Flag(inversion: .prefixedNo, help: "Label containers on a host with SELinux (default)")
    var selinuxEnabled: Bool?

    @OptionGroup(title: "Networks")
    var networks: NetworkFlags

    @Flag(help: "Check the configuration and exit")
    var validate = false

    @Flag(name: [.customShort("v"), .long], help: "Print the version and exit")
    var version = false

    /// Go's flags take `--live-restore=false`; the parser's `--no-live-restore`.
    static func normalized(_ arguments: [String]) -> [String] {
        arguments.map { argument in
            for flag in ["live-restore", "init", "selinux-enabled"] + NetworkFlags.switches {
                for value in ["true", "1"] where argument == "--\(flag)=\(value)" { return "--\(flag)" }
                for value in ["false", "0"] where argument == "--\(flag)=\(value)" { return "--no-\(flag)" }
            }
            if ["--debug=true", "--debug=1"].contains(argument) { return "--debug" }
            return argument
        }.filter { !["--debug=false", "--debug=0"].contains($0) }
    }
}
