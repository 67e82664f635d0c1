import Glibc
import LinuxKernel
import Synchronization

/// What a volume is mounted from: the options `type`, `device` and `o` of the driver `local`, as mount(8) has them.
struct VolumeSource: Sendable, Equatable {
    private let type: String
    private let device: String
    private let flags: UInt
    private let propagation: UInt
    /// The filesystem's own options.
    private let data: String

    /// nil for a volume that is a plain directory. The sentences are dockerd's.
    init?(_ options: [String: String]) throws(EngineError) {
        if options.isEmpty { return nil }
        if let unknown = options.keys.sorted().first(where: { !["type", "device", "o", "size"].contains($0) }) {
            throw .invalid("invalid option: \"\(unknown)\"")
        }
        if let size = options["size"] {
            guard let bytes = ByteSize.parse(size), bytes >= 0 else { throw .invalid("invalid size: '\(size)'") }
            if bytes > 0 { throw .invalid("quota size requested but no quota support") }
        }
        for (option, needed) in [("device", ["type"]), ("type", ["device"]), ("o", ["device", "type"])]
        where options[option] != nil {
            for other in needed where options[other] == nil {
                throw .invalid("missing required option: \"\(other)\"")
            }
        }
        guard let type = options["type"], let device = options["device"] else { return nil }
        self.type = type
        self.device = device
        var flags: UInt = 0
        var propagation: UInt = 0
        var data: [Substring] = []
        for option in (options["o"] ?? "").split(byte: ",") {
            if let (isClear, bits) = VolumeSource.flags[String(option)] {
                flags = isClear ? flags & ~bits : flags | bits
            } else if let bits = VolumeSource.propagations[String(option)] {
                propagation |= bits
            } else {
                data.append(option)
            }
        }
        self.flags = flags
        self.propagation = propagation
        self.data = data.joined(separator: ",")
    }

    func mount(on directory: String) throws(SystemError) {
        try call(device, directory, type, flags, data)
        let bind = UInt(MS_BIND)
        // A bind takes its flags from what it binds, until it is mounted again.
        if flags & bind != 0, flags & ~(bind | UInt(MS_REC)) != 0 {
            try call("", directory, "", flags | UInt(MS_REMOUNT), data)
        }
        if propagation != 0 { try call("", directory, "", propagation, "") }
    }

    private func call(
        _ device: String, _ directory: String, _ type: String, _ flags: UInt, _ data: String
    ) throws(SystemError) {
        try checked("mount \(device.isEmpty ? directory : device)") {
            Glibc.mount(device, directory, type, flags, data)
        }
    }

    /// Whether the option takes bits away, and which: fstab(5)'s words for mount(2)'s flags.
    private static let flags: [String: (Bool, UInt)] = {
        func on(_ flag: some BinaryInteger) -> (Bool, UInt) { (false, UInt(flag)) }
        func off(_ flag: some BinaryInteger) -> (Bool, UInt) { (true, UInt(flag)) }
        return [
            "defaults": on(0), "ro": on(MS_RDONLY), "rw": off(MS_RDONLY), "nosuid": on(MS_NOSUID),
            "suid": off(MS_NOSUID), "nodev": on(MS_NODEV), "dev": off(MS_NODEV), "noexec": on(MS_NOEXEC),
            "exec": off(MS_NOEXEC), "sync": on(MS_SYNCHRONOUS), "async": off(MS_SYNCHRONOUS),
            "dirsync": on(MS_DIRSYNC), "remount": on(MS_REMOUNT), "mand": on(MS_MANDLOCK),
            "nomand": off(MS_MANDLOCK), "noatime": on(MS_NOATIME), "atime": off(MS_NOATIME),
            "nodiratime": on(MS_NODIRATIME), "diratime": off(MS_NODIRATIME), "relatime": on(MS_RELATIME),
            "norelatime": off(MS_RELATIME), "strictatime": on(MS_STRICTATIME), "nostrictatime": off(MS_STRICTATIME),
            "bind": on(MS_BIND), "rbind": on(MS_BIND | MS_REC),
        ]
    }()

    private static let propagations: [String: UInt] = [
        "private": UInt(MS_PRIVATE), "rprivate": UInt(MS_PRIVATE | MS_REC), "shared": UInt(MS_SHARED),
        "rshared": UInt(MS_SHARED | MS_REC), "slave": UInt(MS_SLAVE), "rslave": UInt(MS_SLAVE | MS_REC),
        "unbindable": UInt(MS_UNBINDABLE), "runbindable": UInt(MS_UNBINDABLE | MS_REC),
    ]
}

