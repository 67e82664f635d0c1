import CLinux
import EngineAPI
import Glibc
import ImageStore
import LinuxKernel

extension Engine {
    /// Settles every mount of a new container: volumes are made and filled from the image, bind sources looked at.
    func settleMounts(
        _ config: inout ContainerConfig, _ host: HostConfig, image: Image, newVolumes: inout [String]
    ) throws -> [AttachedMount] {
        var requests = try ownRequests(host)
        try inherited(host, &requests)
        for destination in (config.volumes ?? [:]).keys.sorted() {
            guard destination.hasPrefix(bytes: "/") else {
                throw EngineError.invalid(
                    "invalid volume specification: '\(destination)': mount path must be absolute")
            }
            let clean = Paths.clean(destination)
            if clean == "/" || requests.contains(where: { $0.destination == clean }) { continue }
            requests.append(MountRequest(kind: .volume, source: "", destination: clean))
        }
        var mounts: [AttachedMount] = []
        for request in requests {
            mounts.append(try settle(request, host, image: image, newVolumes: &newVolumes))
        }
        return mounts
    }

    /// What the request itself asks for: `-v`, `--mount` and `--tmpfs`.
    private func ownRequests(_ host: HostConfig) throws(EngineError) -> [MountRequest] {
        var requests: [MountRequest] = []
        var seen: Set<String> = []
        func add(_ request: MountRequest) throws(EngineError) {
            guard seen.insert(request.destination).inserted else {
                throw .invalid("Duplicate mount point: \(request.destination)")
            }
            requests.append(request)
        }
        for bind in host.binds ?? [] { try add(MountRequest.parse(bind: bind)) }
        for mount in host.mounts ?? [] { try add(MountRequest(mount)) }
        for (destination, options) in (host.tmpfs ?? [:]).sorted(by: { $0.key < $1.key }) {
            try add(MountRequest.tmpfs(destination: destination, options: options))
        }
        return requests
    }

    /// `--volumes-from`: what other containers have, where this one has nothing of its own.
    private func inherited(_ host: HostConfig, _ requests: inout [MountRequest]) throws(EngineError) {
        for specification in host.volumesFrom ?? [] {
            let parts = specification.split(byte: ":", omittingEmptySubsequences: false).map(String.init)
            guard (1...2).contains(parts.count), !parts[0].isEmpty else {
                throw .invalid("invalid volumes-from specification: '\(specification)'")
            }
            let mode = parts.count == 2 ? parts[1] : "rw"
            guard ["ro", "rw", "z", "Z"].contains(mode) else {
                throw .invalid("invalid mode: \(mode)")
            }
            let other: Container
            do throws(EngineError) { other = try registry.resolve(parts[0]) } catch { throw .invalid(error.message) }
            for mount in other.record.document.mounts where mount.point.type != "tmpfs" {
                let point = mount.point
                if requests.contains(where: { $0.destination == point.destination }) { continue }
                var request = MountRequest(
                    kind: point.type == "volume" ? .volume : .bind,
                    source: point.type == "volume" ? point.name : point.source, destination: point.destination)
                request.readOnly = !point.rw || mode == "ro"
                request.propagation = point.propagation
                request.copiesImageContent = false
                request.subpath = mount.subpath
                request.mapsOwners = mount.mapsOwners ?? false
                request.relabeling = MountRequest.Relabeling(rawValue: mode) ?? mount.relabeling
                requests.append(request)
            }
        }
    }

    private func settle(
        _ request: MountRequest, _ host: HostConfig, image: Image, newVolumes: inout [String]
    ) throws -> AttachedMount {
        var point = MountPoint()
        point.type = request.kind.rawValue
        point.destination = request.destination
        point.mode = request.mode
        point.rw = !request.readOnly
        var mount = AttachedMount(point: point)
        mount.nonRecursive = request.nonRecursive
        mount.relabeling = request.relabeling
        if request.mapsOwners { mount.mapsOwners = true }
        mount.readOnlyNonRecursive = request.readOnlyNonRecursive
        mount.readOnlyForceRecursive = request.readOnlyForceRecursive
        switch request.kind {
        case .tmpfs:
            mount.tmpfsOptions = request.tmpfsOptions
        case .bind:
            try checkBindSource(request)
            mount.point.source = request.source
            mount.point.propagation = request.propagation.isEmpty ? "rprivate" : request.propagation
        case .volume:
            let (volume, isNew) = try volumeManager.create(
                name: request.source.isEmpty ? nil : request.source,
                driver: request.volumeDriver.isEmpty ? host.volumeDriver : request.volumeDriver,
                labels: request.volumeLabels, options: request.volumeOptions)
            if isNew {
                newVolumes.append(volume.name)
                post(type: "volume", action: "create", id: volume.name, attributes: ["driver": "local"])
            }
            mount.point.name = volume.name
            mount.point.driver = "local"
            mount.point.source = volumeManager.dataPath(volume.name)
            mount.isAnonymous = volume.isAnonymous
            mount.subpath = request.subpath
            // A volume is containers' own to use; what another source lends it has the label that it has.
            if mount.relabeling == nil, volume.options.isEmpty { mount.relabeling = .shared }
            if request.copiesImageContent && request.subpath.isEmpty {
                let directory = volumeManager.dataPath(volume.name)
                let holder = "filling-\(Identifier.random())"
                try volumeManager.mounts.hold(volume, directory, by: holder)
                defer { volumeManager.mounts.release(volume.name, directory, by: holder) }
                try fill(directory, from: image, at: request.destination)
            }
        }
        return mount
    }

