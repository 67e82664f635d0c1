import Glibc
import Testing

@Suite("Users, capabilities, namespaces and what is hidden")
struct IsolationTests {
    @Test("Every container without a network is alone in a network namespace, loopback up, run after run")
    func networkNamespaces() throws {
        try withDaemon { daemon in
            // Started at once, so that some get a namespace that was ready and some one that was not.
            let look = "readlink /proc/self/ns/net; cat /sys/class/net/lo/flags; ls /sys/class/net"
            var seen: Set<String> = [try host("readlink", "/proc/self/ns/net")]
            let names = (1...6).map { "alone\($0)" }
            for name in names {
                try daemon.must("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
            }
            for name in names + names {
                let words = try daemon.must("exec", name, "sh", "-c", look).split(separator: "\n").map(String.init)
                #expect(words[1...] == ["0x9", "lo"])
                seen.insert(words[0])
            }
            #expect(seen.count == names.count + 1)
            try daemon.must("restart", "-t", "0", names[0])
            let after = try daemon.must("exec", names[0], "readlink", "/proc/self/ns/net")
            for name in names.dropFirst() {
                #expect(try daemon.must("exec", name, "readlink", "/proc/self/ns/net") != after)
            }
        }
    }

    @Test("Users by name and number, their groups, and the refusal of unknown ones")
    func users() throws {
        try withDaemon { daemon in
            let identity = "id -u; id -g; id -G"
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", "id -u; id -g") == "0\n0")
            #expect(
                try daemon.must("run", "--rm", "-u", "1234:567", "busybox", "sh", "-c", identity) == "1234\n567\n567")
            #expect(
                try daemon.must("run", "--rm", "-u", "1234", "--group-add", "7", "busybox", "sh", "-c", identity)
                    == "1234\n0\n0 7")
            let name = try daemon.must("run", "--rm", "busybox", "sh", "-c", "sed -n '2s/:.*//p' /etc/passwd")
            if !name.isEmpty {
                #expect(try daemon.must("run", "--rm", "-u", name, "busybox", "id", "-un") == name)
            }
            for bad in ["nobody-here", "0:nogroup-here", "-1", "4294967296", "1:2:3"] {
                let outcome = try daemon.cli("run", "--rm", "-u", bad, "busybox", "true")
                #expect(outcome.status == 125 || outcome.status == 126, "user \(bad): \(outcome)")
            }
        }
    }

    @Test("Capabilities are docker's default set, and can be added and dropped")
    func capabilities() throws {
        try withDaemon { daemon in
            let effective = "sed -n 's/^CapEff:.//p' /proc/self/status"
            let standard: UInt64 = 0xa804_25fb
            #expect(
                try daemon.must("run", "--rm", "busybox", "sh", "-c", effective) == String(repeating: "0", count: 8)
                    + String(standard, radix: 16))
            #expect(
                try daemon.must("run", "--rm", "--cap-drop", "ALL", "busybox", "sh", "-c", effective)
                    == String(repeating: "0", count: 16))
            let network = try daemon.must(
                "run", "--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", effective)
            #expect(UInt64(network, radix: 16) == 1 << 12)
            let user = try daemon.must("run", "--rm", "-u", "1", "busybox", "sh", "-c", effective)
            #expect(UInt64(user, radix: 16) == 0)
            let inheritable = "sed -n 's/^CapInh:.//p' /proc/self/status"
            #expect(UInt64(try daemon.must("run", "--rm", "busybox", "sh", "-c", inheritable), radix: 16) == 0)
        }
    }

    @Test("Namespaces are the container's own; host and container: share them")
    func namespaces() throws {
        try withDaemon { daemon in
            let list = "for n in ipc mnt net pid uts cgroup; do readlink /proc/self/ns/$n; done"
            let inside = Set(try daemon.must("run", "--rm", "busybox", "sh", "-c", list).split(separator: "\n"))
            let outside = Set(try host("sh", "-c", list).split(separator: "\n"))
            #expect(inside.count == 6)
            #expect(inside.isDisjoint(with: outside))
            let closed = try daemon.must("run", "-d", "busybox", "sleep", "1000")
            let refused = try daemon.cli("run", "--rm", "--ipc", "container:" + closed, "busybox", "true")
            #expect(refused.status == 125)
            #expect(refused.error.contains("non-shareable IPC"))
            try daemon.must("run", "-d", "--name", "other", "--ipc", "shareable", "busybox", "sleep", "1000")
            for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
                let shared = try daemon.must(
                    "run", "--rm", flag, "container:other", "busybox", "readlink", "/proc/self/ns/\(kind)")
                let theirs = try daemon.must("exec", "other", "readlink", "/proc/self/ns/\(kind)")
                #expect(shared == theirs, "\(flag)")
            }
            let pid = try daemon.must("run", "--rm", "--pid", "host", "busybox", "readlink", "/proc/self/ns/pid")
            #expect(pid == (try host("readlink", "/proc/self/ns/pid")))
            // The host need not have mounted its message queues anywhere.
            let ipc = try daemon.must(
                "run", "--rm", "--ipc", "host", "busybox", "sh", "-c",
                "readlink /proc/self/ns/ipc; grep -o ' /dev/mqueue mqueue ' /proc/mounts")
            let ours = try host("readlink", "/proc/self/ns/ipc")
            #expect(ipc == ours + "\n /dev/mqueue mqueue ")
            let mapped = try daemon.must(
                "run", "--rm", "--ipc", "host", "--userns", "auto", "busybox", "readlink", "/proc/self/ns/ipc")
            #expect(mapped == ours)
            #expect(try daemon.must("run", "--rm", "--uts", "host", "busybox", "hostname") == host("hostname"))
            #expect(try daemon.must("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo")
        }
    }

    @Test("No descriptor of the host reaches the program, run or exec")
    func descriptors() throws {
        try withDaemon { daemon in
            let list = "for f in /proc/self/fd/*; do echo ${f##*/}; done"
            // The shell itself has the directory open while it lists it.
            let expected = try host("sh", "-c", "busybox sh -c '\(list)' </dev/null | sort -n | head -4")
            _ = expected
            try daemon.must("run", "-d", "--name", "box", "busybox", "sleep", "1000")
            for outcome in [
                try daemon.must("run", "--rm", "busybox", "ls", "/proc/self/fd"),
                try daemon.must("exec", "box", "ls", "/proc/self/fd"),
            ] {
                #expect(outcome == "0\n1\n2\n3", "\(outcome)")
            }
            let reaper = try daemon.must(
                "exec", "box", "sh", "-c", "ls -l /proc/1/fd | grep -v -e 'total' | sed 's/.* -> //'")
            for target in reaper.split(separator: "\n") {
                #expect(
                    target.hasPrefix("pipe:") || target.hasPrefix("/dev/") || target.hasPrefix("socket:"), "\(target)")
            }
        }
    }

    @Test("Kernel files are masked or read-only, and not with --privileged")
    func maskedPaths() throws {
        try withDaemon { daemon in
            #expect(try daemon.cli("run", "--rm", "busybox", "sh", "-c", "echo 1 >/proc/sys/kernel/sysrq").status == 1)
            // Those that this kernel has; an empty list would prove nothing.
            let masked = "/proc/kcore /proc/keys /proc/timer_list"
            #expect(try host("sh", "-c", "ls \(masked) 2>/dev/null || :").isEmpty == false)
            let content = "for f in \(masked); do [ ! -e $f ] || head -c 10 $f; done; echo end"
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", content) == "end")
            #expect(try daemon.cli("run", "--rm", "busybox", "mount", "-t", "tmpfs", "none", "/tmp").status == 1)
            try daemon.must("run", "--rm", "--privileged", "busybox", "mount", "-t", "tmpfs", "none", "/tmp")
            let cgroup = try daemon.cli(
                "run", "--rm", "busybox", "sh", "-c", "mkdir $(find /sys/fs/cgroup -type d | tail -1)/x")
            #expect(cgroup.status == 1, "a cgroup could be made inside")
        }
    }

    @Test("seccomp and no-new-privileges are on by default and as asked")
    func seccomp() throws {
        try withDaemon { daemon in
            let mode = "sed -n 's/^Seccomp:.//p' /proc/self/status"
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", mode) == "2")
            #expect(
                try daemon.must("run", "--rm", "--security-opt", "seccomp=unconfined", "busybox", "sh", "-c", mode)
                    == "0")
            let flag = "sed -n 's/^NoNewPrivs:.//p' /proc/self/status"
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", flag) == "0")
            #expect(
                try daemon.must("run", "--rm", "--security-opt", "no-new-privileges", "busybox", "sh", "-c", flag)
                    == "1")
            let profile = daemon.directory + "/profile.json"
            let text =
                #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#
            try writeFile(profile, text)
            let refused = try daemon.cli(
                "run", "--rm", "--security-opt", "seccomp=\(profile)", "busybox", "sh", "-c",
                "mkdir /x; echo $?; touch /y; echo $?")
            #expect(refused.output == "1\n0\n")
            let missing = try daemon.cli("run", "--rm", "--security-opt", "seccomp=/no/such/file", "busybox", "true")
            #expect(missing.status == 125)
        }
    }

    @Test("ulimits, sysctls and the OOM score are as asked; a sysctl that is not namespaced is refused")
    func smallSettings() throws {
        try withDaemon { daemon in
            #expect(
                try daemon.must(
                    "run", "--rm", "--ulimit", "nofile=123:456", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn")
                    == "123\n456")
            #expect(
                try daemon.must(
                    "run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "cat",
                    "/proc/sys/net/ipv4/ip_forward")
                    == "1")
            let refused = try daemon.cli("run", "--rm", "--sysctl", "kernel.sysrq=1", "busybox", "true")
            #expect(refused.status == 125)
            #expect(refused.error.contains("kernel.sysrq"))
            #expect(
                try daemon.must("run", "--rm", "--oom-score-adj", "500", "busybox", "cat", "/proc/self/oom_score_adj")
                    == "500")
        }
    }

    @Test("SELinux: without it :z and :Z are accepted and mean nothing, and what else is asked of it is answered")
    func relabeling() throws {
        try withDaemon { daemon in
            try host("mkdir", daemon.directory + "/shared")
            for option in ["z", "ro,Z", "z,ro"] {
                let outcome = try daemon.cli(
                    "run", "--rm", "-v", "\(daemon.directory)/shared:/x:\(option)", "busybox", "ls", "/x")
                #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome)")
            }
            let asked = try daemon.cli("create", "--name", "box", "--security-opt", "label=type:box_t", "busybox")
            #expect(asked.status == 0 && asked.error.contains("SELinux is not enabled on this host: label=type:box_t"))
            #expect(try daemon.inspect("box")["ProcessLabel"].string == "")
            let disabled = try daemon.cli("create", "--security-opt", "label=disable", "busybox")
            #expect(disabled.status == 0 && disabled.error.isEmpty, "\(disabled)")
        }
    }

    @Test("Devices: the standard ones, one asked for, none else")
    func devices() throws {
        try withDaemon { daemon in
            let standard =
                "for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo $d; done; head -c 4 /dev/zero | wc -c"
            #expect(try daemon.must("run", "--rm", "busybox", "sh", "-c", standard) == "4")
            // The node can be made (CAP_MKNOD is in the default set), but not opened.
            let open = "mknod /dev/x b 7 0 && dd if=/dev/x of=/dev/null bs=1 count=1"
            let refused = try daemon.cli("run", "--rm", "busybox", "sh", "-c", open)
            #expect(refused.status == 1)
            #expect(refused.error.contains("not permitted"), "\(refused.error)")
            if exists("/dev/loop0") {
                let allowed = try daemon.cli(
                    "run", "--rm", "--device", "/dev/loop0:/dev/x", "busybox", "sh", "-c", "[ -b /dev/x ] && : </dev/x")
                #expect(allowed.status == 0, "\(allowed.error)")
            }
        }
    }
}
