import EngineAPI

/// Where a container's namespace of one kind comes from.
enum NamespaceMode: Sendable, Equatable {
    case own
    case host
    /// Another container, by name or id.
    case container(String)
}

/// The namespace modes of a `HostConfig`, checked.
struct NamespaceModes: Sendable, Equatable {
    var network: NamespaceMode
    var pid: NamespaceMode
    var ipc: NamespaceMode
    var uts: NamespaceMode
    var cgroup: NamespaceMode
    /// IPC namespaces that other containers may join.
    var shareableIPC: Bool
    /// `--ipc none`: an own namespace without /dev/shm.
    var withoutSharedMemory: Bool

    init(_ host: HostConfig) throws(EngineError) {
        network = try NamespaceModes.network(host.networkMode)
        switch host.pidMode {
        case "", "private": pid = .own
        case "host": pid = .host
        case let text:
            guard let other = NamespaceModes.container(text) else { throw .invalid("invalid PID mode: \(text)") }
            pid = .container(other)
        }
        shareableIPC = host.ipcMode == "shareable"
        withoutSharedMemory = host.ipcMode == "none"
        switch host.ipcMode {
        case "", "private", "shareable", "none": ipc = .own
        case "host": ipc = .host
        case let text:
            guard let other = NamespaceModes.container(text) else { throw .invalid("invalid IPC mode: \(text)") }
            ipc = .container(other)
        }
        switch host.utsMode {
        case "": uts = .own
        case "host": uts = .host
        case let text: throw .invalid("invalid UTS mode: \(text)")
        }
        switch host.cgroupnsMode {
        case "", "private": cgroup = .own
        case "host": cgroup = .host
        case let text: throw .invalid("invalid cgroup namespace mode: \(text)")
        }
        _ = try UserNamespaceMode(host.usernsMode)
    }

    static func network(_ mode: String) throws(EngineError) -> NamespaceMode {
        switch mode {
        case "host": return .host
        default:
            if let other = container(mode) { return .container(other) }
            if mode == "container:" {
                throw .invalid("invalid container format container:<name|id>")
            }
            // The name of a network, which is looked up where a container is made.
            return .own
        }
    }

    private static func container(_ mode: String) -> String? {
        guard mode.hasPrefix("container:"), mode.utf8.count > 10 else { return nil }
        return String(mode.dropFirst(10))
    }

    /// The containers whose namespaces this one needs, by name or id.
    var neededContainers: [String] {
        [network, pid, ipc].compactMap { mode in
            if case .container(let other) = mode { return other }
            return nil
        }
    }
}

/// `--security-opt`, parsed.
struct SecurityOptions: Sendable, Equatable {
    enum Seccomp: Sendable, Equatable {
        case standard
        case unconfined
        /// The text of a profile: clients read the file themselves.
        case profile(String)
    }

    var seccomp = Seccomp.standard
    /// `seccomp=audit`: nothing is refused, what the profile would refuse is reported.
    var seccompAudit = false
    var noNewPrivileges = false
    /// nil: as `privileged` says.
    var writableCgroups: Bool?
    /// nil: the host's default.
    var appArmorProfile: String?
    /// What is asked of the SELinux labels.
    var labels: [String] = []

    init(_ options: [String]) throws(EngineError) {
        for option in options {
            switch option {
            case "no-new-privileges":
                noNewPrivileges = true
                continue
            case "writable-cgroups":
                writableCgroups = true
                continue
            case "disable", "label=disable", "label:disable":
                labels.append("disable")
                continue
            default: break
            }
            let separator = option.firstIndex(byte: "=") ?? option.firstIndex(byte: ":")
            guard let separator else { throw .invalid("invalid --security-opt 1: \"\(option)\"") }
            let value = String(option[option.utf8.index(after: separator)...])
            switch option[..<separator] {
            case "seccomp" where value == "audit": seccompAudit = true
            case "seccomp":
                seccomp = value == "unconfined" ? .unconfined : value == "builtin" ? .standard : .profile(value)
            case "no-new-privileges": noNewPrivileges = try SecurityOptions.flag(value, option)
            case "writable-cgroups": writableCgroups = try SecurityOptions.flag(value, option)
            case "apparmor": appArmorProfile = value
            case "label": labels.append(value)
            case "systempaths" where value == "unconfined":
                // Clients translate this to empty MaskedPaths and ReadonlyPaths.
                continue
            default: throw .invalid("invalid --security-opt 2: \"\(option)\"")
            }
        }
        try LabelOptions.validate(labels)
    }

    private static func flag(_ value: String, _ option: String) throws(EngineError) -> Bool {
        switch value {
        case "1", "t", "T", "true", "TRUE", "True": return true
        case "0", "f", "F", "false", "FALSE", "False": return false
        default: throw .invalid("invalid --security-opt 2: \"\(option)\"")
        }
    }
}
