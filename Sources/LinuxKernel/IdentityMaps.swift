import CLinux
import Glibc
import OCI

/// The id mappings of a user namespace (user_namespaces(7)): which ids of the host its users and groups are.
public struct IdentityMaps: Codable, Hashable, Sendable {
    public typealias Mapping = RuntimeSpec.IDMapping

    public var uids: [Mapping]
    public var gids: [Mapping]

    /// The id that stands for all that are not mapped: /proc/sys/kernel/overflowuid's default.
    public static let overflow: UInt32 = 65534
    /// UID_GID_MAP_MAX_EXTENTS of the kernel's include/linux/user_namespace.h.
    public static let maximumEntries = 340

    public init(uids: [Mapping], gids: [Mapping]) {
        self.uids = uids
        self.gids = gids
    }

    /// Every id is the host's of the same number.
    public static let identity: IdentityMaps = {
        let all = [Mapping(containerID: 0, hostID: 0, size: UInt32.max)]
        return IdentityMaps(uids: all, gids: all)
    }()

    /// Whether no id changes: files need no id-mapped mount then.
    public var isIdentity: Bool { (uids + gids).allSatisfy { $0.containerID == $0.hostID } }

    /// The host's ids of root inside; nil where root isn't mapped.
    public var root: (uid: uid_t, gid: gid_t)? {
        guard let uid = IdentityMaps.host(0, uids), let gid = IdentityMaps.host(0, gids) else { return nil }
        return (uid, gid)
    }

    public func hostUser(_ uid: uid_t) -> uid_t? { IdentityMaps.host(uid, uids) }
    public func hostGroup(_ gid: gid_t) -> gid_t? { IdentityMaps.host(gid, gids) }

    /// The user inside that a host's user is; ``overflow`` where it is none.
    public func user(ofHost uid: uid_t) -> uid_t { IdentityMaps.inside(uid, uids) ?? IdentityMaps.overflow }
    public func group(ofHost gid: gid_t) -> gid_t { IdentityMaps.inside(gid, gids) ?? IdentityMaps.overflow }

    private static func host(_ id: UInt32, _ mappings: [Mapping]) -> UInt32? {
        guard let entry = mappings.first(where: { id >= $0.containerID && id - $0.containerID < $0.size }) else {
            return nil
        }
        return sum(entry.hostID, id - entry.containerID)
    }

    private static func inside(_ id: UInt32, _ mappings: [Mapping]) -> UInt32? {
        guard let entry = mappings.first(where: { id >= $0.hostID && id - $0.hostID < $0.size }) else { return nil }
        return sum(entry.containerID, id - entry.hostID)
    }

    /// nil past the last id: the kernel refuses such a mapping, but it may be asked about before.
    private static func sum(_ first: UInt32, _ offset: UInt32) -> UInt32? {
        let (result, overflow) = first.addingReportingOverflow(offset)
        return overflow ? nil : result
    }

    /// Number of ids from 0 on without a gap.
    public static func unbroken(_ mappings: [Mapping]) -> UInt32 {
        mappings.sorted { $0.containerID < $1.containerID }.reduce(0) { end, entry in
            entry.containerID == end ? sum(end, entry.size) ?? .max : end
        }
    }
}

/// The user namespace that is to own another namespace.
public enum NamespaceOwner: Codable, Sendable, Equatable {
    /// A new one with these ids.
    case new(IdentityMaps)
    /// The one that this path names, `/proc/<pid>/ns/user`.
    case existing(String)
}

/// The ids that files are made with (credentials(7), "filesystem user ID"). A file can't be made through an id-mapped
/// mount for ids that the mount has no place for (EOVERFLOW), and the host's root is such an id.
///
/// They are the calling thread's: set and restored without a suspension in between. Capabilities stay as they are.
public enum FilesystemIdentity {
    public static func assume(uid: uid_t, gid: gid_t) throws(SystemError) {
        try checked("setfsuid \(uid)") { clinux_set_filesystem_ids(uid, gid) }
    }

    /// Root again.
    public static func restore() {
        // A thread that went on with a container's ids would do the daemon's work as them.
        if clinux_set_filesystem_ids(0, 0) != 0 { abort() }
    }
}

/// The value of `security.capability` (capabilities(7), "File capabilities"): 20 bytes that hold for every root, or 24
/// that name the root of the user namespace that they hold for.
public enum FileCapability {
    public static let attribute = "security.capability"
    private static let plainSize = 20
    private static let revisionMask: UInt32 = 0xFF00_0000
    private static let revision2: UInt32 = 0x0200_0000
    private static let revision3: UInt32 = 0x0300_0000

    /// For the namespace whose root is the host's `root`; other values as they are.
    public static func limited(_ value: [UInt8], to root: uid_t) -> [UInt8] {
        guard value.count == plainSize, word(value) & revisionMask == revision2 else { return value }
        return bytes(word(value) & ~revisionMask | revision3) + value[4...] + bytes(root)
    }

    /// As the namespace whose root is the host's `root` sees it: without naming it.
    public static func plain(_ value: [UInt8], in root: uid_t) -> [UInt8] {
        guard value.count == plainSize + 4, word(value) & revisionMask == revision3,
            value[plainSize...].elementsEqual(bytes(root))
        else { return value }
        return bytes(word(value) & ~revisionMask | revision2) + value[4..<plainSize]
    }

    private static func word(_ value: [UInt8]) -> UInt32 {
        UInt32(littleEndian: value.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) })
    }

    private static func bytes(_ word: UInt32) -> [UInt8] { withUnsafeBytes(of: word.littleEndian) { Array($0) } }
}
