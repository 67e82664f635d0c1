import Glibc
import Testing

@Suite("seccomp: what a profile would refuse, and agents that decide")
struct SeccompTests {
    @Test("seccomp=audit refuses nothing, and names what the profile would have refused")
    func audit() throws {
        try withDaemon(images: ["debian"]) { daemon in
            // keyctl twice, AF_ALG, unshare of a user namespace: refused by the default profile.
            let calls =
                "syscall(250, 0, 0, 0); syscall(250, 0, 0, 0); socket(S, 38, 5, 0); print syscall(272, 0x10000000)"
            let run = try daemon.cli(
                "run", "--name", "box", "--security-opt", "seccomp=audit", "debian", "perl", "-e", calls)
            #expect(run.status == 0)
            #expect(run.output == "0", "\(run)")
            #expect(run.error.contains("seccomp audit: the profile would have refused"))
            #expect(run.error.contains("keyctl (EPERM, 2), socket (EPERM, 1), unshare (EPERM, 1)"), "\(run.error)")
            let found = try daemon.inspect("box")["SeccompAudit"].array ?? []
            let keyctl = try #require(found.first { $0["Name"].string == "keyctl" })
            #expect(keyctl["Count"].int == 2 && keyctl["Answer"].string == "EPERM")
            #expect(keyctl["Architecture"].string == "x86_64")
            let socket = try #require(found.first { $0["Name"].string == "socket" })
            #expect(socket["Arguments"].array?.first?.string == "0x26")
            let events = try daemon.must(
                "events", "--since", "1h", "--until", "0s", "--filter", "event=seccomp-audit", "--format",
                "{{.Actor.Attributes.calls}}")
            #expect(events.contains("keyctl (EPERM, 2)"))
            // The twin: without the option the same calls fail, and nothing is reported.
            let enforced = try daemon.cli("run", "--name", "plain", "debian", "perl", "-e", calls)
            #expect(enforced.output == "-1" && enforced.error.isEmpty, "\(enforced)")
            #expect(try daemon.inspect("plain")["SeccompAudit"].array == nil)
        }
    }

    @Test("An audit covers execs, own profiles and containers with dropped privileges")
    func auditOfMore() throws {
        try withDaemon(images: ["debian", "busybox"]) { daemon in
            try daemon.must(
                "run", "-d", "--name", "box", "--security-opt", "seccomp=audit", "--security-opt", "no-new-privileges",
                "-u", "1000", "debian", "sleep", "1000")
            try daemon.must("exec", "box", "perl", "-e", "syscall(321, 0, 0, 0)")
            #expect(
                try eventually {
                    try daemon.inspect("box")["SeccompAudit"].array?.contains { $0["Name"].string == "bpf" } ?? false
                })
            // A profile under which nothing could even start.
            let profile = daemon.directory + "/profile.json"
            try writeFile(
                profile,
                #"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"}]}"#
            )
            let run = try daemon.cli(
                "run", "--rm", "--security-opt", "seccomp=audit", "--security-opt", "seccomp=\(profile)", "busybox",
                "echo", "ran")
            #expect(run.output == "ran\n", "\(run)")
            #expect(run.error.contains("execve ("), "\(run.error)")
        }
    }

    @Test("A profile's agent is asked through its listenerPath, and its answer is what the program gets")
    func agent() throws {
        try withDaemon { daemon in
            let socket = daemon.directory + "/agent"
            // One container's listener; every call that it brings is answered with ENOTSUP.
            let agent = """
                import array, fcntl, json, select, socket, struct, sys
                server = socket.socket(socket.AF_UNIX)
                server.bind(sys.argv[1]); server.listen(); print("ready", flush=True)
                connection = server.accept()[0]
                message, ancillary, _, _ = connection.recvmsg(65536, 1024)
                listener = array.array("i", ancillary[0][2][:4])[0]
                state = json.loads(message.decode().rstrip("\\0"))
                print(state["metadata"], state["fds"], state["state"]["status"], flush=True)
                poll = select.poll(); poll.register(listener, select.POLLIN)
                while True:
                    if not poll.poll()[0][1] & select.POLLIN: break
                    call = bytearray(80)
                    fcntl.ioctl(listener, 0xc0502100, call)
                    fcntl.ioctl(listener, 0xc0182101, struct.pack("<QqiI", struct.unpack("<Q", call[:8])[0], 0, -95, 0))
                """
            let server = try Command(
                "/usr/bin/python3", ["-c", agent, socket], environment: ["PATH": "/usr/bin:/bin"])
            try server.waitFor("ready")
            let profile = daemon.directory + "/profile.json"
            try writeFile(
                profile,
                #"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"\#(socket)","listenerMetadata":"words","#
                    + #""syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_NOTIFY"}]}"#)
            let run = try daemon.cli(
                "run", "--rm", "--security-opt", "seccomp=\(profile)", "busybox", "sh", "-c",
                "mkdir /x; touch /y && echo made")
            #expect(run.error.contains("Operation not supported") || run.error.contains("not supported"), "\(run)")
            #expect(run.output == "made\n")
            try server.waitFor("words ['seccompFd'] creating")
            let refused = daemon.directory + "/refused.json"
            try writeFile(
                refused,
                #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#)
            let outcome = try daemon.cli("run", "--rm", "--security-opt", "seccomp=\(refused)", "busybox", "true")
            #expect(outcome.status == 125 && outcome.error.contains("listenerPath"), "\(outcome.error)")
        }
    }

    @Test("A program of i386 runs under the default profile, and socketcall is not its way to what is denied")
    func olderPrograms() throws {
        // write and exit; socketcall(SYS_SOCKET, …), whose answer is the exit code.
        let source = """
            static int call(int n, int b, int c, int d) {
                int r;
                __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(b), "c"(c), "d"(d) : "memory");
                return r;
            }
            void _start(void) {
                static int arguments[3] = {38, 5, 0};
                call(4, 1, (int)"i386\\n", 5);
                call(1, -call(102, 1, (int)arguments, 0), 0, 0);
            }
            """
        try withDaemon { daemon in
            try writeFile(daemon.directory + "/i386.c", source)
            try host(
                "cc", "-m32", "-static", "-nostdlib", "-fno-pie", "-no-pie", "-fno-stack-protector", "-w", "-o",
                daemon.directory + "/i386", daemon.directory + "/i386.c")
            let run = try daemon.cli("run", "--rm", "-v", daemon.directory + "/i386:/i386:ro", "busybox", "/i386")
            #expect(run.output == "i386\n", "\(run)")
            #expect(run.status == EPERM, "\(run)")
        }
    }
}
