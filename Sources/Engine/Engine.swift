import Database
import EngineAPI
import Glibc
import ImageStore
import LinuxKernel
import MonitorProtocol
import Synchronization

/// Everything the daemon knows and does: containers, images, volumes, events and the state database. The wire is above
/// it; it never sees HTTP.
///
/// Its asynchronous functions run on threads of their own (``WorkerPool``), where they may block for a system call.
public final class Engine: Sendable {
    public let configuration: EngineConfiguration

    let paths: EnginePaths
    /// 8 hex digits derived from the data root: part of every name that the kernel sees.
    let instance: String
    let workers: WorkerPool
    let database: Database
    let store: StateStore
    let imageStore: ImageStore
    let volumeManager: VolumeManager
    let eventBus: EventBus
    let launcher: MonitorLauncher
    let replenishment = Replenishment()
    let stagedDirectories: StagedDirectories
    let reader: MonitorReader
    let cgroups: CgroupLayout
    let cgroupParent: CgroupParent
    let cgroupSupport: CgroupSupport
    let capacity: HostCapacity
    let hostFacts: HostFacts
    let seccomp: SeccompPrograms
    let appArmor: AppArmor
    let selinux: SELinux
    let selinuxLevels = SELinuxLevels()
    let registry = ContainerRegistry()
    let networks = NetworkRegistry()
    let identityRanges: IdentityRanges
    let hostNetworks: HostNetworks
    /// Held while the default network's subnet is chosen.
    let settlement = Mutex(())
    public let log: @Sendable (String) -> Void
    private let dataLock: OwnedDescriptor
    private let executionLock: OwnedDescriptor
    let isStopping = Atomic(false)
    /// Containers whose rows can't be read: their data is left alone.
    let unreadableContainers = Mutex(Set<String>())

    private init(_ configuration: EngineConfiguration, log: @escaping @Sendable (String) -> Void) async throws {
        self.configuration = configuration
        self.log = log
        paths = try EnginePaths(configuration)
        dataLock = try RootLock.take(paths.dataRoot, "data root")
        executionLock = try RootLock.take(paths.executionRoot, "exec root")
        try paths.makeDirectories()
        instance = paths.instance
        identityRanges = IdentityRanges(
            pool: try IdentityPool(
                setting: configuration.userNamespaceRange, subordinateUsers: (try? Files.text("/etc/subuid")) ?? "",
                subordinateGroups: (try? Files.text("/etc/subgid")) ?? ""),
            instance: instance)
        workers = WorkerPool(maximum: 64)
        stagedDirectories = StagedDirectories(in: paths.graveyard)
        database = try Database(path: paths.database, migrations: StateStore.migrations)
        let store = StateStore(database: database)
        self.store = store
        imageStore = try await ImageStore.open(dataRoot: paths.dataRoot, database: database, log: log)
        volumeManager = try VolumeManager(root: paths.volumes, store: store, log: log)
        eventBus = EventBus(past: try store.events()) { events in
            do {
                try store.append(events)
            } catch {
                log("events could not be saved: \(error)")
            }
        }
        launcher = try MonitorLauncher(runtimePath: configuration.runtimePath)
        hostNetworks = HostNetworks(
            instance: instance, directory: paths.namespaces, defaults: configuration.networks, provider: launcher,
            executor: workers, log: log)
        reader = try MonitorReader()
        cgroups = try CgroupLayout.detect()
        cgroupParent = try CgroupParent.prepare(layout: cgroups, instance: instance)
        cgroupSupport = CgroupSupport(parent: cgroupParent)
        capacity = HostCapacity(cgroupSupport)
        hostFacts = HostFacts()
        seccomp = SeccompPrograms(
            cache: SeccompCache(directory: paths.seccomp), profile: configuration.seccompProfile)
        appArmor = AppArmor.prepare()
        if case .withoutDefault(let reason) = appArmor {
            log("containers run without an AppArmor profile of ours: \(reason)")
        }
        selinux = SELinux.prepare(isWanted: configuration.labelsContainers)
        if case .withoutContainers(let reason) = selinux { log("containers run without SELinux labels: \(reason)") }
    }

