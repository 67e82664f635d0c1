import Glibc
import ImageStore
import LinuxKernel
import OCI

/// The id that keeps daemons on one host apart.
enum InstanceID {
    /// The first 8 hex digits of the SHA-256 of the data root's real path.
    static func of(_ dataRoot: String) -> String { String(SHA256.digest(of: dataRoot.utf8).hex.prefix(8)) }
}

/// What about this host doesn't change while the daemon runs.
struct HostFacts: Sendable {
    let kernel: String
    let architecture: String
    let hostname: String
    let operatingSystem: String
    let operatingSystemVersion: String
    let memory: Int64
    let bootID: String
    /// Masked paths that exist on this hardware only (moby's GHSA-6fw5-f8r9-fgfm).
    let thermalPaths: [String]
    let recursiveReadOnly: Bool
    private let sysctls: Set<String>

    init() {
        var name = utsname()
        uname(&name)
        kernel = HostFacts.text(&name.release)
        architecture = HostFacts.text(&name.machine)
        hostname = HostFacts.text(&name.nodename)
        let release = HostFacts.osRelease()
        operatingSystem = release["PRETTY_NAME"] ?? "Linux"
        operatingSystemVersion = release["VERSION_ID"] ?? ""
        memory = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
        bootID = ((try? Files.text("/proc/sys/kernel/random/boot_id")) ?? "").filter { !$0.isWhitespace }
        thermalPaths = ((try? Files.list("/sys/devices/system/cpu")) ?? []).sorted().compactMap { name in
            let path = "/sys/devices/system/cpu/\(name)/thermal_throttle"
            return name.hasPrefix("cpu") && Files.exists(path) ? path : nil
        }
        let parts = kernel.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }
        recursiveReadOnly = parts.count > 1 && (parts[0], parts[1]) >= (5, 12)
        let wanted = ["net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"]
        sysctls = Set(wanted.filter { Files.exists("/proc/sys/" + String($0.map { $0 == "." ? "/" : $0 })) })
    }

    func hasSysctl(_ name: String) -> Bool { sysctls.contains(name) }

    private static func text<T>(_ field: inout T) -> String {
        withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static func osRelease() -> [String: String] {
        let text = (try? Files.text("/etc/os-release")) ?? (try? Files.text("/usr/lib/os-release")) ?? ""
        var result: [String: String] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(byte: "=") else { continue }
            let value = line[line.utf8.index(after: equals)...].filter { $0 != "\"" }
            result[String(line[..<equals])] = String(value)
        }
        return result
    }
}
