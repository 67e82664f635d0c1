import Glibc

/// Room on the disk that is kept for the database alone: a container that fills the disk must not keep it from being
/// stopped and removed, which is what makes room again.
///
/// It is a file of that many bytes beside the database. When SQLite finds no room the file is emptied; when there is
/// plenty again it is filled.
struct DiskReserve {
    /// What a write-ahead log of SQLite's usual length (1000 pages) and its checkpoint take.
    static let size: Int64 = 8 << 20

    private let path: String
    private var isFilled = false

    init(path: String) {
        self.path = path
        fill()
    }

    /// Gives the room up; false when there was none.
    mutating func release() -> Bool {
        guard isFilled else { return false }
        isFilled = false
        return truncate(path, 0) == 0
    }

    /// Takes the room again where a good deal more than it is free. Costs nothing while it is held.
    mutating func fill() {
        guard !isFilled else { return }
        var status = statvfs()
        let directory = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        guard statvfs(directory.isEmpty ? "." : directory, &status) == 0,
            Int64(clamping: status.f_bavail) * Int64(clamping: status.f_frsize) > 4 * Self.size
        else { return }
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { return }
        defer { close(file) }
        isFilled = posix_fallocate(file, 0, off_t(Self.size)) == 0
        if !isFilled { ftruncate(file, 0) }
    }
}
