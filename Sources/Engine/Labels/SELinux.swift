import LinuxKernel
import Synchronization

/// SELinux as this host has it.
enum SELinux: Sendable, Equatable {
    /// The kernel has none, no policy is loaded, or the daemon is told to leave it alone.
    case absent
    /// Containers are labeled with these, each at a level of its own.
    case ready(Contexts)
    /// The policy has no domain for containers, for this reason: they run unlabeled, in the daemon's own.
    case withoutContainers(String)

    /// Looks at the kernel and at what the policy says of containers.
    static func prepare(isWanted: Bool) -> SELinux {
        guard isWanted, SELinuxKernel.isEnabled() else { return .absent }
        let contexts = Contexts(files: Contexts.files.lazy.compactMap { try? Files.text($0) }.first ?? "")
        for context in [contexts.process, contexts.file, contexts.layers] where !SELinuxKernel.accepts(context) {
            return .withoutContainers("the policy doesn't know \(context); the package container-selinux brings it")
        }
        return .ready(contexts)
    }

    /// What a policy calls a container's processes and files (selinux_lxc_contexts_path(3)).
    struct Contexts: Sendable, Equatable {
        let process: SecurityContext
        let file: SecurityContext
        /// Of images' layers, which all containers may read and execute: a program is mapped from the file beneath the
        /// overlay, whose own label the kernel looks at then.
        let layers: SecurityContext

        static var files: [String] {
            let words = ((try? Files.text("/etc/selinux/config")) ?? "").split(separator: "\n")
            let policy = words.last { $0.hasPrefix("SELINUXTYPE=") }?.dropFirst(12) ?? "targeted"
            return ["/usr/share/containers/selinux/contexts", "/etc/selinux/\(policy)/contexts/lxc_contexts"]
        }

        /// - Parameter files: `process = "…"`, `file = "…"` and `ro_file = "…"`, a line each. Without any of them the names
        ///   are the usual ones; where only files have one, it is the layers', too.
        init(files text: String) {
            var said: [String: SecurityContext] = [:]
            for line in text.split(separator: "\n") {
                let words = line.split(byte: "=", maxSplits: 1).map { $0.filter { !" \t\"".contains($0) } }
                if words.count == 2, let context = SecurityContext(words[1]) { said[words[0]] = context }
            }
            process = said["process"] ?? SecurityContext("system_u:system_r:container_t:s0")!
            file = said["file"] ?? SecurityContext("system_u:object_r:container_file_t:s0")!
            layers =
                said["ro_file"] ?? said["file"]?.withoutCategories
                ?? SecurityContext("system_u:object_r:container_ro_file_t:s0")!
        }
    }
}

/// The SELinux labels of a container, settled when it was created.
struct ContainerLabels: Sendable, Codable, Equatable {
    /// Of its processes; empty: they stay in the daemon's domain.
    var process: String
    /// Of its files.
    var mount: String
}

/// What `--security-opt label=…` asks for.
enum LabelOptions {
    private static let parts: Set<String> = ["user", "role", "type", "level", "filetype"]
    /// For files of containers that aren't labeled: no labeled one has both of its categories.
    private static let unusableLevel = "s0:c1022,c1023"

    static func validate(_ options: [String]) throws(EngineError) {
        for option in options where option != "disable" {
            let words = option.split(byte: ":", maxSplits: 1)
            guard words.count == 2, parts.contains(String(words[0])) else {
                throw .invalid(
                    "invalid --security-opt: \"label=\(option)\": it is user:, role:, type:, filetype: or level: and a "
                        + "value, or disable")
            }
            guard words[1].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }), words[0] == "level" || !words[1].contains(":")
            else {
                throw .invalid("invalid --security-opt: \"label=\(option)\": that is no part of an SELinux label")
            }
        }
    }

    /// The labels of a container that asks for `options`.
    ///
    /// - Parameter level: takes a level for this container alone; called where the options name none.
    static func labels(
        _ options: [String], _ contexts: SELinux.Contexts,
        level: () throws(EngineError) -> String
    ) throws(EngineError) -> ContainerLabels {
        var (process, file) = (contexts.process, contexts.file)
        if options.contains("disable") {
            if file.level != nil { file.level = unusableLevel }
            return ContainerLabels(process: "", mount: file.description)
        }
        var said: [String: String] = [:]
        for option in options {
            let words = option.split(byte: ":", maxSplits: 1).map(String.init)
            said[words[0]] = words[1]
        }
        if let user = said["user"] { (process.user, file.user) = (user, user) }
        if let role = said["role"] { process.role = role }
        if let type = said["type"] { process.type = type }
        if let type = said["filetype"] { file.type = type }
        if let level = said["level"] {
            (process.level, file.level) = (level, level)
        } else if process.level != nil {
            let level = try level()
            (process.level, file.level) = (level, level)
        }
        return ContainerLabels(process: process.description, mount: file.description)
    }

    /// The options that give a container the labels of another: what shares its processes or IPC has to be in its domain.
    static func like(_ label: String) -> [String]? {
        guard let context = SecurityContext(label) else { return nil }
        return ["user:\(context.user)", "role:\(context.role)", "type:\(context.type)"]
            + (context.level.map { ["level:\($0)"] } ?? [])
    }
}

/// The levels that tell containers apart: each has two categories that no other has both of. A container keeps its level
/// from `create` to `rm`: its record has it.
final class SELinuxLevels: Sendable {
    private let categories: Int
    /// Level by container; several may ask for the same by name.
    private let taken: Mutex<[String: String]> = Mutex([:])

    /// - Parameter categories: how many the policy has; the last two are for files of containers that aren't labeled.
    init(categories: Int = 1024) { self.categories = categories }

    /// What a container asked for, or had before this daemon began.
    func reserve(_ level: String, for container: String) { taken.withLock { $0[container] = level } }

    /// Takes a level that no container has, by chance, so that other engines of the host rarely have it, too.
    func allocate(for container: String) throws(EngineError) -> String {
        let pairs = (0..<categories - 1).lazy.flatMap { first in (first + 1..<self.categories).lazy.map { (first, $0) }
        }
        let found = taken.withLock { taken -> String? in
            var used = Set(taken.values)
            used.insert(level(categories - 2, categories - 1))
            let level =
                (0..<64).lazy.map { _ in self.chance() }.first { !used.contains($0) }
                ?? pairs.lazy.map { self.level($0, $1) }.first { !used.contains($0) }
            if let level { taken[container] = level }
            return level
        }
        guard let found else {
            throw .conflict("no SELinux level is free for the container: remove others, or give it one (label=level:…)")
        }
        return found
    }

    private func chance() -> String {
        let first = Int.random(in: 0..<categories)
        let second = Int.random(in: 0..<categories - 1)
        let other = second < first ? second : second + 1
        return level(min(first, other), max(first, other))
    }

    private func level(_ first: Int, _ second: Int) -> String { "s0:c\(first),c\(second)" }

    func release(_ container: String) { _ = taken.withLock { $0.removeValue(forKey: container) } }
}
