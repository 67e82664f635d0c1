import Glibc
import OCI
import Testing

@testable import Runtime

/// What a container sees and how it ends, through the OCI command line.
@Suite(.enabled(if: TestBundle.canRun, "needs root and the built runtime"))
struct ContainerTests {
    @Test("Exit codes: the program's, 128+n, not found, not executable")
    func exitCodes() throws {
        let bundle = try TestBundle()
        bundle.shell("exit 7")
        #expect(try bundle.run().code == 7)
        bundle.shell("kill -9 $$")
        // PID 1 ignores its own signals: a child's death is the shell's code.
        bundle.shell("sh -c 'kill -9 $$'; exit $?")
        #expect(try bundle.run().code == 137)
        bundle.spec.process?.args = ["no-such-program"]
        let missing = try bundle.run()
        #expect(missing.error.contains("exec: \"no-such-program\": executable file not found in $PATH"))
        bundle.spec.process?.args = ["/etc/passwd"]
        #expect(try bundle.run().error.contains("permission denied"))
    }

    @Test("create, start, exec, pause, resume, kill, delete")
    func lifeCycle() throws {
        let bundle = try TestBundle()
        bundle.spec.process?.args = ["sleep", "1000"]
        try bundle.writeSpec()
        let pidFile = "\(bundle.directory)/pid"
        #expect(
            try bundle.command(["create", "--bundle", bundle.directory, "--pid-file", pidFile, bundle.id]).code == 0)
        #expect(try bundle.command(["state", bundle.id]).output.contains("\"status\": \"created\""))
        #expect(try bundle.command(["create", "--bundle", bundle.directory, bundle.id]).error.contains("exists"))
        let start = try bundle.command(["start", bundle.id])
        #expect(start.code == 0, "\(start.error)")
        #expect(try bundle.command(["state", bundle.id]).output.contains("\"status\": \"running\""))
        #expect(try bundle.command(["start", bundle.id]).code == 1)
        let exec = try bundle.command([
            "exec", "--user", "12:34", "--env", "A=b", bundle.id, "sh", "-c", "id; echo $A; exit 3",
        ])
        #expect(exec.code == 3)
        #expect(exec.lines == ["uid=12 gid=34", "b"])
        #expect(try bundle.command(["exec", bundle.id, "ps"]).output.contains("sleep 1000"))
        #expect(try bundle.command(["pause", bundle.id]).code == 0)
        #expect(try bundle.command(["state", bundle.id]).output.contains("\"status\": \"paused\""))
        #expect(try bundle.command(["exec", bundle.id, "true"]).code == 255)
        #expect(try bundle.command(["resume", bundle.id]).code == 0)
        #expect(try bundle.command(["delete", bundle.id]).code == 1)
        #expect(try bundle.command(["delete", "--force", bundle.id]).code == 0)
        #expect(try bundle.command(["list", "--quiet"]).output.isEmpty)
        #expect(try bundle.command(["state", bundle.id]).code == 1)
    }

    @Test("A start that fails is reported by start, and leaves a stopped container")
    func failedStart() throws {
        let bundle = try TestBundle()
        try bundle.file("bin/broken", "not a program", mode: 0o755)
        bundle.spec.process?.args = ["/bin/broken"]
        try bundle.writeSpec()
        #expect(try bundle.command(["create", "--bundle", bundle.directory, bundle.id]).code == 0)
        let start = try bundle.command(["start", bundle.id])
        #expect(start.code == 1)
        #expect(start.error.contains("exec format error"))
        #expect(try bundle.command(["delete", bundle.id]).code == 0)
    }

    @Test("User namespace: ids, devices, hostname, owner of the ipc mounts")
    func userNamespace() throws {
        let bundle = try TestBundle()
        chown(bundle.root, 300_000, 300_000)
        chmod(bundle.directory, 0o711)
        bundle.spec.linux?.namespaces?.append(RuntimeSpec.Namespace(type: "user"))
        let mapping = [RuntimeSpec.IDMapping(containerID: 0, hostID: 300_000, size: 65536)]
        bundle.spec.linux?.uidMappings = mapping
        bundle.spec.linux?.gidMappings = mapping
        bundle.spec.process?.oomScoreAdj = 77
        bundle.shell(
            "id -u; cat /proc/self/uid_map; cat /proc/sys/kernel/hostname; stat -c %u /dev/mqueue /dev/shm; "
                + "cat /proc/self/oom_score_adj; echo x > /dev/null && echo null")
        let result = try bundle.run()
        #expect(result.code == 0, "\(result.error)")
        #expect(
            result.lines.map { $0.split(separator: " ").joined(separator: " ") }
                == ["0", "0 300000 65536", "mycontainer", "0", "0", "77", "null"])
    }

    @Test("Time namespace: the boot clock is offset")
    func timeNamespace() throws {
        let bundle = try TestBundle()
        bundle.spec.linux?.namespaces?.append(RuntimeSpec.Namespace(type: "time"))
        bundle.spec.linux?.timeOffsets = ["boottime": RuntimeSpec.TimeOffset(secs: 1_000_000)]
        bundle.shell("cat /proc/uptime")
        let seconds = try bundle.run().output.split(separator: ".").first.flatMap { Int($0) } ?? 0
        #expect(seconds >= 1_000_000)
    }

    @Test("Mount options: read-only, recursive read-only, copied-up tmpfs, propagation")
    func mountOptions() throws {
        let bundle = try TestBundle()
        mkdir("\(bundle.directory)/volume", 0o755)
        bundle.mount("\(bundle.directory)/volume", on: "/plain")
        bundle.mount("\(bundle.directory)/volume", on: "/ro", ["ro", "nosuid", "noexec"])
        bundle.mount("\(bundle.directory)/volume", on: "/rro", ["rro"])
        bundle.spec.mounts?.append(
            RuntimeSpec.Mount(destination: "/etc", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "ro"]))
        bundle.shell(
            "echo a > /plain/a && echo written; echo b > /ro/b || echo refused; echo c > /rro/c || echo refused; "
                + "cat /etc/group; echo d > /etc/d || echo refused; grep ' /ro ' /proc/self/mountinfo")
        let lines = try bundle.run().lines
        #expect(lines.prefix(5) == ["written", "refused", "refused", "root:x:0:", "refused"])
        #expect(lines.last?.contains("ro,nosuid,noexec") ?? false)
        #expect(Files.read("\(bundle.directory)/volume/a") == Array("a\n".utf8))
    }

    @Test("Hooks run in order, in their namespaces, with the state on stdin; a failing one stops the start")
    func hooks() throws {
        let bundle = try TestBundle()
        let log = "\(bundle.directory)/log"
        func hook(_ name: String) -> [RuntimeSpec.Hook] {
            let script = "echo \(name) >> \(log); grep -o '\"status\":\"[a-z]*\"' >> \(log)"
            return [RuntimeSpec.Hook(path: "/bin/sh", args: ["sh", "-c", script], timeout: 10)]
        }
        bundle.spec.hooks = RuntimeSpec.Hooks(
            prestart: hook("prestart"), createRuntime: hook("createRuntime"), createContainer: hook("createContainer"),
            startContainer: [RuntimeSpec.Hook(path: "/bin/sh", args: ["sh", "-c", "echo startContainer"])],
            poststart: hook("poststart"), poststop: hook("poststop"))
        bundle.shell("echo program")
        let result = try bundle.run()
        #expect(result.output == "startContainer\nprogram\n")
        let lines = String(decoding: Files.read(log) ?? [], as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(
            lines == [
                "prestart", "\"status\":\"creating\"", "createRuntime", "\"status\":\"creating\"", "createContainer",
                "\"status\":\"creating\"", "poststart", "\"status\":\"running\"", "poststop",
                "\"status\":\"stopped\"",
            ])
        bundle.spec.hooks = RuntimeSpec.Hooks(createRuntime: [RuntimeSpec.Hook(path: "/bin/false")])
        let failed = try bundle.run()
        #expect(failed.code == 1)
        #expect(failed.error.contains("createRuntime hook /bin/false failed with exit code 1"))
        bundle.spec.hooks = RuntimeSpec.Hooks(
            createRuntime: [RuntimeSpec.Hook(path: "/bin/sleep", args: ["sleep", "1000"], timeout: 1)])
        #expect(try bundle.run().error.contains("did not end within 1 s"))
    }

    @Test("rlimits are set, and one that can't be had is an error")
    func resourceLimits() throws {
        let bundle = try TestBundle()
        bundle.spec.process?.rlimits = [RuntimeSpec.Rlimit(type: "RLIMIT_NOFILE", hard: 200, soft: 100)]
        bundle.shell("ulimit -n; ulimit -Hn")
        #expect(try bundle.run().lines == ["100", "200"])
        bundle.spec.process?.rlimits = [RuntimeSpec.Rlimit(type: "RLIMIT_NOFILE", hard: 1 << 62, soft: 100)]
        #expect(try bundle.run().error.contains("cannot set RLIMIT_NOFILE"))
    }

    @Test("A seccomp policy bites, before and after dropping privileges", arguments: [false, true])
    func seccomp(noNewPrivileges: Bool) throws {
        let bundle = try TestBundle()
        bundle.spec.process?.noNewPrivileges = noNewPrivileges
        bundle.spec.linux?.seccomp = RuntimeSpec.Seccomp(
            defaultAction: "SCMP_ACT_ALLOW",
            syscalls: [RuntimeSpec.SeccompSyscall(names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 95)])
        bundle.shell("grep Seccomp: /proc/self/status; mkdir /dev/x")
        let result = try bundle.run()
        #expect(result.lines == ["Seccomp:\t2"])
        #expect(result.error.contains("not supported"))
    }
}
