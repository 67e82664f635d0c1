import Glibc
import OCI
import Testing

@testable import Runtime

/// Hostile root filesystems and configurations, each with the legitimate case beside it that must go on working.
@Suite(.enabled(if: TestBundle.canRun, "needs root and the built runtime"))
struct AttackTests {
    @Test(
        "CVE-2023-27561, CVE-2023-28642: /proc, /sys, /dev or /etc is a link or a file",
        arguments: [
            "proc", "sys", "dev", "etc",
        ])
    func linkedKernelDirectory(name: String) throws {
        let bundle = try TestBundle()
        mkdir("\(bundle.directory)/outside", 0o755)
        removeTree("\(bundle.root)/\(name)")
        symlink("\(bundle.directory)/outside", "\(bundle.root)/\(name)")
        bundle.mount("/etc/hostname", on: "/etc/hostname", ["ro"])
        bundle.shell("echo ran")
        let refused = try bundle.run()
        #expect(refused.code == 1)
        #expect(refused.error.contains("/\(name) in the container's root is not a directory"))
        #expect(refused.output.isEmpty)
        unlink("\(bundle.root)/\(name)")
        try bundle.file(name, "")
        #expect(try bundle.run().code == 1)

        // The twin: it is absent, and is made.
        unlink("\(bundle.root)/\(name)")
        #expect(try bundle.run().output == "ran\n")
    }

    @Test("CVE-2021-30465: a mount target that is a link out of the root stays inside")
    func linkedTarget() throws {
        let bundle = try TestBundle()
        mkdir("\(bundle.directory)/volume", 0o755)
        try Files.write("\(bundle.directory)/volume/marker", Array("inside".utf8))
        mkdir("\(bundle.directory)/outside", 0o755)
        symlink("\(bundle.directory)/outside", "\(bundle.root)/data")
        symlink("../../../../../../tmp", "\(bundle.root)/up")
        bundle.mount("\(bundle.directory)/volume", on: "/data")
        bundle.mount("\(bundle.directory)/volume", on: "/up/deep/er")
        bundle.shell("cat /data/marker /tmp/deep/er/marker")
        let result = try bundle.run()
        #expect(result.code == 0, "\(result.error)")
        #expect(result.output == "insideinside")
        #expect(access("\(bundle.directory)/outside/marker", F_OK) != 0)
        #expect(access("/tmp/deep", F_OK) != 0)
    }

    @Test("The twin: absolute links inside the root lead where the image means")
    func absoluteLinks() throws {
        let bundle = try TestBundle()
        mkdir("\(bundle.root)/run", 0o755)
        mkdir("\(bundle.root)/var", 0o755)
        symlink("/run", "\(bundle.root)/var/run")
        mkdir("\(bundle.directory)/volume", 0o755)
        try Files.write("\(bundle.directory)/volume/marker", Array("here".utf8))
        bundle.mount("\(bundle.directory)/volume", on: "/var/run/app")
        bundle.shell("cat /run/app/marker")
        #expect(try bundle.run().output == "here")
    }

    @Test(
        "CVE-2019-16884: mounting over procfs is refused; lxcfs's files are not",
        arguments: [
            ("/proc/self/attr", false), ("/proc/sys/kernel/core_pattern", false), ("/link/version", false),
            ("/proc/meminfo", true),
        ])
    func mountOverProc(path: String, allowed: Bool) throws {
        let bundle = try TestBundle()
        symlink("/proc", "\(bundle.root)/link")
        let isDirectory = path == "/proc/self/attr"
        bundle.mount(isDirectory ? "/tmp" : "/etc/hostname", on: path, ["ro"])
        bundle.shell("echo ran")
        let result = try bundle.run()
        #expect((result.code == 0) == allowed, "\(result.error)")
    }

    @Test("CVE-2024-21626: a working directory by descriptor number never leads to the host")
    func leakedDescriptor() throws {
        let bundle = try TestBundle()
        bundle.shell("pwd; ls")
        for number in 3..<24 {
            bundle.spec.process?.cwd = "/proc/self/fd/\(number)"
            let result = try bundle.run()
            #expect(result.code != 0, "descriptor \(number): \(result.output)")
        }
        bundle.spec.process?.cwd = "/tmp"
        #expect(try bundle.run().lines.first == "/tmp")
    }

    @Test("No descriptor but the standard streams reaches the program")
    func descriptors() throws {
        let bundle = try TestBundle()
        bundle.shell("ls /proc/self/fd")
        // ls has its own directory open as 3.
        #expect(try bundle.run().lines == ["0", "1", "2", "3"])
    }

