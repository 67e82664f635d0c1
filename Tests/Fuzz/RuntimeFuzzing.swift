import FoundationEssentials
import Glibc
@testable import LinuxKernel
import MonitorProtocol
import OCI

@testable import Runtime

/// What the runtime reads: its configuration, the accounts of a root, the messages between daemon and monitor.
enum RuntimeFuzzing {
    /// A bundle's config.json, and what is derived from it before any container exists.
    static func spec(_ input: UnsafeRawBufferPointer) throws {
        let spec = try JSONDecoder().decode(RuntimeSpec.self, from: Data(input))
        let again = try JSONDecoder().decode(RuntimeSpec.self, from: try JSONEncoder().encode(spec))
        require(again == spec, "a configuration is the same after it was written and read")
        for mount in spec.mounts ?? [] { _ = MountOptions(mount.options ?? []) }
        if let linux = spec.linux {
            try? Sysctl.validate(linux.sysctl ?? [:], linux.namespaces ?? [])
            if let policy = linux.seccomp, policy.syscalls?.count ?? 0 < 20 { _ = try? SeccompFilter.compile(policy) }
            if let devices = linux.resources?.devices { _ = try? DeviceFilter.effective(devices) }
        }
        if let process = spec.process { _ = Identity(process.user) }
    }

    private static let root: (path: String, descriptor: Int32) = {
        var template = Array("/dev/shm/mycontainer-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("no directory under /dev/shm: errno \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        mkdir(path + "/etc", 0o755)
        atexit {
            for name in ["/etc/passwd", "/etc/group"] { unlink(RuntimeFuzzing.root.path + name) }
            rmdir(RuntimeFuzzing.root.path + "/etc")
            rmdir(RuntimeFuzzing.root.path)
        }
        return (path, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
    }()

    /// `user NUL group NUL passwd NUL group file`.
    static func accounts(_ input: UnsafeRawBufferPointer) throws {
        let parts = input.split(separator: 0, maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return }
        for (name, content) in [("passwd", parts[2]), ("group", parts[3])] {
            let file = try FileDescriptor("\(root.path)/etc/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            _ = content.withUnsafeBytes { write(file.raw, $0.baseAddress, $0.count) }
        }
        let request = IdentityRequest(
            user: String(decoding: parts[0], as: UTF8.self), groups: [String(decoding: parts[1], as: UTF8.self)])
        let identity = try Identity(request, fallback: RuntimeSpec.User(), root: root.descriptor)
        require(
            ([identity.uid, identity.gid] + identity.groups).allSatisfy { $0 <= Identity.maximumID },
            "no id is past the largest")
        require(identity.groups.contains(identity.gid), "the primary group is among the groups")
    }

    static func messages(_ input: UnsafeRawBufferPointer) throws {
        let (kind, rest) = input.variant
        let data = Data(rest)
        let decoder = JSONDecoder()
        switch kind % 4 {
        case 0: _ = try decoder.decode(MonitorRequest.self, from: data)
        case 1: _ = try decoder.decode(MonitorMessage.self, from: data)
        case 2: _ = try decoder.decode(LaunchDocument.self, from: data)
        default: _ = try decoder.decode(ExitRecord.self, from: data)
        }
    }
}
