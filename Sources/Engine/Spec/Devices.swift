import Glibc
import LinuxKernel
import OCI

/// Host devices for `--device`, `--device-cgroup-rule` and `--privileged`.
enum Devices {
    /// The nodes and rules of one `--device host[:container[:permissions]]`; a directory stands for every device
    /// below it.
    static func expand(
        host: String, container: String, permissions: String
    ) throws(EngineError) -> [(node: RuntimeSpec.Device, rule: RuntimeSpec.DeviceCgroup)] {
        guard !permissions.isEmpty, permissions.allSatisfy({ "rwm".contains($0) }),
            Set(permissions).count == permissions.count
        else {
            throw .invalid("invalid device mode: \(permissions)")
        }
        guard host.hasPrefix(bytes: "/"), container.hasPrefix(bytes: "/") else {
            throw .invalid("error gathering device information while adding custom device \"\(host)\": not absolute")
        }
        var status = stat()
        guard stat(host, &status) == 0 else {
            throw .invalid(
                "error gathering device information while adding custom device \"\(host)\": "
                    + String(cString: strerror(errno)).lowercased())
        }
        var nodes: [RuntimeSpec.Device] = []
        if let node = node(status, path: container) {
            nodes = [node]
        } else if status.st_mode & S_IFMT == S_IFDIR {
            nodes = nodesBelow(host, shownAs: container, depth: 0)
        }
        guard !nodes.isEmpty else {
            throw .invalid(
                "error gathering device information while adding custom device \"\(host)\": not a device node")
        }
        return nodes.map { node in
            let rule = RuntimeSpec.DeviceCgroup(
                allow: true, type: node.type, major: node.major, minor: node.minor, access: permissions)
            return (node, rule)
        }
    }

    /// Every device of the host, for `--privileged`: /dev without what the container has of its own.
    static func all() -> [RuntimeSpec.Device] {
        nodesBelow("/dev", shownAs: "/dev", depth: 0)
    }

    /// `a|b|c major:minor rwm`, with `*` for all.
    static func parse(rule text: String) throws(EngineError) -> RuntimeSpec.DeviceCgroup {
        let refusal = EngineError.invalid("invalid device cgroup rule format: '\(text)'")
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, ["a", "b", "c"].contains(words[0]) else { throw refusal }
        let numbers = words[1].split(byte: ":", omittingEmptySubsequences: false)
        guard numbers.count == 2, (1...3).contains(words[2].count), words[2].allSatisfy({ "rwm".contains($0) }) else {
            throw refusal
        }
        var parsed: [Int64?] = []
        for number in numbers {
            if number == "*" {
                parsed.append(nil)
            } else if number.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let value = UInt32(number) {
                parsed.append(Int64(value))
            } else {
                throw refusal
            }
        }
        return RuntimeSpec.DeviceCgroup(
            allow: true, type: String(words[0]), major: parsed[0], minor: parsed[1], access: String(words[2]))
    }

    /// Major and minor of the block device at `path`, for blkio limits.
    static func numbers(of path: String) throws(EngineError) -> (major: Int64, minor: Int64) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw .invalid("stat \(path): \(String(cString: strerror(errno)).lowercased())")
        }
        return split(status.st_rdev)
    }

    private static let ownEntries: Set<String> = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"]

    private static func nodesBelow(_ directory: String, shownAs shown: String, depth: Int) -> [RuntimeSpec.Device] {
        guard depth < 16, let names = try? Files.list(directory) else { return [] }
        var nodes: [RuntimeSpec.Device] = []
        for name in names.sorted() where name != "console" && !(directory == "/dev" && ownEntries.contains(name)) {
            var status = stat()
            guard lstat("\(directory)/\(name)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                nodes += nodesBelow("\(directory)/\(name)", shownAs: "\(shown)/\(name)", depth: depth + 1)
            } else if let node = node(status, path: "\(shown)/\(name)") {
                nodes.append(node)
            }
        }
        return nodes
    }

    private static func node(_ status: stat, path: String) -> RuntimeSpec.Device? {
        let type: String
        switch status.st_mode & S_IFMT {
        case S_IFBLK: type = "b"
        case S_IFCHR: type = "c"
        default: return nil
        }
        let (major, minor) = split(status.st_rdev)
        return RuntimeSpec.Device(
            path: path, type: type, major: major, minor: minor, fileMode: status.st_mode & 0o7777,
            uid: status.st_uid, gid: status.st_gid)
    }

    static func split(_ device: dev_t) -> (major: Int64, minor: Int64) {
        // The kernel's new encoding of dev_t, as makedev(3) has it.
        (Int64((device >> 8) & 0xFFF | (device >> 32) & ~0xFFF), Int64(device & 0xFF | (device >> 12) & 0xFFFF_FF00))
    }
}
