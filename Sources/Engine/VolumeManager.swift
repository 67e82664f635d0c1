import Database
import EngineAPI
import FoundationEssentials
import Glibc
import LinuxKernel
import OCI
import Synchronization

/// A volume as it is stored, in the database and beside its data (`volume.json`).
struct StoredVolume: Sendable, Codable, Equatable {
    var name: String
    /// Nanoseconds since the epoch.
    var created: Int64
    var labels: [String: String]
    var options: [String: String]
    /// Made for a container that named none.
    var isAnonymous: Bool

    static let anonymousLabel = "com.docker.volume.anonymous"
}

/// Named directories that outlive containers: `<data root>/volumes/<name>/_data`.
final class VolumeManager: Sendable {
    /// Of volumes that have a source of their own.
    let mounts = VolumeMounts()
    private let root: String
    private let store: StateStore
    private let volumes: Mutex<[String: StoredVolume]>
    /// Held while a volume is made or removed, so that two creations of one name give one volume.
    private let changes = Mutex(())

    /// Reads what the database knows and takes up what it lost: a directory carries its own description.
    init(root: String, store: StateStore, log: (String) -> Void) throws {
        self.root = root
        self.store = store
        try Files.makeDirectories(root, mode: 0o701)
        DirectoryPlacement.spread(at: root)
        var known = Dictionary(try store.volumes().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for name in try Files.list(root) {
            if name.hasPrefix(VolumeManager.deleted) {
                do {
                    try TreeRemoval.remove("\(root)/\(name)")
                } catch {
                    // No reason not to start: nobody misses the volume.
                    log("what is left of a removed volume could not be deleted: \(error)")
                }
                continue
            }
            guard known[name] == nil, Names.isValid(name), Files.isDirectory("\(root)/\(name)/_data") else { continue }
            let stored = (try? Files.read("\(root)/\(name)/volume.json")).flatMap {
                try? JSONDecoder().decode(StoredVolume.self, from: Data($0))
            }
            let volume =
                stored
                ?? StoredVolume(name: name, created: Clock.wall(), labels: [:], options: [:], isAnonymous: false)
            try store.insert(volume)
            known[name] = volume
            log("volume \(name) was on disk but not in the database: taken up again")
        }
        volumes = Mutex(known)
    }

    private static let deleted = ".deleted-"

    var all: [StoredVolume] { volumes.withLock { Array($0.values) }.sorted { $0.name < $1.name } }

    func volume(_ name: String) -> StoredVolume? { volumes.withLock { $0[name] } }

    func dataPath(_ name: String) -> String { "\(root)/\(name)/_data" }

    /// Makes a volume, or gives the one that is there under that name.
    /// - Returns: the volume, and whether it is new.
    func create(
        name: String?, driver: String, labels: [String: String], options: [String: String]
    ) throws -> (volume: StoredVolume, isNew: Bool) {
        guard driver.isEmpty || driver == "local" else {
            throw EngineError.notFound(
                "create \(name ?? ""): error looking up volume plugin \(driver): plugin \"\(driver)\" not found")
        }
        if let name, name.utf8.count == 1 {
            throw EngineError.invalid(
                "create \(name): volume name is too short, names should be at least two alphanumeric characters")
        }
        if let name, !Names.isValid(name) || name.utf8.count > Names.maximumLength {
            throw EngineError.invalid(
                "create \(name): \"\(name)\" includes invalid characters for a local volume name, only "
                    + "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
                    + "absolute path")
        }
        return try changes.withLock { _ in
            if let name, let existing = volume(name) { return (existing, false) }
            do throws(EngineError) {
                _ = try VolumeSource(options)
            } catch {
                throw EngineError(error.kind, "create \(name ?? ""): \(error.message)")
            }
            var labels = labels
            if name == nil { labels[StoredVolume.anonymousLabel] = "" }
            let volume = StoredVolume(
                name: name ?? Identifier.random(), created: Clock.wall(), labels: labels, options: options,
                isAnonymous: name == nil)
            let directory = "\(root)/\(volume.name)"
            do {
                try Files.makeDirectory(directory, mode: 0o701)
                try Files.makeDirectory(directory + "/_data", mode: 0o755)
                try Files.replace(directory + "/volume.json", try JSONTextEncoder.encode(volume))
                try store.insert(volume)
            } catch {
                try? TreeRemoval.remove(directory)
                throw error
            }
            volumes.withLock { $0[volume.name] = volume }
            return (volume, true)
        }
    }

    /// Removes a volume and its data. `conflict` while the database says that a container uses it.
    func remove(_ name: String) throws {
        try changes.withLock { _ in
            guard volume(name) != nil else { throw EngineError.notFound("get \(name): no such volume") }
            do {
                try store.deleteVolume(name)
            } catch let error as DatabaseError where error.isConstraint {
                throw EngineError.conflict("remove \(name): volume is in use")
            }
            _ = volumes.withLock { $0.removeValue(forKey: name) }
            mounts.clear(name, dataPath(name))
            // Out of sight in one step; what is left of it after a crash goes at the next start.
            let grave = "\(root)/\(VolumeManager.deleted)\(name)-\(Identifier.random())"
            if rename("\(root)/\(name)", grave) == 0 {
                try TreeRemoval.remove(grave)
            } else if errno != ENOENT {
                throw SystemError.current("rename \(root)/\(name)")
            }
        }
    }

    /// Bytes that the volume's files take.
    func size(_ name: String) -> Int64 { DiskUsageWalk.size(of: dataPath(name)) }
}
