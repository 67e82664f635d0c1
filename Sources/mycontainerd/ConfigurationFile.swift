import EngineAPI
import FoundationEssentials
import Glibc
import LinuxKernel

/// The JSON file with dockerd's keys.
struct ConfigurationFile {
    private enum Kind { case text, number, list, flag, map, pools }

    /// Each key, its kind, and the flag that says the same.
    private static let keys: [String: Kind] = [
        "data-root": .text, "exec-root": .text, "hosts": .list, "registries": .list, "pidfile": .text, "group": .text,
        "runtime": .text, "debug": .flag, "log-level": .text, "live-restore": .flag, "init": .flag, "labels": .list,
        "log-driver": .text, "log-opts": .map, "default-shm-size": .text, "seccomp-profile": .text,
        "userns": .text, "userns-auto-range": .text, "selinux-enabled": .flag,
        "bip": .text, "bip6": .text, "fixed-cidr": .text, "fixed-cidr-v6": .text, "ipv6": .flag, "mtu": .number,
        "icc": .flag, "ip": .text, "ip-masq": .flag, "ip-forward": .flag, "iptables": .flag,
        "default-address-pools": .pools, "dns": .list, "dns-search": .list, "dns-opts": .list,
    ]

    private var values: [String: JSONValue] = [:]

    init(_ path: String, required: Bool) throws {
        let data: Data
        do throws(SystemError) {
            data = try ConfigurationFile.read(path)
        } catch {
            if !required && error.errno == ENOENT { return }
            throw StartError("unable to read the configuration file \(path): \(error.reason)")
        }
        // An empty file is an empty configuration, as for dockerd.
        if data.allSatisfy({ [0x20, 0x09, 0x0a, 0x0d].contains($0) }) { return }
        do {
            values = try JSON.decode([String: JSONValue].self, from: data)
        } catch {
            throw StartError("the configuration file \(path) cannot be used: \(error)")
        }
        let unknown = values.keys.filter { Self.keys[$0] == nil }.sorted()
        if !unknown.isEmpty {
            throw StartError(
                "the following directives don't match any configuration option: \(unknown.joined(separator: ", "))")
        }
        for (key, value) in values {
            let fits =
                switch (Self.keys[key], value) {
                case (.text, .string), (.flag, .bool), (.number, .integer): true
                case (.text, .integer): key == "default-shm-size"
                case (.list, .array(let items)): items.allSatisfy { if case .string = $0 { true } else { false } }
                case (.map, .object(let items)):
                    items.values.allSatisfy { if case .string = $0 { true } else { false } }
                case (.pools, .array(let items)): items.allSatisfy { ConfigurationFile.pool($0) != nil }
                default: false
                }
            if !fits { throw StartError("the value of \(key) in the configuration file \(path) has the wrong type") }
        }
    }

    private static func read(_ path: String) throws(SystemError) -> Data {
        let file = try FileDescriptor(path, O_RDONLY)
        var data = Data()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try checked("read \(path)") { Glibc.read(file.raw, &buffer, buffer.count) }
            if count == 0 { return data }
            data += buffer[..<count]
            if data.count > 16 << 20 { throw SystemError("read \(path)", errno: EFBIG) }
        }
    }

    func text(_ key: String) -> String? {
        switch values[key] {
        case .string(let text): text
        case .integer(let number): String(number)
        default: nil
        }
    }

    func flag(_ key: String) -> Bool? {
        if case .bool(let flag) = values[key] { return flag }
        return nil
    }

    func list(_ key: String) -> [String]? {
        guard case .array(let items) = values[key] else { return nil }
        return items.compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    func number(_ key: String) -> Int? {
        if case .integer(let number) = values[key] { return Int(number) }
        return nil
    }

    /// `[{"base": "10.10.0.0/16", "size": 24}]`
    func pools(_ key: String) -> [(base: String, size: Int)] {
        guard case .array(let items) = values[key] else { return [] }
        return items.compactMap(ConfigurationFile.pool)
    }

    private static func pool(_ value: JSONValue) -> (base: String, size: Int)? {
        guard case .object(let members) = value, case .string(let base) = members["base"],
            case .integer(let size) = members["size"], members.count == 2
        else { return nil }
        return (base, Int(size))
    }

    func map(_ key: String) -> [String: String]? {
        guard case .object(let items) = values[key] else { return nil }
        return items.compactMapValues { if case .string(let text) = $0 { text } else { nil } }
    }

    /// Refuses what is said twice, as dockerd does: which of the two was meant cannot be known.
    func refuseConflicts(with options: DaemonOptions) throws {
        let flags: [(String, String?)] =
            [
                ("data-root", options.dataRoot), ("exec-root", options.execRoot), ("hosts", text(options.host)),
                ("registries", text(options.registry)), ("pidfile", options.pidfile), ("group", options.group),
                ("runtime", options.runtime), ("debug", options.debug ? "true" : nil), ("log-level", options.logLevel),
                ("live-restore", options.liveRestore.map { "\($0)" }), ("init", options.`init`.map { "\($0)" }),
                ("labels", text(options.label)), ("log-driver", options.logDriver), ("log-opts", text(options.logOpt)),
                ("default-shm-size", options.defaultShmSize), ("seccomp-profile", options.seccompProfile),
                ("userns", options.userns), ("userns-auto-range", options.usernsAutoRange),
                ("selinux-enabled", options.selinuxEnabled.map { "\($0)" }),
            ].map { (key: $0, text: $1) } + options.networks.given
        let conflicts = flags.compactMap { key, flag -> String? in
            guard let flag, let value = values[key], let written = try? JSON.string(value) else { return nil }
            return "\(key): (from flag: \(flag), from file: \(written))"
        }
        if !conflicts.isEmpty {
            throw StartError(
                "the following directives are specified both as a flag and in the configuration file: "
                    + conflicts.joined(separator: ", "))
        }
    }

    private func text(_ list: [String]) -> String? { list.isEmpty ? nil : "[\(list.joined(separator: " "))]" }
}
