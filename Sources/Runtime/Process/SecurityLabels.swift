import Glibc
import LinuxKernel
import MonitorProtocol

/// AppArmor and SELinux labels, where the host has them (Documentation/admin-guide/LSM): for what the calling process
/// executes next, or for the process itself where it goes on without executing anything.
enum SecurityLabels {
    /// What the next exec is to be confined by. Nothing happens on a host without AppArmor.
    static func applyAppArmor(_ profile: String, _ proc: Int32) throws(StartFailure) {
        guard isAppArmorEnabled else { return }
        try write(
            "exec \(profile)", to: ["self/attr/apparmor/exec", "self/attr/exec"], proc, "AppArmor profile \(profile)")
    }

    static func applySELinux(_ label: String, _ proc: Int32) throws(StartFailure) {
        guard access("/sys/fs/selinux/enforce", F_OK) == 0 else { return }
        try write(label, to: ["self/attr/exec"], proc, "SELinux label \(label)")
    }

    /// The way for the calling process to confine itself later, when the host's /proc is out of reach: the reaper is no
    /// new program, and must not be less confined than what it starts.
    /// - Returns: a descriptor for ``change(_:to:)``; nil on a host without AppArmor.
    static func openAppArmorChange(_ profile: String, _ proc: Int32) throws(StartFailure) -> FileDescriptor? {
        guard isAppArmorEnabled else { return nil }
        return try at("label", "cannot set the AppArmor profile \(profile)") { () throws(SystemError) in
            try open(["self/attr/apparmor/current", "self/attr/current"], proc)
        }
    }

    /// The calling process is confined by the profile from here on, and so is what it starts.
    static func change(_ descriptor: Int32, to profile: String) throws(StartFailure) {
        let text = "changeprofile \(profile)"
        try at("label", "cannot change to the AppArmor profile \(profile): is it loaded?") { () throws(SystemError) in
            try checked("changeprofile") { Glibc.write(descriptor, text, text.utf8.count) }
        }
    }

    private static var isAppArmorEnabled: Bool {
        guard let file = try? FileDescriptor("/sys/module/apparmor/parameters/enabled", O_RDONLY) else { return false }
        var byte: UInt8 = 0
        return read(file.raw, &byte, 1) == 1 && byte == UInt8(ascii: "Y")
    }

    private static func write(
        _ text: String, to files: [String], _ proc: Int32, _ what: String
    ) throws(StartFailure) {
        try at("label", "cannot set the \(what): is it loaded?") { () throws(SystemError) in
            let descriptor = try open(files, proc)
            try checked("write \(files[0])") { Glibc.write(descriptor.raw, text, text.utf8.count) }
        }
    }

    /// The first of these that exists: kernels since 5.8 have a directory for each security module.
    private static func open(_ files: [String], _ proc: Int32) throws(SystemError) -> FileDescriptor {
        var last = SystemError("open", errno: ENOENT)
        for file in files {
            do throws(SystemError) {
                return try FileDescriptor(file, O_WRONLY, relativeTo: proc)
            } catch {
                last = error
                if error.errno != ENOENT { break }
            }
        }
        throw last
    }
}
