import EngineAPI
import Glibc
import ImageStore
import LinuxKernel
import MonitorProtocol
import OCI

extension Engine {
    /// Gives `body` the root of a container's file system: of a running one the root it sees, from its monitor; of a
    /// stopped one a detached mount of its layers, while nothing can start it.
    ///
    /// What a running container in a user namespace has shows the host's ids: `body` is told the mappings, and makes
    /// files as the container's root. On disk, where a stopped one is looked at, ids are the container's own.
    private func withRoot<T: Sendable>(
        of container: Container, _ body: @Sendable (OwnedDescriptor, IdentityMaps?) throws -> T
    ) async throws -> T {
        if container.lifecycle.run != nil, let run = container.activeRun {
            guard let root = try await run.monitor.request(.rootfs).descriptor else {
                throw EngineError.internal("the container's monitor gave no root")
            }
            guard let maps = try userNamespace(of: container.record).maps, !maps.isIdentity, let owner = maps.root
            else {
                return try body(root, nil)
            }
            try FilesystemIdentity.assume(uid: owner.uid, gid: owner.gid)
            defer { FilesystemIdentity.restore() }
            return try body(root, maps)
        }
        return try await container.queue.run {
            if container.isRemoved { throw EngineError.notFound("No such container: \(container.id)") }
            guard container.lifecycle.run == nil else {
                throw EngineError.conflict("container \(container.id) was started meanwhile: try again")
            }
            let record = container.record
            let directory = self.paths.container(record.id)
            let mounted = try RootFilesystem.container(
                lower: self.lowerDirectories(record), upper: directory + "/upper", work: directory + "/work")
            return try body(mounted.intoDescriptor(), nil)
        }
    }

    /// Where a path of a container lies: in its root, or, while nothing is mounted because it doesn't run, in the volume
    /// or host directory that would be mounted there.
    private func withPlace<T: Sendable>(
        of container: Container, path: String, _ body: @Sendable (OwnedDescriptor, String, IdentityMaps?) throws -> T
    ) async throws -> T {
        let clean = Paths.clean("/" + path)
        let record = container.record
        if record.lifecycle.run == nil {
            let mount = record.document.mounts
                .filter { $0.point.type != "tmpfs" && Paths.isInside(clean, $0.point.destination) }
                .max { $0.point.destination.utf8.count < $1.point.destination.utf8.count }
            let holder = "copying-\(Identifier.random())"
            let volume = mount.flatMap { volumeManager.volume($0.point.name) }
            if let volume { try volumeManager.mounts.hold(volume, volumeManager.dataPath(volume.name), by: holder) }
            defer {
                if let volume {
                    volumeManager.mounts.release(volume.name, volumeManager.dataPath(volume.name), by: holder)
                }
            }
            if let mount, let source = try mountSources(record)[mount.point.destination],
                let root = try? OwnedDescriptor(source.open(O_RDONLY | O_DIRECTORY))
            {
                let rest = String(clean.dropFirst(mount.point.destination.utf8.count))
                return try body(root, rest.isEmpty ? "/" : rest, nil)
            }
        }
        return try await withRoot(of: container) { try body($0, clean, $1) }
    }

    /// What the container changed against its image.
    public func containerChanges(_ id: String) async throws -> [FilesystemChange] {
        let container = try registry.resolve(id)
        return try await perform {
            let record = container.record
            let lower = self.imageStore.lowerDirectories(
                chainID: record.document.chainID.flatMap { OCI.Digest(hex: $0) })
            let image = try RootFilesystem.image(lower: lower)
            let upper = try FileDescriptor(self.paths.container(record.id) + "/upper", O_RDONLY | O_DIRECTORY)
            return LayerChanges.withoutMountPoints(
                try LayerChanges.collect(upper.raw, image: image.mount.raw),
                record.document.mounts.map(\.point.destination))
        }
    }

    /// Writes the container's file system as a tar archive to `descriptor`. In the place of what is mounted in it is
    /// what the mount covers, empty.
    public func exportContainer(_ id: String, to descriptor: Int32) async throws {
        let container = try registry.resolve(id)
        try await perform {
            let record = container.record
            let layers = CoveredFiles(
                directories: [self.paths.container(record.id) + "/upper"] + self.lowerDirectories(record))
            try await self.withRoot(of: container) { root, identities in
                let packer = TarPacker(
                    output: descriptor, purpose: .export(beneath: layers.status), identities: identities)
                let directory = try RootedPath.open("/", in: root.raw, flags: O_RDONLY | O_DIRECTORY)
                try packer.addContents(of: directory.raw)
                try packer.finish()
            }
            self.post(container.record, "export")
        }
    }

    /// What is at a path of the container; the last component is not followed.
    public func archiveStat(_ id: String, path: String) async throws -> PathStat {
        let container = try registry.resolve(id)
        return try await perform {
            try await self.withPlace(of: container, path: path) { root, inside, _ in
                let place = try ArchivePlace(root.raw, inside, original: path, container: container.id)
                return place.stat(of: path)
            }
        }
    }

