import Glibc
import LinuxKernel

/// Sizes of trees, for `ps -s` and `system df`.
struct DiskUsageWalk {
    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
        }
    }

    /// A directory that is being walked.
    private struct Level {
        let name: [UInt8]
        let identity: Identity
        /// Directories in it that have not been entered.
        var subdirectories: [[UInt8]]
    }

    private var total: Int64 = 0
    private var linked: Set<Identity> = []
    private var levels: [Level] = []

    /// Bytes of the files below `path`; hard-linked files count once, links are not followed.
    ///
    /// However deep the tree is, one directory of it is open at a time, and none of the stack is used for its levels.
    /// Who owns the tree may change it meanwhile: then the size is that of some of it.
    static func size(of path: String) -> Int64 {
        var walk = DiskUsageWalk()
        return (try? walk.run(path)) ?? walk.total
    }

    private mutating func run(_ path: String) throws(SystemError) -> Int64 {
        var current = try FileDescriptor(path, DiskUsageWalk.flags)
        try enter(current.raw, name: [])
        while !levels.isEmpty {
            if let name = levels[levels.count - 1].subdirectories.popLast() {
                guard let child = try? FileDescriptor(bytes: name, DiskUsageWalk.flags, relativeTo: current.raw),
                    (try? enter(child.raw, name: name)) != nil
                else { continue }
                current = child
                continue
            }
            levels.removeLast()
            guard let parent = levels.last else { break }
            if let above = ascend(from: current.raw, to: parent.identity) {
                current = above
            } else {
                current = try descend(path)
            }
        }
        return total
    }

    private static let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW

    /// Counts a directory's files, and makes it the deepest level.
    private mutating func enter(_ directory: Int32, name: [UInt8]) throws(SystemError) {
        var subdirectories: [[UInt8]] = []
        for name in try FileNames.list(directory) {
            var status = stat()
            guard withCString(name, { fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) }) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                subdirectories.append(name)
            } else if status.st_nlink == 1 || linked.insert(Identity(status)).inserted {
                total = total.addingClamped(Int64(status.st_size))
            }
        }
        levels.append(Level(name: name, identity: try identity(directory), subdirectories: subdirectories))
    }

    /// nil where the directory was moved or removed while it was walked.
    private func ascend(from directory: Int32, to identity: Identity) -> FileDescriptor? {
        guard let above = try? FileDescriptor("..", DiskUsageWalk.flags, relativeTo: directory),
            (try? self.identity(above.raw)) == identity
        else { return nil }
        return above
    }

    /// Goes down from the top again, as far as the levels are still where they were; the others are given up.
    private mutating func descend(_ path: String) throws(SystemError) -> FileDescriptor {
        var current = try FileDescriptor(path, DiskUsageWalk.flags)
        for depth in levels.indices.dropFirst() {
            guard
                let child = try? FileDescriptor(
                    bytes: levels[depth].name, DiskUsageWalk.flags, relativeTo: current.raw),
                try identity(child.raw) == levels[depth].identity
            else {
                levels.removeSubrange(depth...)
                break
            }
            current = child
        }
        return current
    }

    private func identity(_ directory: Int32) throws(SystemError) -> Identity {
        var status = stat()
        try checked("fstat") { fstat(directory, &status) }
        return Identity(status)
    }
}
