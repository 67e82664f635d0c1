import LinuxKernel

/// `features` (runtime-spec features.md).
enum FeatureDocument {
    private static func list(_ words: String) -> String {
        words.split(separator: " ").map { "\"\($0)\"" }.joined(separator: ", ")
    }

    private static let mountOptions =
        "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime "
        + "noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev "
        + "rdiratime relatime rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid "
        + "rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared "
        + "silent slave strictatime suid symfollow sync tmpcopyup unbindable"

    static var text: String {
        """
        {
          "ociVersionMin": "1.0.0",
          "ociVersionMax": "\(HookContext.ociVersion)",
          "hooks": [\(list("prestart createRuntime createContainer startContainer poststart poststop"))],
          "mountOptions": [\(list(mountOptions))],
          "linux": {
            "namespaces": [\(list("cgroup ipc mount network pid time user uts"))],
            "capabilities": [\(list(Capabilities.available.names.joined(separator: " ")))],
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true},
            "seccomp": {
              "enabled": true,
              "actions": [\(list(SeccompVocabulary.actions.joined(separator: " ")))],
              "operators": [\(list(SeccompVocabulary.operators.joined(separator: " ")))],
              "archs": [\(list(SeccompVocabulary.architectures.joined(separator: " ")))],
              "knownFlags": [\(list(SeccompVocabulary.flags.joined(separator: " ")))],
              "supportedFlags": [\(list(SeccompVocabulary.flags.joined(separator: " ")))]
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": false}
          },
          "annotations": {
            "io.github.seccomp.libseccomp.version": "\(SeccompVocabulary.libraryVersion)"
          },
          "potentiallyUnsafeConfigAnnotations": [\(list("org.systemd.property."))]
        }
        """
    }
}

/// What `spec` writes: runc's defaults.
enum DefaultSpec {
    private static let capabilities = "[\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"]"

    static let text = """
        {
          "ociVersion": "\(HookContext.ociVersion)",
          "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
              "bounding": \(capabilities),
              "effective": \(capabilities),
              "permitted": \(capabilities)
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
          },
          "root": {"path": "rootfs", "readonly": true},
          "hostname": "mycontainer",
          "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
          ],
          "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
              {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
              {"type": "cgroup"}
            ],
            "maskedPaths": [
              "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
              "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
          }
        }
        """
}