    /// `-v` makes a missing host directory, `--mount` refuses.
    private func checkBindSource(_ request: MountRequest) throws {
        if Files.exists(request.source) { return }
        guard request.createsSource else {
            throw EngineError.invalid(
                "invalid mount config for type \"bind\": bind source path does not exist: \(request.source)")
        }
        do {
            try Files.makeDirectories(request.source, mode: 0o755)
        } catch {
            throw EngineError.internal("error while creating mount source path '\(request.source)': \(error)")
        }
    }

    /// A volume that is still empty takes over what the image has at the place where it is mounted, its owner and
    /// mode included.
    private func fill(_ volume: String, from image: Image, at path: String) throws {
        guard try Files.list(volume).isEmpty else { return }
        let root = try RootFilesystem.image(lower: imageStore.lowerDirectories(of: image))
        guard let source = try root.directory(path) else { return }
        do {
            let target = try FileDescriptor(volume, O_RDONLY | O_DIRECTORY)
            try TreeCopy.copyContents(of: source.raw, to: target.raw)
        } catch {
            throw EngineError.internal("failed to copy the image's \(path) into its volume: \(error)")
        }
    }

    /// Only a user namespace has ids to map a bind's files to.
    func checkMappedBinds(_ record: ContainerRecord) throws(EngineError) {
        guard let mount = record.document.mounts.first(where: { $0.mapsOwners ?? false }),
            try userNamespace(of: record) == .host
        else { return }
        throw .invalid(
            "the mount on \(mount.point.destination) can't have the option idmap: the container has the host's user "
                + "namespace; add --userns auto, or leave idmap out")
    }

    /// The host source of each mount of a container that is about to start, checked again: a host path may have gone.
    func mountSources(_ record: ContainerRecord) throws(EngineError) -> [String: MountSource] {
        var sources: [String: MountSource] = [:]
        for mount in record.document.mounts where mount.point.type != "tmpfs" {
            let point = mount.point
            var source = MountSource(path: point.source, relabeling: mount.relabeling)
            if point.type == "volume" {
                guard volumeManager.volume(point.name) != nil else {
                    throw .notFound("get \(point.name): no such volume")
                }
                source.path = volumeManager.dataPath(point.name)
                if isLabeled(source, labels(of: record)) { source.relabeling = nil }
                if !mount.subpath.isEmpty {
                    source.subpath = mount.subpath
                    try check(source, volume: point.name)
                }
            }
            sources[point.destination] = source
        }
        return sources
    }

    /// Whether a volume is all labeled: its own directory is the last to be, and what is made in it takes after that.
    private func isLabeled(_ source: MountSource, _ labels: ContainerLabels?) -> Bool {
        guard source.relabeling == .shared, let label = labels.flatMap({ SecurityContext($0.mount) }),
            let directory = try? FileDescriptor(source.path, O_RDONLY | O_DIRECTORY)
        else { return false }
        return FileLabels.label(of: directory.raw) == label.withoutCategories
    }

    /// Whether the part of the volume is there, for a good error; whoever mounts it resolves it again, and inside.
    private func check(_ source: MountSource, volume name: String) throws(EngineError) {
        do {
            _ = try source.open(clinux_o_path())
        } catch {
            throw .invalid("cannot access path \(source.subpath ?? "") in volume \(name): \(error.reason)")
        }
    }
}

/// What of the host a mount shows.
struct MountSource: Sendable, Equatable {
    var path: String
    /// A place inside, where the content is a container's to write: only ever resolved inside `path`, and refused when that
    /// leads through a symbolic link.
    var subpath: String?
    var relabeling: MountRequest.Relabeling?

    func open(_ flags: Int32) throws(SystemError) -> FileDescriptor {
        guard let subpath else { return try FileDescriptor(path, flags) }
        let root = try FileDescriptor(path, O_RDONLY | O_DIRECTORY)
        return try RootedPath.open(subpath, in: root.raw, flags: flags, followLinks: false)
    }
}

