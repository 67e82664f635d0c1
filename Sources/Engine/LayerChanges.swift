import EngineAPI
import Glibc
import ImageStore
import LinuxKernel

/// Differences of an overlay's upper directory to the layers beneath it (overlayfs.rst, "whiteouts and opaque
/// directories").
enum LayerChanges {
    /// Made for what is mounted in every container.
    private static let ownMountPoints = Set(MountPointLayer.directories + MountPointLayer.files)

    /// Leaves out what only exists because something is mounted on it, and directories changed by nothing else.
    static func withoutMountPoints(_ changes: [FilesystemChange], _ mounts: [String]) -> [FilesystemChange] {
        let made = ownMountPoints.union(mounts)
        let kept = changes.filter { $0.kind != 1 || !made.contains($0.path) }
        let parents = Set(made.map(Paths.parent))
        return kept.filter { change in
            change.kind != 0 || !parents.contains(change.path)
                || kept.contains { $0.path.hasPrefix(change.path + "/") }
        }
    }

    /// What differs below the directory `upper`, each directory's own change before those of its content.
    /// - Parameter image: the same directory in the image.
    static func collect(_ upper: Int32, image: Int32) throws -> [FilesystemChange] {
        let limits = UnpackLimits.standard
        var changes: [FilesystemChange] = []
        // No recursion: a container may nest thousands of directories.
        var levels = [try Level(FileDescriptor(".", Level.flags, relativeTo: upper), [], of: image, ".".utf8)]
        while let level = levels.last {
            guard let name = level.names.popLast() else {
                levels.removeLast()
                continue
            }
            let path = level.path + [UInt8(ascii: "/")] + name
            guard levels.count <= limits.pathDepth, path.count <= limits.pathBytes else {
                throw EngineError.invalid(
                    "the path \(printable(path)) is too long: at most \(limits.pathDepth) components and "
                        + "\(limits.pathBytes) bytes are compared")
            }
            guard let status = look(at: name, in: level.upper.raw) else { continue }
            let text = String(decoding: path, as: UTF8.self)
            if status.st_mode & S_IFMT == S_IFCHR, status.st_rdev == 0 {
                changes.append(FilesystemChange(kind: 2, path: text))
                continue
            }
            let isOld = level.image >= 0 && look(at: name, in: level.image) != nil
            changes.append(FilesystemChange(kind: isOld ? 0 : 1, path: text))
            if status.st_mode & S_IFMT == S_IFDIR,
                let upper = try? FileDescriptor(bytes: name, Level.flags, relativeTo: level.upper.raw)
            {
                levels.append(try Level(upper, path, of: level.image, name))
            }
        }
        return changes
    }

    private static func look(at name: [UInt8], in directory: Int32) -> stat? {
        var status = stat()
        return withCString(name) { fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) } == 0 ? status : nil
    }

    /// A directory whose changes are being collected.
    private final class Level {
        static let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW

        let upper: FileDescriptor
        /// The same directory in the image; -1 where it has none.
        let image: Int32
        let path: [UInt8]
        /// What is still to be looked at, the next one last.
        var names: [[UInt8]]

        init(
            _ upper: consuming FileDescriptor, _ path: [UInt8], of image: Int32, _ name: some Collection<UInt8>
        ) throws(SystemError) {
            self.upper = upper
            self.path = path
            self.image = image < 0 ? -1 : withCString(name) { openat(image, $0, Level.flags | O_CLOEXEC) }
            names = try FileNames.list(self.upper.raw).sorted { $1.lexicographicallyPrecedes($0) }
        }

        deinit { if image >= 0 { close(image) } }
    }
}
