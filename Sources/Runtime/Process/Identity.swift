import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Whom a process runs as.
struct Identity {
    var uid: uid_t
    var gid: gid_t
    var groups: [gid_t]
    /// Home directory from /etc/passwd, where there is an entry.
    var home: String?
    /// Whether the ids were looked up (or given as text) rather than configured by number.
    private(set) var isResolved = false

    /// Larger ids are refused: they wrap around in programs that take them as signed (CVE-2024-40635).
    static let maximumID: UInt32 = 0x7fff_ffff

    /// As configured, by number.
    init(_ user: RuntimeSpec.User) {
        uid = user.uid
        gid = user.gid
        groups = user.additionalGids ?? []
    }

    /// Resolves Docker's `user[:group]` and further groups against the root's /etc/passwd and /etc/group, by dockerd's
    /// rules: a name wins over a number, a number needs no entry, the user's own supplementary groups count only when no
    /// group is given, the primary group is among the supplementary ones (CVE-2022-36109).
    init(
        _ request: IdentityRequest, fallback: RuntimeSpec.User, root: Int32
    ) throws(StartFailure) {
        self.init(fallback)
        var memberships: [gid_t] = []
        if let text = request.user, !text.isEmpty {
            isResolved = true
            guard !text.utf8.contains(where: { $0 == 0 || $0 == 10 }) else {
                throw Self.failure("the user contains a line break")
            }
            let parts = text.split(byte: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let user = String(parts[0])
            let group = parts.count > 1 ? String(parts[1]) : ""
            let accounts = try AccountFile("etc/passwd", root: root)
            uid = 0
            gid = 0
            groups = []
            var name: String?
            if !user.isEmpty || group.isEmpty {
                let entry = try accounts.first { fields in
                    fields.count >= 4 && !user.isEmpty
                        && (String(fields[0]) == user || (fields[2] == user[...] && UInt32(fields[2]) != nil))
                }
                if let entry {
                    name = entry[0]
                    uid = try Self.id(entry[2], "the uid of \(user)")
                    gid = try Self.id(entry[3], "the gid of \(user)")
                    if entry.count > 5 { home = entry[5] }
                } else if Self.isNumber(user) {
                    uid = try Self.id(user, "the user \(user)")
                } else {
                    throw Self.failure("unable to find user \(user): no matching entries in passwd file")
                }
            }
            if !group.isEmpty {
                gid = try Self.group(group, root: root, orElse: "no matching entries in group file")
            } else if let name {
                memberships = try Self.memberships(of: name, root: root)
            }
        } else {
            let accounts = try AccountFile("etc/passwd", root: root)
            let wanted = uid
            if let entry = try accounts.first(where: { $0.count > 5 && UInt32($0[2]) == wanted }) { home = entry[5] }
        }
        groups += memberships
        for group in request.groups {
            groups.append(try Self.group(group, root: root, orElse: "no matching entries in group file"))
        }
        if !groups.contains(gid) { groups.insert(gid, at: 0) }
    }

    /// Only the home directory of a numeric user.
    mutating func findHome(root: Int32) {
        let wanted = uid
        guard let accounts = try? AccountFile("etc/passwd", root: root),
            let entry = try? accounts.first(where: { $0.count > 5 && UInt32($0[2]) == wanted })
        else { return }
        home = entry[5]
    }

    private static func memberships(of name: String, root: Int32) throws(StartFailure) -> [gid_t] {
        var gids: [gid_t] = []
        let file = try AccountFile("etc/group", root: root)
        try file.forEach { (fields: [Substring]) throws(StartFailure) in
            guard fields.count >= 4, fields[3].split(byte: ",").contains(name[...]) else { return true }
            gids.append(try id(String(fields[2]), "the gid of \(fields[0])"))
            return true
        }
        return gids
    }

    private static func group(_ text: String, root: Int32, orElse: String) throws(StartFailure) -> gid_t {
        let file = try AccountFile("etc/group", root: root)
        let entry = try file.first { fields in
            fields.count >= 3 && (String(fields[0]) == text || (fields[2] == text[...] && UInt32(fields[2]) != nil))
        }
        if let entry { return try id(entry[2], "the gid of \(text)") }
        if isNumber(text) { return try id(text, "the group \(text)") }
        throw failure("unable to find group \(text): \(orElse)")
    }

    private static func isNumber(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
    }

    private static func id(_ text: String, _ what: String) throws(StartFailure) -> UInt32 {
        guard isNumber(text), let value = UInt32(text), value <= maximumID else {
            throw failure("\(what) is not an id: uids and gids must be in range 0-\(maximumID)")
        }
        return value
    }

    private static func failure(_ message: String) -> StartFailure {
        StartFailure(stage: "user", errno: EINVAL, message: message)
    }
}

/// A passwd(5) or group(5) file of the container, read as something hostile: only a regular file inside the root, of
/// bounded size, line by line, and never waiting (a FIFO in its place: CVE-2024-9676).
struct AccountFile {
    /// More than this is refused; the largest real ones (directory services) stay below a few MiB.
    static let maximumSize = 16 << 20
    /// Longer lines are skipped.
    static let maximumLine = 64 << 10

    private let path: String
    private let bytes: [UInt8]

    /// A missing file has no entries.
    init(_ path: String, root: Int32) throws(StartFailure) {
        self.path = path
        guard let file = try Self.open(path, root) else {
            bytes = []
            return
        }
        var status = stat()
        guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw StartFailure(stage: "user", errno: EINVAL, message: "/\(path) of the image is not a regular file")
        }
        guard status.st_size <= Self.maximumSize else {
            throw StartFailure(
                stage: "user", errno: EFBIG,
                message: "/\(path) of the image is larger than \(Self.maximumSize >> 20) MiB")
        }
        var read = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < read.count {
            let count = read.withUnsafeMutableBytes {
                Glibc.read(file.raw, $0.baseAddress! + filled, $0.count - filled)
            }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            filled += count
        }
        bytes = Array(read[..<filled])
    }

    private static func open(_ path: String, _ root: Int32) throws(StartFailure) -> FileDescriptor? {
        do throws(SystemError) {
            return try RootedPath.open(path, in: root, flags: O_RDONLY | O_NONBLOCK | O_NOCTTY)
        } catch {
            if error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw StartFailure(stage: "user", errno: error.errno, message: "cannot read /\(path): \(error)")
        }
    }

    /// Calls `body` with the colon-separated fields of each line until it answers false.
    func forEach(_ body: ([Substring]) throws(StartFailure) -> Bool) throws(StartFailure) {
        for line in bytes.split(separator: 10) where line.count <= Self.maximumLine {
            let text = String(decoding: line, as: UTF8.self)
            if text.hasPrefix("#") { continue }
            if try !body(text.split(byte: ":", omittingEmptySubsequences: false)) { return }
        }
    }

    func first(where matches: ([Substring]) -> Bool) throws(StartFailure) -> [String]? {
        var found: [String]?
        try forEach { (fields: [Substring]) throws(StartFailure) in
            guard matches(fields) else { return true }
            found = fields.map(String.init)
            return false
        }
        return found
    }
}