    /// Locks the data and exec roots, opens the database, reconciles it with what runs, and starts what its restart
    /// policy says.
    ///
    /// - Parameter log: receives sentences for the daemon's log.
    /// - Throws: an `EngineError` when another daemon has one of the roots, when the database is newer than this
    ///   program, or when the host lacks what containers need.
    public static func open(
        _ configuration: EngineConfiguration, log: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> Engine {
        let engine: Engine
        do {
            engine = try await Engine(configuration, log: log)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError(.internal, "\(error)")
        }
        try await engine.perform { try await engine.reconcile() }
        // The first start is as fast as the next.
        Task(executorPreference: engine.workers) { engine.launcher.prepare() }
        return engine
    }

    /// Stops serving. Containers go on running unless `stopContainers`.
    public func shutdown(stopContainers: Bool) async {
        isStopping.store(true, ordering: .releasing)
        if stopContainers {
            await withTaskGroup(of: Void.self) { group in
                for container in registry.all where container.lifecycle.isRunning {
                    group.addTask {
                        do {
                            try await self.stopContainer(container.id, signal: nil, timeout: nil)
                        } catch {
                            self.log("container \(container.id) could not be stopped: \(error)")
                        }
                    }
                }
            }
        }
        for container in registry.all {
            container.setRestart(nil)
            container.setHealthChecks(nil)
        }
        for container in registry.all { await container.networkRelease?.value }
        await hostNetworks.shutdown()
        await eventBus.flush()
        do {
            try database.settle()
        } catch {
            log("the state of containers could not be saved: \(error)")
        }
        eventBus.close()
        reader.stop()
        launcher.stop()
        cgroupParent.removeIfEmpty()
        // Unlocked by name: tasks that are about to end may hold the engine a moment longer.
        for lock in [dataLock, executionLock] { flock(lock.raw, LOCK_UN) }
    }

    /// Runs `body` on the engine's own threads, and gives every error one type.
    func perform<T: Sendable>(_ body: @Sendable () async throws -> T) async throws -> T {
        do {
            return try await withTaskExecutorPreference(workers) { try await body() }
        } catch let error as EngineError {
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            throw EngineError(wrapping: error)
        }
    }
}

/// Where things are, under the two roots.
struct EnginePaths: Sendable {
    let dataRoot: String
    let executionRoot: String
    let instance: String

    init(_ configuration: EngineConfiguration) throws {
        try Files.makeDirectories(configuration.dataRoot, mode: 0o700)
        try Files.makeDirectories(configuration.executionRoot, mode: 0o711)
        guard let resolved = realpath(configuration.dataRoot, nil) else {
            throw SystemError.current("resolve \(configuration.dataRoot)")
        }
        defer { free(resolved) }
        dataRoot = String(cString: resolved)
        executionRoot = Paths.clean(configuration.executionRoot)
        instance = InstanceID.of(dataRoot)
    }

    var database: String { dataRoot + "/state.db" }
    var volumes: String { dataRoot + "/volumes" }
    var seccomp: String { dataRoot + "/seccomp" }
    /// The report of a container's seccomp audit.
    func seccompAudit(_ id: String) -> String { container(id) + "/" + SeccompReport.fileName }
    var containers: String { dataRoot + "/containers" }
    /// Containers that are being deleted.
    var graveyard: String { dataRoot + "/deleted" }
    /// Data that belongs to nothing the database knows.
    var quarantine: String { dataRoot + "/quarantine" }
    /// See ``MountPointLayer``.
    var mountPoints: String { dataRoot + "/mount-points" }
    var bundles: String { executionRoot + "/containers" }

    /// Files that pin network namespaces.
    var namespaces: String { executionRoot + "/netns" }

    func container(_ id: String) -> String { "\(containers)/\(id)" }
    func bundle(_ id: String) -> String { "\(bundles)/\(id)" }
    func logFile(_ id: String) -> String { "\(container(id))/logs/container.log" }

    func makeDirectories() throws {
        for directory in [containers, graveyard, seccomp] { try Files.makeDirectory(directory, mode: 0o700) }
        try MountPointLayer.make(at: mountPoints)
        try Files.makeDirectory(bundles, mode: 0o700)
        // Where containers' directories are made: in the graveyard, and moved from there.
        for directory in [graveyard, bundles] { DirectoryPlacement.spread(at: directory) }
    }
}

/// One daemon per root.
enum RootLock {
    static func take(_ root: String, _ what: String) throws -> OwnedDescriptor {
        let file = try FileDescriptor(root + "/lock", O_RDWR | O_CREAT, mode: 0o600)
        if flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK else { throw SystemError.current("lock \(root)/lock") }
            let owner = (try? Files.text(root + "/lock", limit: 64)).map { $0.filter(\.isNumber) } ?? ""
            let who = owner.isEmpty ? "" : " (process \(owner))"
            throw EngineError(
                .conflict,
                "another mycontainerd\(who) is using the \(what) \(root): stop it first, or give this one roots of its "
                    + "own with --data-root and --exec-root")
        }
        let pid = Array("\(getpid())\n".utf8)
        ftruncate(file.raw, 0)
        _ = pid.withUnsafeBytes { pwrite(file.raw, $0.baseAddress, $0.count, 0) }
        return OwnedDescriptor(file)
    }
}