    @Test("CVE-2025-31133: masked files are the null device itself, masked directories are empty and read-only")
    func maskedPaths() throws {
        let bundle = try TestBundle()
        // What the image has at /dev/null is not what masks.
        try bundle.file("dev/null", "evil")
        bundle.shell(
            "stat -c %t:%T /proc/keys; ls /proc/acpi /sys/firmware; mkdir /sys/firmware/x || cat /proc/keys; echo ended"
        )
        let result = try bundle.run()
        #expect(result.lines.first == "1:3")
        #expect(result.lines.last == "ended")
        #expect(!result.output.contains("evil"))
        #expect(result.error.contains("Read-only file system"))
    }

    @Test("A device node that is something else already is refused")
    func falseDevice() throws {
        let bundle = try TestBundle()
        // /dev stays the image's own.
        bundle.spec.mounts?.removeAll { $0.destination.hasPrefix("/dev") }
        bundle.spec.root?.readonly = false
        try bundle.file("dev/null", "evil")
        bundle.shell("echo ran")
        let result = try bundle.run()
        #expect(result.code == 1)
        #expect(result.error.contains("/dev/null"))
        unlink("\(bundle.root)/dev/null")
        #expect(try bundle.run().output == "ran\n")
    }

    @Test("CVE-2022-0811: only namespaced sysctls")
    func sysctls() throws {
        let bundle = try TestBundle()
        bundle.spec.linux?.sysctl = ["kernel.core_pattern": "|/bin/evil"]
        bundle.shell("cat /proc/sys/net/ipv4/ip_forward")
        let refused = try bundle.run()
        #expect(refused.code == 1)
        #expect(refused.error.contains("not namespaced"))
        bundle.spec.linux?.sysctl = ["net.ipv4.ip_forward": "1"]
        #expect(try bundle.run().output == "1\n")
        bundle.spec.linux?.namespaces?.removeAll { $0.type == "network" }
        #expect(try bundle.run().error.contains("shares the host's network namespace"))
    }

    @Test("CVE-2022-36109, CVE-2022-24769, CVE-2022-27649: no group and no inheritable capability of the caller's")
    func identity() throws {
        let bundle = try TestBundle()
        bundle.spec.process?.user = RuntimeSpec.User(uid: 1234, gid: 567)
        bundle.shell("grep -E '^(Groups|CapInh|CapAmb|CapPrm)' /proc/self/status")
        let generous = ["/usr/bin/setpriv", "--groups=42", "--inh-caps=+net_raw,+chown", "--ambient-caps=+net_raw"]
        for caller in [[], generous] {
            let lines = try bundle.run(caller: caller).lines.map { $0.split(separator: "\t").map(String.init) }
            #expect(lines.first { $0[0] == "Groups:" }?.dropFirst().joined() ?? " " == " ")
            for set in ["CapInh:", "CapAmb:", "CapPrm:"] {
                #expect(lines.first { $0[0] == set }?.last == "0000000000000000")
            }
        }
    }

    @Test("CVE-2019-5736: the runtime can't be opened for writing from inside")
    func overwriteRuntime() throws {
        let bundle = try TestBundle()
        // An interpreter that is the runtime itself: the container executes it and then tries to write to it.
        try bundle.file("run-me", "#!/proc/self/exe\n", mode: 0o755)
        bundle.spec.process?.args = ["/run-me"]
        var before = stat()
        #expect(stat(TestBundle.program, &before) == 0)
        _ = try bundle.run()
        // exec's process is our binary until it executes: try to get hold of it all the while.
        bundle.shell(
            "for i in 0 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do (: >> $p/exe) 2>/dev/null && echo wrote; done; done"
        )
        let result = try bundle.run()
        // The shell's own binary is busy (ETXTBSY) or read-only.
        #expect(!result.output.contains("wrote"))
        var after = stat()
        #expect(stat(TestBundle.program, &after) == 0)
        #expect(after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_size == before.st_size)
    }

    @Test("CVE-2022-0492: the cgroups are read-only and begin at the container's own")
    func cgroups() throws {
        let bundle = try TestBundle()
        bundle.shell(
            "grep -v -E ':/$' /proc/self/cgroup; for f in /sys/fs/cgroup/*/cgroup.procs "
                + "/sys/fs/cgroup/cgroup.procs; do (echo 1 > $f) 2>/dev/null && echo wrote; done; echo ended")
        #expect(try bundle.run().output == "ended\n")
    }
}
