import EngineAPI
import LinuxKernel

/// The user namespace of a container.
enum ContainerUserNamespace: Sendable, Equatable {
    case host
    case own(IdentityMaps)
    /// Another container's, by id.
    case shared(String, IdentityMaps)

    /// The container that has to run.
    var neededContainers: [String] {
        if case .shared(let other, _) = self { [other] } else { [] }
    }

    var maps: IdentityMaps? {
        switch self {
        case .host: nil
        case .own(let maps), .shared(_, let maps): maps
        }
    }
}

extension Engine {
    /// Settles a new container's own user namespace, after its references to others have become ids.
    ///
    /// - Returns: its mappings, nil where it has none of its own, and the range that was taken for it.
    func settleUserNamespace(
        _ id: String, _ host: HostConfig, _ modes: NamespaceModes
    ) throws(EngineError) -> (maps: IdentityMaps?, range: IdentityRanges.Range?) {
        let said = try UserNamespaceMode(host.usernsMode)
        let isImplied = said == .standard
        var text = host.usernsMode
        var mode = said
        if isImplied {
            // What is joined belongs to its user namespace: there is nothing to decide.
            if !modes.neededContainers.isEmpty { return (nil, nil) }
            text = configuration.userNamespaces
            mode = try UserNamespaceMode(text)
        }
        switch mode {
        case .standard, .host, .container: return (nil, nil)
        case .auto, .keep, .map: break
        }
        try UserNamespaceRules.validate(modes, mode: text, isImplied: isImplied)
        switch mode {
        case .keep: return (.identity, nil)
        case .map(let maps): return (maps, nil)
        case .auto(let auto):
            let range = try identityRanges.allocate(auto.size, for: id)
            do throws(EngineError) {
                return (try auto.maps(from: range.lowerBound, text), range)
            } catch {
                identityRanges.release(id)
                throw error
            }
        case .standard, .host, .container: return (nil, nil)
        }
    }

    /// The user namespace of a container: its own, or that of the one whose network, processes or IPC it joins.
    func userNamespace(of record: ContainerRecord) throws(EngineError) -> ContainerUserNamespace {
        // One that joins a container which joins another: as many steps as there are kinds of namespaces, and no circle.
        try userNamespace(of: record, steps: 8)
    }

    /// What is to own the network of a container that starts.
    func owner(_ userNamespace: ContainerUserNamespace) throws(EngineError) -> NamespaceOwner? {
        switch userNamespace {
        case .host: return nil
        case .own(let maps): return .new(maps)
        case .shared(let other, _):
            guard let run = try registry.resolve(other).lifecycle.run else {
                throw .conflict("container \(other) is not running: the user namespace is joined with it")
            }
            return .existing("/proc/\(run.pid)/ns/user")
        }
    }

    private func userNamespace(of record: ContainerRecord, steps: Int) throws(EngineError) -> ContainerUserNamespace {
        if let maps = record.document.identities { return .own(maps) }
        var joined: [String] = []
        switch try UserNamespaceMode(record.hostConfig.usernsMode) {
        case .container(let other): joined = [other]
        case .standard: joined = try NamespaceModes(record.hostConfig).neededContainers
        default: return .host
        }
        var found: ContainerUserNamespace?
        for other in joined where steps > 0 {
            let owner = try registry.resolve(other).record
            var theirs = try userNamespace(of: owner, steps: steps - 1)
            if case .own(let maps) = theirs { theirs = .shared(owner.id, maps) }
            if let found, found != theirs {
                throw .conflict(
                    "the containers \(joined.joined(separator: " and ")) have different user namespaces, and what is "
                        + "joined has to belong to one: join one of them only, or add --userns host")
            }
            found = theirs
        }
        return found ?? .host
    }
}

/// What a user namespace of its own is incompatible with: docker's rules, which are the kernel's.
enum UserNamespaceRules {
    static func validate(_ modes: NamespaceModes, mode: String, isImplied: Bool) throws(EngineError) {
        let advice =
            isImplied ? "add --userns host, or leave that out" : "leave --userns \(mode) out, or that"
        for (kind, name) in [(modes.network, "network"), (modes.pid, "PID"), (modes.ipc, "IPC")] {
            switch kind {
            case .host where name == "IPC": continue
            case .host:
                throw .invalid(
                    "cannot share the host's \(name) namespace when user namespaces are enabled: \(advice)")
            case .container(let other):
                throw .invalid(
                    "cannot share the \(name) namespace of container \(other) with a user namespace of its own: it "
                        + "belongs to that container's; \(advice)")
            case .own: continue
            }
        }
    }

    /// What `--privileged` can't give to a container in a user namespace, for the warning.
    static let privilegedWarning =
        "Privileged mode in a user namespace has every capability over what belongs to the container, and none over the "
        + "host: no device of the host is added (--device adds one), no disk can be mounted, no kernel module loaded and "
        + "no host-wide setting changed. Use --userns host for those."
}
