import Glibc
import LinuxKernel

/// libnftables, which makes one transaction of each text it is given: all of it holds, or nothing.
///
/// A context is not thread safe, so its owner keeps it behind a lock. It talks to the network namespace that the thread
/// which made it was in.
struct Nftables: ~Copyable {
    private let library: NftablesLibrary
    private let context: NftablesLibrary.Context
    private let thread: SeparateThread

    /// - Parameter taskName: what the kernel's notifications will call the thread that made a change; at most 15 bytes.
    init(taskName: String) throws(NetworkingError) {
        try Nftables.probe()
        let library = try NftablesLibrary()
        let thread = try SeparateThread(name: taskName)
        // Without a netlink socket of this family libnftables ends the process; it was probed just now.
        let context = thread.run { () -> NftablesLibrary.Context? in
            guard let context = library.makeContext(NftablesLibrary.defaultFlags) else { return nil }
            // Otherwise it writes to the daemon's standard output and error.
            if library.bufferOutput(context) == 0, library.bufferErrors(context) == 0 { return context }
            library.freeContext(context)
            return nil
        }
        guard let context else {
            thread.stop()
            throw NetworkingError(.system, "libnftables makes no context: not enough memory")
        }
        self.library = library
        self.context = context
        self.thread = thread
    }

    deinit {
        let (library, context) = (library, context)
        thread.run { library.freeContext(context) }
        thread.stop()
    }

    /// Runs nft's own language, see nft(8).
    ///
    /// - Returns: what `list` wrote.
    /// - Throws: `.system` with libnftables' first complaint.
    @discardableResult
    borrowing func run(_ script: String) throws(NetworkingError) -> String {
        let (library, context) = (library, context)
        let (output, complaint) = thread.run { () -> (String, String?) in
            let result = library.run(context, script)
            let complaint = library.errors(context).map { String(cString: $0) } ?? ""
            let output = library.output(context).map { String(cString: $0) } ?? ""
            return (output, result == 0 ? nil : complaint)
        }
        if let complaint { throw Nftables.explain(complaint) }
        return output
    }

    /// Asks the kernel for the ruleset's generation, which every kernel with nftables answers.
    private static func probe() throws(NetworkingError) {
        do throws(SystemError) {
            let socket = try NetfilterSocket(groups: 0)
            try socket.requestGeneration()
        } catch {
            throw explain(error)
        }
    }

    /// What the probe's failure means.
    static func explain(_ error: SystemError) -> NetworkingError {
        switch error.errno {
        case EPERM, EACCES:
            NetworkingError(
                .system,
                "nftables is not permitted to this process, which needs CAP_NET_ADMIN in its network namespace: start"
                    + " mycontainerd as root")
        case EPROTONOSUPPORT, EAFNOSUPPORT, EINVAL, EOPNOTSUPP, ENOENT:
            NetworkingError(
                .system,
                "this host's kernel has no nftables, which container networks need: load it (modprobe nf_tables), use"
                    + " a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, or use --network host or none")
        default: NetworkingError(.system, "nftables can't be reached: \(error)")
        }
    }

    /// libnftables says where in its input something went wrong, and then `Error: what`.
    static func explain(_ complaint: String) -> NetworkingError {
        let lines = complaint.split(separator: "\n").map(String.init)
        var reason = lines.first { $0.contains("Error: ") } ?? lines.first ?? "no reason given"
        if let start = reason.range(ofText: "Error: ") { reason = String(reason[start...]) }
        if reason.hasSuffix("Operation not supported") || reason.hasSuffix("Protocol not supported") {
            reason +=
                " (the kernel lacks a part of nftables: CONFIG_NF_TABLES_INET, NFT_NAT, NFT_MASQ, NFT_CT or NFT_FIB_INET)"
        }
        return NetworkingError(.system, "nftables refused the rules: \(reason)")
    }
}

extension String {
    /// The index behind the first occurrence of `text`.
    fileprivate func range(ofText text: String) -> Index? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(text) { return self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}