/// Which volumes are mounted, and for whom: one that has a source is while something uses it, so that containers that
/// run at the same time share what is in it.
final class VolumeMounts: Sendable {
    private struct Holding {
        var holders: Set<String> = []
        var isMounted = false
    }

    private let volumes = Mutex<[String: Holding]>([:])

    /// Mounts the volume's source on `directory` unless that is done, and keeps it until the holder lets go.
    func hold(_ volume: StoredVolume, _ directory: String, by holder: String) throws(EngineError) {
        let source = try VolumeSource(volume.options)
        try volumes.withLock { volumes throws(EngineError) in
            var holding =
                volumes[volume.name]
                ?? Holding(isMounted: source != nil && VolumeMounts.isMountPoint(directory))
            if let source, !holding.isMounted {
                do throws(SystemError) {
                    try source.mount(on: directory)
                } catch {
                    throw .internal(
                        "error while mounting volume '\(directory)': failed to mount local volume: \(error)")
                }
                holding.isMounted = true
            }
            holding.holders.insert(holder)
            volumes[volume.name] = holding
        }
    }

    /// Unmounts the volume when nobody else holds it.
    ///
    /// - Returns: whether this one held it.
    @discardableResult
    func release(_ volume: String, _ directory: String, by holder: String) -> Bool {
        volumes.withLock { volumes in
            guard volumes[volume]?.holders.remove(holder) != nil else { return false }
            guard let holding = volumes[volume], holding.holders.isEmpty else { return true }
            volumes[volume] = nil
            if holding.isMounted { try? Mount.detach(directory) }
            return true
        }
    }

    /// Unmounts a volume whatever an earlier daemon left there.
    func clear(_ volume: String, _ directory: String) {
        volumes.withLock { volumes in
            guard volumes[volume] == nil, VolumeMounts.isMountPoint(directory) else { return }
            try? Mount.detach(directory)
        }
    }

    /// Whether something is mounted on the directory: then its mount is another than its parent's (proc(5), fdinfo).
    private static func isMountPoint(_ directory: String) -> Bool {
        guard let own = mountID(directory), let outer = mountID(Paths.parent(directory)) else { return false }
        return own != outer
    }

    private static func mountID(_ directory: String) -> Substring? {
        guard let file = try? FileDescriptor(directory, O_RDONLY | O_DIRECTORY),
            let text = try? Files.text("/proc/self/fdinfo/\(file.raw)")
        else { return nil }
        return text.split(separator: "\n").first { $0.hasPrefix("mnt_id:") }
    }
}

extension Engine {
    /// Mounts the volumes of a container that is about to run and says so.
    func holdVolumes(of record: ContainerRecord) throws(EngineError) {
        for mount in record.document.mounts where mount.point.type == "volume" {
            guard let volume = volumeManager.volume(mount.point.name) else { continue }
            try volumeManager.mounts.hold(volume, volumeManager.dataPath(volume.name), by: record.id)
            post(
                type: "volume", action: "mount", id: volume.name,
                attributes: [
                    "driver": "local", "container": record.id, "destination": mount.point.destination,
                    "read/write": String(mount.point.rw), "propagation": mount.point.propagation,
                ])
        }
    }

    /// Lets go of the volumes of a container that has ended.
    func releaseVolumes(of record: ContainerRecord) {
        for mount in record.document.mounts where mount.point.type == "volume" {
            let name = mount.point.name
            guard volumeManager.mounts.release(name, volumeManager.dataPath(name), by: record.id) else { continue }
            post(
                type: "volume", action: "unmount", id: name, attributes: ["driver": "local", "container": record.id])
        }
    }

    /// After a restart of the daemon: what runs holds its volumes, what is mounted for nobody goes.
    func adoptVolumes() {
        for record in registry.all.map(\.record) where record.lifecycle.run != nil {
            for mount in record.document.mounts where mount.point.type == "volume" {
                guard let volume = volumeManager.volume(mount.point.name) else { continue }
                try? volumeManager.mounts.hold(volume, volumeManager.dataPath(volume.name), by: record.id)
            }
        }
        for volume in volumeManager.all where !volume.options.isEmpty {
            volumeManager.mounts.clear(volume.name, volumeManager.dataPath(volume.name))
        }
    }
}
