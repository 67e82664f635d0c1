import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The part of setup that `start` and `exec` share: what happens to a process once it is inside the container's
/// namespaces and root.
struct ChildSetup {
    var channel: SetupChannel
    let process: RuntimeSpec.Process
    let stdio: Stdio
    let preservedDescriptors: Int32
    let noNewKeyring: Bool

    /// Puts the streams on 0, 1 and 2.
    func placeStreams(_ input: Int32, _ output: Int32, _ error: Int32) throws(StartFailure) {
        if input == 0 && output == 1 && error == 2 { return }
        try at("stdio", "cannot set up the standard streams") { () throws(SystemError) in
            // Copies first: a source may be a number that is overwritten on the way.
            let copies = try [input, output, error].map { source throws(SystemError) in
                try checked("dup") { fcntl(source, F_DUPFD_CLOEXEC, 3) }
            }
            for (number, copy) in copies.enumerated() {
                try checked("dup2") { dup2(copy, Int32(number)) }
                close(copy)
            }
        }
    }

    /// Opens a pseudo-terminal in the devpts instance, sends its master to the runtime, makes the slave the standard
    /// streams and, when `controlling`, the controlling terminal, for which the process has to be a session leader.
    /// - Returns: a detached mount of the slave, for /dev/console, when `withMount`.
    func openTerminal(
        devpts: Int32, width: UInt16, height: UInt16, withMount: Bool, controlling: Bool
    ) throws(StartFailure) -> FileDescriptor? {
        let terminal = try at("console", "cannot open a pseudo-terminal in the container") { () throws(SystemError) in
            let terminal = try PseudoTerminal(devpts: devpts)
            if width != 0 || height != 0 {
                try Terminal.setSize(terminal.master.raw, width: width, height: height)
            }
            return terminal
        }
        channel.send(.terminal, passing: terminal.master.raw)
        var tree: FileDescriptor?
        if withMount {
            tree = try at("console", "cannot bind the console") { () throws(SystemError) in
                try Mount.cloneTree("", relativeTo: terminal.slave.raw, recursive: false)
            }
        }
        try placeStreams(terminal.slave.raw, terminal.slave.raw, terminal.slave.raw)
        guard controlling else { return tree }
        try at("console", "cannot make the pseudo-terminal the controlling terminal") { () throws(SystemError) in
            try Terminal.becomeControlling(0)
        }
        return tree
    }

    /// Lets the user reopen its own streams through /proc/self/fd, unless they are device nodes of the host.
    func giveStreams(to uid: uid_t) {
        for number: Int32 in 0...2 {
            var status = stat()
            guard fstat(number, &status) == 0, status.st_uid != uid else { continue }
            if status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == clinux_makedev(1, 3) { continue }
            // A stream on a read-only or foreign filesystem stays as it is.
            fchown(number, uid, gid_t.max)
        }
    }

    /// Closes everything but the standard streams, what is to be preserved, the channel and `extra`, which move right
    /// behind: no path through /proc/self/fd leads out of the container from here on (CVE-2024-21626).
    mutating func closeDescriptors(keeping extra: inout [Int32]) throws(StartFailure) {
        do {
            let first = 3 + preservedDescriptors
            var moved: [Int32] = []
            for descriptor in [channel.descriptor] + extra {
                moved.append(try checked("dup") { fcntl(descriptor, F_DUPFD_CLOEXEC, first + 8) })
            }
            for (index, descriptor) in moved.enumerated() {
                let number = first + Int32(index)
                if descriptor != number {
                    try checked("dup3") { clinux_dup_to(descriptor, number) }
                }
            }
            try LinuxKernel.Process.closeDescriptors(from: first + Int32(moved.count))
            channel.descriptor = first
            extra = extra.indices.map { first + 1 + Int32($0) }
        } catch {
            throw StartFailure(stage: "descriptors", errno: error.errno, message: "cannot close descriptors: \(error)")
        }
    }

    /// Takes on the user's ids and capabilities, in its working directory.
    func becomeUser(_ identity: Identity, _ seccomp: SeccompFilter?) throws(StartFailure) -> Privileges {
        let entered = try enterWorkingDirectory()
        let user = Privileges(
            process: process, identity: identity, seccomp: seccomp, hostProc: -1, channel: channel)
        try user.drop()
        if !entered, case let again = try enterWorkingDirectory(), !again {
            throw StartFailure(
                stage: "chdir", errno: EACCES,
                message: "cannot change to the working directory \(process.cwd): permission denied")
        }
        try verifyWorkingDirectory()
        return user
    }

    /// Changes to the working directory.
    /// - Returns: false when the present user may not enter it (an NFS home, for example): try again as the final one.
    func enterWorkingDirectory() throws(StartFailure) -> Bool {
        let path = process.cwd.isEmpty ? "/" : process.cwd
        if chdir(path) < 0 {
            if errno == EACCES || errno == EPERM { return false }
            throw StartFailure(
                stage: "chdir", errno: errno,
                message: "cannot change to the working directory \(path): \(String(cString: strerror(errno)))")
        }
        return true
    }

    /// The working directory has to be inside the container's root, however it was reached (CVE-2024-21626).
    func verifyWorkingDirectory() throws(StartFailure) {
        let path = try at("chdir", "the working directory is outside the container's root") { () throws(SystemError) in
            try LinuxKernel.Process.workingDirectory()
        }
        guard path.hasPrefix(bytes: "/") else {
            throw StartFailure(
                stage: "chdir", errno: EPERM,
                message: "the working directory \(process.cwd) is outside the container's root: refusing to run there")
        }
    }

    func joinKeyring(_ proc: Int32) throws(StartFailure) {
        guard !noNewKeyring else { return }
        try SecurityLabels.withKeyLabel(process.selinuxLabel, proc) { () throws(StartFailure) in
            // A session keyring of its own: the host's keys stay out of reach. Kernels without keys have nothing to hide.
            if clinux_join_session_keyring(nil) < 0 && errno != ENOSYS && errno != EDQUOT && errno != EPERM {
                throw StartFailure(stage: "keyring", errno: errno, message: "cannot join a new session keyring")
            }
        }
    }
}

extension RuntimeSpec.Process {
    /// The configuration's variables, of several with one name the last, and HOME where it is absent or empty.
    func environment(home: String?) -> [String] {
        var names: Set<Substring> = []
        var environment: [String] = []
        for variable in (env ?? []).reversed() {
            let name = variable.prefix(before: "=")
            if !names.insert(name).inserted || variable == "HOME=" { continue }
            environment.append(variable)
        }
        environment.reverse()
        if !hasHome { environment.append("HOME=\(home.flatMap { $0.isEmpty ? nil : $0 } ?? "/")") }
        return environment
    }

    /// Whether its environment says where HOME is.
    var hasHome: Bool {
        guard let home = (env ?? []).last(where: { $0.hasPrefix("HOME=") }) else { return false }
        return home != "HOME="
    }
}
