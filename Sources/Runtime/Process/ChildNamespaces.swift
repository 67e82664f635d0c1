import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// A pid namespace is entered by children only (setns(2)), so the runtime points its children there for one clone: that
/// saves the intermediate process which others need.
enum PidNamespace {
    /// Runs `body`, a clone, with new children going into the pid namespace among `joined`, if there is one.
    static func pointing<T: ~Copyable>(
        _ joined: [(kind: NamespaceSet, descriptor: Int32)], _ body: () throws(StartFailure) -> T
    ) throws(StartFailure) -> T {
        guard let target = joined.first(where: { $0.kind == .pid }) else { return try body() }
        let own = try at("namespace", "cannot join a pid namespace") { () throws(SystemError) in
            let own = try FileDescriptor("/proc/self/ns/pid", O_RDONLY)
            try Process.enter(target.descriptor, .pid)
            return own
        }
        // In the child this is refused and changes nothing: it is in the namespace already.
        defer { try? Process.enter(own.raw, .pid) }
        return try body()
    }
}

/// A time namespace gets its offsets before anything is in it (time_namespaces(7)): the runtime makes one for its
/// children, sets the offsets, clones and goes back.
enum TimeNamespace {
    /// Runs `body`, a clone, with new children in a time namespace with these offsets; nil: no such namespace.
    static func with<T: ~Copyable>(
        _ offsets: [String: RuntimeSpec.TimeOffset]?, _ body: () throws(StartFailure) -> T
    ) throws(StartFailure) -> T {
        guard let offsets else { return try body() }
        let own = try at("time namespace", "cannot make a time namespace") { () throws(SystemError) in
            let own = try FileDescriptor("/proc/self/ns/time", O_RDONLY)
            try Process.unshare(.time)
            return own
        }
        let caller = getpid()
        // Not in the child, which could go back as well.
        defer { if getpid() == caller { try? Process.enter(own.raw, .time) } }
        try at("time namespace", "cannot set the clock offsets") { () throws(SystemError) in
            let file = try FileDescriptor("/proc/self/timens_offsets", O_WRONLY)
            for (clock, offset) in offsets {
                let line = "\(clock) \(offset.secs ?? 0) \(offset.nanosecs ?? 0)\n"
                try checked("write timens_offsets") { write(file.raw, line, line.utf8.count) }
            }
        }
        return try body()
    }
}