extension MountRequest {
    /// A `--mount`, checked as dockerd does.
    init(_ mount: EngineAPI.Mount) throws(EngineError) {
        func refused(_ why: String) -> EngineError {
            .invalid("invalid mount config for type \"\(mount.type)\": \(why)")
        }
        guard let kind = Kind(rawValue: mount.type) else {
            throw .invalid("invalid mount config for type \"\(mount.type)\": mount type unknown")
        }
        guard !mount.target.isEmpty else { throw refused("field Target must not be empty") }
        guard mount.target.hasPrefix(bytes: "/") else {
            throw refused("invalid mount path: '\(mount.target)' mount path must be absolute")
        }
        let target = Paths.clean(mount.target)
        guard target != "/" else { throw refused("invalid specification: destination can't be '/'") }
        self.init(kind: kind, source: mount.source, destination: target)
        readOnly = mount.readOnly
        switch kind {
        case .bind:
            guard !mount.source.isEmpty else { throw refused("field Source must not be empty") }
            guard mount.source.hasPrefix(bytes: "/") else {
                throw refused("invalid mount path: '\(mount.source)' mount path must be absolute")
            }
            guard mount.volumeOptions == nil, mount.tmpfsOptions == nil else {
                throw refused(
                    "field \(mount.volumeOptions == nil ? "TmpfsOptions" : "VolumeOptions") must not be specified")
            }
            source = Paths.clean(mount.source)
            let options = mount.bindOptions ?? .init()
            guard options.propagation.isEmpty || MountRequest.propagations.contains(options.propagation) else {
                throw refused("invalid propagation mode: \(options.propagation)")
            }
            guard !(options.readOnlyNonRecursive && options.readOnlyForceRecursive) else {
                throw refused("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
            }
            propagation = options.propagation
            nonRecursive = options.nonRecursive
            createsSource = options.createMountpoint
            readOnlyNonRecursive = options.readOnlyNonRecursive
            readOnlyForceRecursive = options.readOnlyForceRecursive
            mapsOwners = options.mapsOwners
        case .volume:
            guard mount.bindOptions == nil else { throw refused("field BindOptions must not be specified") }
            let options = mount.volumeOptions ?? .init()
            if !options.subpath.isEmpty {
                guard !mount.source.isEmpty else { throw refused("must not set Subpath when using anonymous volumes") }
                let clean = Paths.clean(options.subpath)
                guard !options.subpath.hasPrefix(bytes: "/"), clean != "..", !clean.hasPrefix("../") else {
                    throw refused("subpath must be a relative path within the volume")
                }
                subpath = clean
            }
            copiesImageContent = !options.noCopy
            volumeLabels = options.labels ?? [:]
            volumeDriver = options.driverConfig?.name ?? ""
            volumeOptions = options.driverConfig?.options ?? [:]
        case .tmpfs:
            guard mount.source.isEmpty else { throw refused("field Source must not be specified") }
            guard mount.bindOptions == nil else { throw refused("field BindOptions must not be specified") }
            let options = mount.tmpfsOptions ?? .init()
            var words: [String] = []
            if options.sizeBytes > 0 { words.append("size=\(options.sizeBytes)") }
            if options.mode != 0 { words.append("mode=\(String(GoFileMode.permissions(options.mode), radix: 8))") }
            for option in options.options ?? [] where !option.isEmpty { words.append(option.joined(separator: "=")) }
            if readOnly { words.append("ro") }
            tmpfsOptions = try TmpfsOptions.merged(words.joined(separator: ","))
        }
    }
}

/// Go's `os.FileMode`, which Docker's clients speak: permission bits as everywhere, the others elsewhere.
enum GoFileMode {
    static let directory: UInt32 = 1 << 31
    static let symlink: UInt32 = 1 << 27
    static let device: UInt32 = 1 << 26
    static let namedPipe: UInt32 = 1 << 25
    static let socket: UInt32 = 1 << 24
    static let setuid: UInt32 = 1 << 23
    static let setgid: UInt32 = 1 << 22
    static let charDevice: UInt32 = 1 << 21
    static let sticky: UInt32 = 1 << 20

    /// The mode_t permission bits of a Go mode.
    static func permissions(_ mode: UInt32) -> UInt32 {
        var result = mode & 0o777
        if mode & setuid != 0 { result |= 0o4000 }
        if mode & setgid != 0 { result |= 0o2000 }
        if mode & sticky != 0 { result |= 0o1000 }
        return result | mode & 0o7000
    }

    /// The Go mode of a mode_t.
    static func from(_ mode: mode_t) -> UInt32 {
        var result = mode & 0o777
        if mode & 0o4000 != 0 { result |= setuid }
        if mode & 0o2000 != 0 { result |= setgid }
        if mode & 0o1000 != 0 { result |= sticky }
        switch mode & S_IFMT {
        case S_IFDIR: result |= directory
        case S_IFLNK: result |= symlink
        case S_IFBLK: result |= device
        case S_IFCHR: result |= device | charDevice
        case S_IFIFO: result |= namedPipe
        case S_IFSOCK: result |= socket
        default: break
        }
        return result
    }
}
