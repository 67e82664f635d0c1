import EngineAPI
import LinuxKernel

/// `--userns`, parsed: docker's two values, and podman's for the rest.
enum UserNamespaceMode: Sendable, Equatable {
    /// Nothing was said: the daemon's default.
    case standard
    case host
    /// A range of the host's ids of its own.
    case auto(Auto)
    /// A namespace of its own in which every id is the host's.
    case keep
    /// Mappings as given.
    case map(IdentityMaps)
    /// Another container's, by name or id.
    case container(String)

    /// What `auto` may be told.
    struct Auto: Sendable, Equatable {
        /// Number of ids, from the container's 0 on.
        var size = Auto.defaultSize
        /// Ids that are mapped otherwise.
        var uids: [IdentityMaps.Mapping] = []
        var gids: [IdentityMaps.Mapping] = []

        /// As many as there are 16-bit ids: every account of every common image, `nobody` (65534) included.
        static let defaultSize: UInt32 = 65536
    }

    init(_ text: String) throws(EngineError) {
        let (kind, rest) = UserNamespaceMode.cut(text)
        switch (kind, rest) {
        case ("", nil): self = .standard
        case ("host", nil): self = .host
        case ("keep-id", nil), ("keep", nil): self = .keep
        case ("auto", _):
            var auto = Auto()
            try UserNamespaceMode.eachOption(rest ?? "", of: text) { name, value throws(EngineError) in
                switch name {
                case "size":
                    guard let size = UInt32(value), size > 0 else {
                        throw .invalid("invalid USER mode: \(text): size is a number of ids, for example 65536")
                    }
                    auto.size = size
                case "uidmapping": auto.uids.append(try UserNamespaceMode.mapping(value, of: text))
                case "gidmapping": auto.gids.append(try UserNamespaceMode.mapping(value, of: text))
                default:
                    throw .invalid(
                        "invalid USER mode: \(text): auto takes size, uidmapping and gidmapping, not \"\(name)\"")
                }
            }
            self = .auto(auto)
        case ("map", let options?):
            var maps = IdentityMaps(uids: [], gids: [])
            try UserNamespaceMode.eachOption(options, of: text) { name, value throws(EngineError) in
                switch name {
                case "uidmapping": maps.uids.append(try UserNamespaceMode.mapping(value, of: text))
                case "gidmapping": maps.gids.append(try UserNamespaceMode.mapping(value, of: text))
                default:
                    throw .invalid("invalid USER mode: \(text): map takes uidmapping and gidmapping, not \"\(name)\"")
                }
            }
            // One of both is enough, as for podman.
            if maps.uids.isEmpty { maps.uids = maps.gids }
            if maps.gids.isEmpty { maps.gids = maps.uids }
            try maps.validate(text)
            self = .map(maps)
        case ("container", let other?) where !other.isEmpty: self = .container(other)
        default:
            throw .invalid(
                "invalid USER mode: \(text): it is host, auto[:size=N,uidmapping=INSIDE:HOST:SIZE,gidmapping=…], "
                    + "keep-id, map:uidmapping=INSIDE:HOST:SIZE[,gidmapping=…] or container:NAME")
        }
    }

    private static func cut(_ text: String) -> (String, String?) {
        guard let colon = text.firstIndex(byte: ":") else { return (text, nil) }
        return (String(text[..<colon]), String(text[text.utf8.index(after: colon)...]))
    }

    private static func eachOption(
        _ options: String, of text: String, _ body: (String, String) throws(EngineError) -> Void
    ) throws(EngineError) {
        for option in options.split(byte: ",") {
            guard let equals = option.firstIndex(byte: "=") else {
                throw .invalid("invalid USER mode: \(text): \"\(option)\" is no name=value")
            }
            try body(String(option[..<equals]), String(option[option.utf8.index(after: equals)...]))
        }
    }

    /// `INSIDE:HOST:SIZE`
    private static func mapping(_ value: String, of text: String) throws(EngineError) -> IdentityMaps.Mapping {
        let numbers = value.split(byte: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard numbers.count == 3, let inside = numbers[0], let host = numbers[1], let size = numbers[2], size > 0,
            UInt64(inside) + UInt64(size) <= UInt64(UInt32.max), UInt64(host) + UInt64(size) <= UInt64(UInt32.max)
        else {
            throw .invalid(
                "invalid USER mode: \(text): \"\(value)\" is no mapping INSIDE:HOST:SIZE of three numbers, for example "
                    + "0:100000:65536")
        }
        return IdentityMaps.Mapping(containerID: inside, hostID: host, size: size)
    }
}

extension UserNamespaceMode.Auto {
    /// The mappings of a namespace whose own range begins at the host's id `start`.
    func maps(from start: UInt32, _ text: String) throws(EngineError) -> IdentityMaps {
        let maps = IdentityMaps(
            uids: UserNamespaceMode.Auto.fill(start, size, around: uids),
            gids: UserNamespaceMode.Auto.fill(start, size, around: gids))
        try maps.validate(text)
        return maps
    }

    /// `0..<size` from `start` on, but where the given mappings say something else.
    private static func fill(
        _ start: UInt32, _ size: UInt32, around given: [IdentityMaps.Mapping]
    ) -> [IdentityMaps.Mapping] {
        var result = given
        var next: UInt32 = 0
        for entry in given.sorted(by: { $0.containerID < $1.containerID }) where entry.containerID < size {
            if entry.containerID > next {
                result.append(.init(containerID: next, hostID: start + next, size: entry.containerID - next))
            }
            next = max(next, entry.containerID + entry.size)
        }
        if next < size { result.append(.init(containerID: next, hostID: start + next, size: size - next)) }
        return result.sorted { $0.containerID < $1.containerID }
    }
}

extension IdentityMaps {
    /// What the kernel would refuse without saying why (user_namespaces(7)).
    func validate(_ text: String) throws(EngineError) {
        for (name, mappings) in [("uid", uids), ("gid", gids)] {
            func refused(_ why: String) -> EngineError { .invalid("invalid USER mode: \(text): \(why)") }
            guard mappings.contains(where: { $0.containerID == 0 }) else {
                throw refused("the \(name) mappings leave out 0: a container has a root")
            }
            guard mappings.count <= IdentityMaps.maximumEntries else {
                throw refused("a user namespace has at most \(IdentityMaps.maximumEntries) \(name) mappings")
            }
            for (side, path) in [("container's", \Mapping.containerID), ("host's", \Mapping.hostID)] {
                let sorted = mappings.sorted { $0[keyPath: path] < $1[keyPath: path] }
                for (left, right) in zip(sorted, sorted.dropFirst())
                where right[keyPath: path] - left[keyPath: path] < left.size {
                    throw refused("the \(name) mappings have the \(side) \(name) \(right[keyPath: path]) twice")
                }
            }
        }
    }

}

extension IDMappings {
    init(_ maps: IdentityMaps) {
        self.init()
        func text(_ entry: IdentityMaps.Mapping) -> String { "\(entry.containerID):\(entry.hostID):\(entry.size)" }
        uidMap = maps.uids.map(text)
        gidMap = maps.gids.map(text)
    }
}
