import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// AppArmor and SELinux labels, where the host has them (Documentation/admin-guide/LSM): for what the calling process
/// executes next, or for the process itself where it goes on without executing anything.
enum SecurityLabels {
    /// What the next exec is to be confined by. Nothing happens on a host without AppArmor.
    static func applyAppArmor(_ profile: String, _ proc: Int32) throws(StartFailure) {
        guard isAppArmorEnabled else { return }
        try write(
            "exec \(profile)", to: ["self/attr/apparmor/exec", "self/attr/exec"], proc, "AppArmor profile \(profile)")
    }

    /// The label of what is executed next. Nothing happens on a host without SELinux.
    static func applySELinux(_ label: String, _ proc: Int32) throws(StartFailure) {
        guard SELinuxKernel.isEnabled(proc: proc) else { return }
        try write(label, to: ["self/attr/exec"], proc, "SELinux label \(label)", hint: "does the policy know it?")
    }

    /// What is confined without executing anything: the reaper is no new program, and must not be less confined than what it
    /// starts.
    enum Change {
        /// Before it forks, so that the program is confined, too.
        case appArmor(profile: String)
        /// After it has forked: the program gets its label by being executed, as with every other runtime. A policy that has
        /// no such change (`dyntransition`) leaves the reaper, which holds nothing by then, where it is.
        case selinux(label: String)

        init?(_ process: RuntimeSpec.Process, _ proc: Int32) {
            if let profile = process.apparmorProfile, !profile.isEmpty, isAppArmorEnabled {
                self = .appArmor(profile: profile)
            } else if let label = process.selinuxLabel, !label.isEmpty, SELinuxKernel.isEnabled(proc: proc) {
                self = .selinux(label: label)
            } else {
                return nil
            }
        }

        /// A descriptor to make the change with when the host's /proc is out of reach.
        func open(_ proc: Int32) throws(StartFailure) -> FileDescriptor {
            try at("label", "cannot set the label of the container's first process") { () throws(SystemError) in
                switch self {
                case .appArmor:
                    try SecurityLabels.open(["self/attr/apparmor/current", "self/attr/current"], proc)
                case .selinux: try SecurityLabels.open(["self/attr/current"], proc)
                }
            }
        }

        func beforeFork(_ descriptor: Int32) throws(StartFailure) {
            guard case .appArmor(let profile) = self else { return }
            let text = "changeprofile \(profile)"
            try at("label", "cannot change to the AppArmor profile \(profile): is it loaded?") {
                () throws(SystemError) in
                try checked("changeprofile") { Glibc.write(descriptor, text, text.utf8.count) }
            }
        }

        func afterFork(_ descriptor: Int32) {
            guard case .selinux(let label) = self else { return }
            _ = Glibc.write(descriptor, label, label.utf8.count)
        }
    }

    /// Makes a key or keyring with a label, which is what may use it afterwards.
    static func withKeyLabel(
        _ label: String?, _ proc: Int32, _ make: () throws(StartFailure) -> Void
    ) throws(StartFailure) {
        guard let label, !label.isEmpty, SELinuxKernel.isEnabled(proc: proc) else { return try make() }
        try write(
            label, to: ["self/attr/keycreate"], proc, "SELinux label \(label) of keys", hint: "does the policy know it?"
        )
        try make()
        try write("\n", to: ["self/attr/keycreate"], proc, "SELinux label of keys", hint: "the default is refused")
    }

    /// The label that a container's file systems are mounted with; nil where it has none, or the host has no SELinux.
    static func mountLabel(_ linux: RuntimeSpec.Linux?, _ proc: Int32? = nil) -> String? {
        guard let label = linux?.mountLabel, !label.isEmpty, SELinuxKernel.isEnabled(proc: proc) else { return nil }
        return label
    }

    /// `z` and `Z` of a bind: gives what is bound the container's label, without its categories where others share it.
    ///
    /// - Parameter tree: the very mount that the container gets.
    static func relabel(
        _ tree: Int32, _ path: String, _ relabeling: MountOptions.Relabeling, _ mountLabel: String?
    ) throws(StartFailure) {
        guard let mountLabel else { return }
        guard let label = SecurityContext(mountLabel) else {
            throw StartFailure(
                stage: "label", errno: EINVAL,
                message: "the configuration's mountLabel \(mountLabel) is no SELinux label")
        }
        guard !FileLabels.isProtected(tree) else {
            throw StartFailure(
                stage: "label", errno: EPERM,
                message:
                    "SELinux relabeling of \(path) is not allowed: the host depends on its labels. Bind a directory of "
                    + "the container's own, or use --security-opt label=disable in the place of :z and :Z")
        }
        try at("label", "cannot relabel \(path) for SELinux") { () throws(SystemError) in
            try FileLabels.relabel(tree, relabeling == .shared ? label.withoutCategories : label)
        }
    }

    private static var isAppArmorEnabled: Bool {
        guard let file = try? FileDescriptor("/sys/module/apparmor/parameters/enabled", O_RDONLY) else { return false }
        var byte: UInt8 = 0
        return read(file.raw, &byte, 1) == 1 && byte == UInt8(ascii: "Y")
    }

    private static func write(
        _ text: String, to files: [String], _ proc: Int32, _ what: String, hint: String = "is it loaded?"
    ) throws(StartFailure) {
        try at("label", "cannot set the \(what): \(hint)") { () throws(SystemError) in
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
