import CLinux
import Glibc
import LinuxKernel

/// AppArmor as this host has it.
enum AppArmor: Sendable, Equatable {
    /// The kernel has none, or it is turned off: profiles that are asked for have no effect.
    case absent
    /// The default profile is loaded.
    case ready
    /// The kernel has it, but the default profile can't be loaded, for this reason: only profiles that are asked for by name
    /// are used.
    case withoutDefault(String)

    static let defaultProfile = "mycontainer-default"
    static let unconfined = "unconfined"

    /// Looks at the kernel and loads our profile, so that what is loaded is this daemon's.
    static func prepare() -> AppArmor {
        guard let flag = try? Files.text("/sys/module/apparmor/parameters/enabled"), flag.hasPrefix("Y") else {
            return .absent
        }
        do {
            try load()
            return .ready
        } catch {
            return .withoutDefault("\(error)")
        }
    }

    /// The profile of a container; nil for none, "unconfined" where that is said to the kernel.
    func profile(asked: String?, privileged: Bool) -> String? {
        if self == .absent { return nil }
        if let asked, !asked.isEmpty { return asked }
        if privileged { return AppArmor.unconfined }
        return self == .ready ? AppArmor.defaultProfile : nil
    }

    /// As strict as docker's `docker-default`: files, capabilities and the network are for other layers to bound; what only
    /// AppArmor can hold back is mounting, writing to /proc and /sys where namespaces don't reach, and tracing out of the
    /// container. Needs no file of the host's.
    static let text = """
        @{PROC}=/proc/

        profile \(defaultProfile) flags=(attach_disconnected,mediate_deleted) {
          network,
          capability,
          file,
          umount,

          # The host may signal the container; its processes may signal each other.
          signal (receive) peer=unconfined,
          signal (send,receive) peer=\(defaultProfile),
          ptrace (trace,read,tracedby,readby) peer=\(defaultProfile),

          deny mount,

          # Writable below /proc: what belongs to a process, and kernel.shm*, which is the IPC namespace's.
          deny @{PROC}/* w,
          deny @{PROC}/[^0-9s]*/** w,
          deny @{PROC}/s[^ey]*/** w,
          deny @{PROC}/sys/[^k]** w,
          deny @{PROC}/sys/kernel/[^s]** w,
          deny @{PROC}/sys/kernel/s[^h]** w,
          deny @{PROC}/sys/kernel/sh[^m]** w,
          deny @{PROC}/sysrq-trigger rwklx,
          deny @{PROC}/kcore rwklx,

          # Writable below /sys: the cgroups, where they are mounted so.
          deny /sys/[^f]*/** wklx,
          deny /sys/f[^s]*/** wklx,
          deny /sys/fs/[^c]*/** wklx,
          deny /sys/fs/c[^g]*/** wklx,
          deny /sys/fs/cg[^r]*/** wklx,
          deny /sys/firmware/** rwklx,
          deny /sys/devices/virtual/powercap/** rwklx,
          deny /sys/kernel/security/** rwklx,
        }

        """

    private static let parsers = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"]

    private static func load() throws(SystemError) {
        guard let parser = parsers.first(where: Files.exists) else {
            throw SystemError("find apparmor_parser (Debian's package apparmor has it)", errno: ENOENT)
        }
        // Memory files for both ends: nothing to clean up, and no pipe to fill.
        let input = FileDescriptor(owning: try checked("memory file") { clinux_memory_file("profile") })
        let output = FileDescriptor(owning: try checked("memory file") { clinux_memory_file("parser") })
        let profile = Array(text.utf8)
        try checked("write the profile") { pwrite(input.raw, profile, profile.count, 0) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.raw, 0)
        posix_spawn_file_actions_adddup2(&actions, output.raw, 1)
        posix_spawn_file_actions_adddup2(&actions, output.raw, 2)
        var pid: pid_t = 0
        // Without its cache, which is not ours.
        let result = withCStrings([parser, "--replace", "--skip-cache", "--quiet"]) { argv in
            withCStrings(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]) { envp in
                posix_spawn(&pid, parser, &actions, nil, argv, envp)
            }
        }
        guard result == 0 else { throw SystemError("start \(parser)", errno: result) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else {
            var words = [UInt8](repeating: 0, count: 1000)
            let count = max(0, pread(output.raw, &words, words.count, 0))
            let said = String(decoding: words[..<count], as: UTF8.self).split(separator: "\n").joined(separator: "; ")
            throw SystemError("load the AppArmor profile \(defaultProfile) (\(parser): \(said))", errno: EINVAL)
        }
    }
}
