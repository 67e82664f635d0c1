/// `info`: what the daemon is and what it has.
enum InfoCommand {
    private static let format = Flag.string("format", short: "f", "Format output: 'json', or a Go TEMPLATE")

    static var command: Command {
        Command(
            spellings: ["info", "system info"], summary: "Display system-wide information", usage: "[OPTIONS]",
            options: [format.option], operands: .none
        ) { invocation in
            let engine = try invocation.engine()
            let info = try engine.json(.GET, "/info")
            let format = invocation[format]
            if format == "json" {
                output(info.text + "\n")
            } else if !format.isEmpty {
                try output(info, template: format, name: "")
            } else {
                output(text(info, host: engine.host))
            }
            // dockerd's own begin with the word.
            for warning in info["Warnings"].elements.compactMap(\.string) {
                complain(warning.hasPrefix("WARNING: ") ? warning : "WARNING: \(warning)")
            }
            return 0
        }
    }

    static func text(_ info: OrderedJSON, host: Host) -> String {
        var text = "Client: mycontainer\n Daemon:     \(host.display)\n\nServer:\n"
        func line(_ name: String, _ value: String?, depth: Int = 1) {
            guard let value, !value.isEmpty else { return }
            text += String(repeating: " ", count: depth) + "\(name): \(value)\n"
        }
        func number(_ name: String) -> String? { info[name].integer.map(String.init) }
        line("Containers", number("Containers"))
        line("Running", number("ContainersRunning"), depth: 2)
        line("Paused", number("ContainersPaused"), depth: 2)
        line("Stopped", number("ContainersStopped"), depth: 2)
        line("Images", number("Images"))
        line("Server Version", info["ServerVersion"].string)
        line("Storage Driver", info["Driver"].string)
        for pair in info["DriverStatus"].elements {
            line(pair.elements.first?.string ?? "", pair.elements.last?.string, depth: 2)
        }
        line("Logging Driver", info["LoggingDriver"].string)
        line("Cgroup Driver", info["CgroupDriver"].string)
        line("Cgroup Version", info["CgroupVersion"].string)
        func names(_ value: OrderedJSON) -> String { value.elements.compactMap(\.string).joined(separator: " ") }
        let plugins = info["Plugins"]
        if !plugins.isNull { text += " Plugins:\n" }
        line("Volume", names(plugins["Volume"]), depth: 2)
        line("Network", names(plugins["Network"]), depth: 2)
        line("Log", names(plugins["Log"]), depth: 2)
        line("Runtimes", info["Runtimes"].members.map(\.key).sorted().joined(separator: " "))
        line("Default Runtime", info["DefaultRuntime"].string)
        line("Init Binary", info["InitBinary"].string)
        let security = info["SecurityOptions"].elements.compactMap(\.string)
        if !security.isEmpty { text += " Security Options:\n" }
        for option in security {
            // `name=seccomp,profile=builtin`: the name, and below it what is said about it.
            for field in option.split(byte: ",") {
                let (key, value) = cut(field, "=")
                if key == "name" {
                    text += "  \(value ?? "")\n"
                } else {
                    line(key.prefix(1).uppercased() + key.dropFirst(), value, depth: 3)
                }
            }
        }
        // Options for a module that the host lacks are accepted, as by docker: that they do nothing is said here.
        for module in ["apparmor", "selinux"] where !security.isEmpty {
            if !security.contains(where: { $0.hasPrefix("name=\(module)") }) {
                text += "  \(module): not in use on this host\n"
            }
        }
        line("Kernel Version", info["KernelVersion"].string)
        line("Operating System", info["OperatingSystem"].string)
        line("OSType", info["OSType"].string)
        line("Architecture", info["Architecture"].string)
        line("CPUs", number("NCPU"))
        line("Total Memory", info["MemTotal"].integer.map { binarySize($0) })
        line("Name", info["Name"].string)
        line("ID", info["ID"].string)
        line("Docker Root Dir", info["DockerRootDir"].string)
        line("Debug Mode", info["Debug"].bool.map { "\($0)" })
        let labels = info["Labels"].elements.compactMap(\.string)
        if !labels.isEmpty { text += " Labels:\n" + labels.map { "  \($0)\n" }.joined() }
        line("Live Restore Enabled", info["LiveRestoreEnabled"].bool.map { "\($0)" })
        return text + "\n"
    }
}