    /// Writes what is at `path` as a tar archive to `descriptor`, under its last component's name.
    public func archiveGet(_ id: String, path: String, to descriptor: Int32) async throws {
        let container = try registry.resolve(id)
        try await perform {
            try await self.withPlace(of: container, path: path) { root, inside, identities in
                let place = try ArchivePlace(root.raw, inside, original: path, container: container.id)
                let packer = TarPacker(output: descriptor, purpose: .copy, identities: identities)
                let base = ArchivePlace.base(of: path)
                try packer.add(place.name, in: place.parent.raw, as: base == "/" ? "." : base)
                try packer.finish()
            }
            self.post(container.record, "archive-path")
        }
    }

    /// Unpacks the tar archive (possibly compressed) read from `descriptor` into the directory `path`.
    public func archivePut(
        _ id: String, path: String, from descriptor: Int32, options: ArchiveOptions
    ) async throws {
        let container = try registry.resolve(id)
        try await perform {
            let record = container.record
            let clean = Paths.clean("/" + path)
            let mount = record.document.mounts.filter { Paths.isInside(clean, $0.point.destination) }
                .max { $0.point.destination.utf8.count < $1.point.destination.utf8.count }
            if let mount, !mount.point.rw { throw EngineError.invalid("mounted volume is marked read-only") }
            if mount == nil, record.hostConfig.readonlyRootfs {
                throw EngineError.invalid("container rootfs is marked read-only")
            }
            try await self.withPlace(of: container, path: path) { root, inside, identities in
                do throws(SystemError) {
                    _ = try RootedPath.open(inside, in: root.raw, flags: O_RDONLY | O_DIRECTORY)
                } catch {
                    guard error.errno == ENOENT else {
                        throw EngineError.invalid("extraction point is not a directory")
                    }
                    throw EngineError.notFound("Could not find the file \(path) in container \(container.id)")
                }
                try ArchiveExtraction(
                    root: root.raw, path: inside, owner: options.copyOwners ? Engine.owner(record.config.user) : nil,
                    keepsKinds: options.noOverwriteDirectoryWithFile, identities: identities
                ).extract(from: descriptor, spool: self.paths.graveyard)
            }
            self.post(record, "extract-to-dir")
        }
    }
}

extension Engine {
    /// The ids of a container's user where they are numbers; names are only known inside.
    private static func owner(_ user: String) -> (uid: UInt32, gid: UInt32)? {
        let ids = user.split(byte: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard (1...2).contains(ids.count), let uid = ids[0], let gid = ids[ids.count - 1] else { return nil }
        return (uid, gid)
    }
}

/// The directories of an overlay, uppermost first, for what mounts in the container cover.
struct CoveredFiles: Sendable {
    let directories: [String]

    /// What is at a path, links not followed; nil where it can't be told.
    @Sendable func status(_ path: TarPacker.Name) -> stat? {
        let path = String(decoding: path, as: UTF8.self)
        for directory in directories {
            guard let root = try? FileDescriptor(directory, O_RDONLY | O_DIRECTORY),
                let found = try? RootedPath.locate(path, in: root.raw, followLinks: false)
            else { continue }
            var status = stat()
            if fstat(found.raw, &status) == 0 { return status }
        }
        return nil
    }
}

/// The last component of a path in a container, through the descriptor of its directory.
struct ArchivePlace {
    let parent: OwnedDescriptor
    /// `.` for a root, and where the path asks to follow (`dir/`, `dir/.`).
    let name: String
    private let status: stat

    init(_ root: Int32, _ path: String, original: String, container: String) throws(EngineError) {
        let follows = path == "/" || original.hasSuffix("/") || original.hasSuffix("/.")
        do throws(SystemError) {
            let directory = OwnedDescriptor(
                try RootedPath.open(
                    follows ? path : Paths.parent(path), in: root, flags: O_RDONLY | O_DIRECTORY))
            let last = follows ? "." : Paths.name(path)
            var found = Glibc.stat()
            try checked("stat") { fstatat(directory.raw, last, &found, AT_SYMLINK_NOFOLLOW) }
            parent = directory
            name = last
            status = found
        } catch {
            guard [ENOENT, ENOTDIR, ELOOP].contains(error.errno) else { throw .internal("\(error)") }
            throw .notFound("Could not find the file \(original) in container \(container)")
        }
    }

    func stat(of path: String) -> PathStat {
        var result = PathStat()
        result.name = ArchivePlace.base(of: path)
        result.size = Int64(status.st_size)
        result.mode = GoFileMode.from(status.st_mode)
        result.mtime = Timestamp.format(
            Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec))
        if status.st_mode & S_IFMT == S_IFLNK {
            var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            let count = readlinkat(parent.raw, name, &target, Int(PATH_MAX))
            let text = String(decoding: target[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            result.linkTarget = text.hasPrefix(bytes: "/") ? Paths.clean(text) : Paths.join(Paths.parent(path), text)
        }
        return result
    }

    /// Go's `filepath.Base` of the cleaned path; `.` for the inside of a directory (`dir/.`).
    static func base(of path: String) -> String {
        if path.hasSuffix("/.") { return "." }
        let clean = Paths.clean("/" + path)
        return clean == "/" ? "/" : Paths.name(clean)
    }
}
