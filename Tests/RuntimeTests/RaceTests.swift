import CTestSupport
import Foundation
import Glibc
import LinuxKernel
import OCI
import Testing

@testable import Runtime

/// Attacks that need the right moment: another container, which shares files with the one that is being started,
/// exchanges two of them all the while. `MYCONTAINER_RACES` says how many starts are attacked each time.
@Suite(.enabled(if: TestBundle.canRun, "needs root and the built runtime"), .serialized)
struct RaceTests {
    private static let starts = ProcessInfo.processInfo.environment["MYCONTAINER_RACES"].flatMap { Int($0) } ?? 40

    /// Starts the bundle again and again while `one` and `other` are exchanged.
    private func attack(_ bundle: TestBundle, _ one: String, _ other: String) throws -> [TestBundle.Result] {
        let exchanger = test_exchanger_start(one, other)
        defer { test_exchanger_stop(exchanger) }
        return try (0..<Self.starts).map { _ in try bundle.run() }
    }

    @Test("CVE-2021-30465: a mount target in a shared volume becomes a link out of the root, and back")
    func mountTarget() throws {
        let bundle = try TestBundle()
        let volume = "\(bundle.directory)/volume"
        for path in [volume, "\(volume)/target", "\(bundle.directory)/outside", "\(bundle.directory)/inner"] {
            mkdir(path, 0o755)
        }
        symlink("\(bundle.directory)/outside", "\(volume)/link")
        bundle.mount(volume, on: "/volume")
        bundle.mount("\(bundle.directory)/inner", on: "/volume/target/deep")
        bundle.shell("cat /proc/self/mountinfo")
        let results = try attack(bundle, "\(volume)/target", "\(volume)/link")
        // Wherever the link led, it was inside: a container that ran has the mount.
        for result in results where result.code == 0 {
            #expect(result.lines.contains { $0.contains("/inner ") }, "a mount is outside: \(result.output)")
        }
        #expect(results.contains { $0.code == 0 })
        #expect(access("\(bundle.directory)/outside/deep", F_OK) != 0, "a mount point was made outside")
    }

    @Test("CVE-2022-23648, CVE-2024-45310: a part of a volume becomes a link to the host's files while it is mounted")
    func volumePart() throws {
        let bundle = try TestBundle()
        let volume = "\(bundle.directory)/volume"
        for path in [volume, "\(volume)/part", "\(bundle.directory)/outside"] { mkdir(path, 0o755) }
        try Files.write("\(volume)/part/marker", Array("inside".utf8))
        try Files.write("\(bundle.directory)/outside/marker", Array("host".utf8))
        symlink("\(bundle.directory)/outside", "\(volume)/link")
        bundle.spec.mounts?.append(
            RuntimeSpec.Mount(
                destination: "/data", type: "bind", source: volume, options: ["rbind"], subpath: "part"))
        bundle.shell("cat /data/marker")
        let results = try attack(bundle, "\(volume)/part", "\(volume)/link")
        #expect(!results.contains { $0.output.contains("host") }, "a container saw the host's files")
        #expect(results.contains { $0.output == "inside" })
        // At rest: the link is refused, the directory is what is mounted.
        _ = test_exchange("\(volume)/part", "\(volume)/link")
        let isLink = (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(volume)/part")) != nil
        #expect(try bundle.run().code == (isLink ? 1 : 0))
        _ = test_exchange("\(volume)/part", "\(volume)/link")
        #expect(try bundle.run().code == (isLink ? 0 : 1))
    }

    @Test("CVE-2025-31133, CVE-2025-52881: /proc becomes a link while it is mounted, and what is masked must stay so")
    func procfs() throws {
        let bundle = try TestBundle()
        bundle.spec.root?.readonly = false
        mkdir("\(bundle.root)/elsewhere", 0o755)
        symlink("/elsewhere", "\(bundle.root)/link")
        bundle.shell(
            """
            for d in proc link elsewhere; do
                if [ -e /$d/self/status ]; then
                    stat -c %t:%T /$d/keys
                    (echo 1 > /$d/sys/kernel/printk_ratelimit) 2>/dev/null && echo wrote
                fi
            done
            echo ended
            """)
        let results = try attack(bundle, "\(bundle.root)/proc", "\(bundle.root)/link")
        for result in results where result.code == 0 {
            let lines = result.lines
            #expect(Set(lines).isSubset(of: ["1:3", "ended"]), "unmasked: \(result.output)")
        }
        #expect(results.contains { $0.lines.contains("1:3") })
    }

    @Test("CVE-2025-52565: /dev/console and /dev/null in a shared /dev become links while a terminal is made")
    func console() throws {
        let bundle = try TestBundle()
        let devices = "\(bundle.directory)/dev"
        let secret = "\(bundle.directory)/secret"
        mkdir(devices, 0o755)
        for name in ["pts", "shm", "mqueue"] { mkdir("\(devices)/\(name)", 0o755) }
        mknod("\(devices)/null", S_IFCHR | 0o666, dev_t(1 << 8 | 3))
        close(open("\(devices)/console", O_WRONLY | O_CREAT, 0o644))
        try Files.write(secret, Array("host".utf8))
        symlink(secret, "\(devices)/link")
        bundle.spec.mounts?.removeAll { $0.destination == "/dev" }
        bundle.spec.mounts?.insert(
            RuntimeSpec.Mount(destination: "/dev", type: "bind", source: devices, options: ["rbind"]), at: 1)
        bundle.shell("stat -c %t:%T /proc/keys; cat /dev/console /dev/link /dev/null; echo ended")
        for name in ["console", "null"] {
            let results = try attack(bundle, "\(devices)/\(name)", "\(devices)/link")
            for result in results where result.code == 0 {
                #expect(!result.output.contains("host"))
                // What hides is the host's own null device, whatever /dev/null is here.
                #expect(result.lines.first == "1:3", "\(result.output)")
            }
            #expect(results.contains { $0.code == 0 })
        }
        #expect(Files.read(secret) == Array("host".utf8))
    }
}
