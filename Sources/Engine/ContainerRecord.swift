import EngineAPI
import FoundationEssentials
import LinuxKernel
import OCI

/// What is known of one container, as it is stored: what it is (`document`) and where it stands (`status`).
struct ContainerRecord: Sendable {
    let id: String
    var name: String
    var document: Document
    var status: Status

    /// Docker's `Config` and `HostConfig` are the persisted model, as in moby.
    struct Document: Sendable, Codable {
        /// Nanoseconds since the epoch.
        var created: Int64
        /// The image's id, `sha256:…`.
        var imageID: String
        /// Chain ID (hex) of the image's topmost layer, nil for an image without layers.
        var chainID: String?
        /// The program and its arguments: entrypoint and command.
        var path: String
        var arguments: [String]
        /// The image's configuration with the request's over it.
        var config: ContainerConfig
        var hostConfig: HostConfig
        var mounts: [AttachedMount]
        /// Whether the reaper is PID 1.
        var reaper: Bool
        var logFormat: StoredLog?
        /// The networks that it is in, by name, as the user set them up; nil in records of before there were any.
        var networks: [String: EndpointSettings]?
        /// The ids of its own user namespace; nil: it has the host's or another container's.
        var identities: IdentityMaps?
        /// nil where the host had no SELinux.
        var labels: ContainerLabels?
    }

    struct StoredLog: Sendable, Codable {
        /// `cri` or `json`.
        var format: String
        /// Bytes; 0 never rotates.
        var maxSize: Int64
        var maxFiles: Int
    }

    struct Status: Sendable, Codable {
        var lifecycle: Lifecycle
        var restartCount = 0
        var backoff = RestartBackoff()
        /// `stop` or `kill` ended it: `unless-stopped` and `on-failure` leave it alone.
        var stoppedByUser = false
        var hasBeenStarted = false
        /// It ended while no daemon watched; its restart policy is still to be looked at.
        var endedUnseen = false
        /// When the last run ended, 0 if never.
        var finishedAt: Int64 = 0
        /// nil where no check was ever due.
        var health: HealthStatus?
    }

    var shortID: String { Identifier.short(id) }
    var config: ContainerConfig { document.config }
    var hostConfig: HostConfig { document.hostConfig }
    var lifecycle: Lifecycle { status.lifecycle }
    var isTerminal: Bool { document.config.tty }

    /// The mounts that clients are shown: all but those of `--tmpfs`, which stand in the host configuration.
    var listedMounts: [MountPoint] {
        let temporary = Set((hostConfig.tmpfs ?? [:]).keys.map(Paths.clean))
        return document.mounts.map(\.point).filter { $0.type != "tmpfs" || !temporary.contains($0.destination) }
    }

    /// Whether a start was ever tried.
    var hasBeenTried: Bool {
        if case .created(let failure) = lifecycle { return failure != nil || status.hasBeenStarted }
        return true
    }

    func encodedDocument() throws -> [UInt8] { try JSONTextEncoder.encode(document) }
    func encodedStatus() throws -> [UInt8] { try JSONTextEncoder.encode(status) }

    static func decode(id: String, name: String, document: [UInt8], status: [UInt8]) throws -> ContainerRecord {
        let decoder = JSONDecoder()
        return ContainerRecord(
            id: id, name: name, document: try decoder.decode(Document.self, from: Data(document)),
            status: try decoder.decode(Status.self, from: Data(status)))
    }
}

/// One mount of a container, settled when the container was created.
struct AttachedMount: Sendable, Codable, Equatable {
    /// As `inspect` shows it.
    var point: MountPoint
    /// tmpfs: mount options.
    var tmpfsOptions: [String]?
    var nonRecursive = false
    var readOnlyNonRecursive = false
    var readOnlyForceRecursive = false
    /// Whether the volume came without a name and goes with its container.
    var isAnonymous = false
    /// Directory inside the volume.
    var subpath = ""
    /// bind: whether files have the container's ids inside and keep their own on disk; nil in records of before.
    var mapsOwners: Bool?
    var relabeling: MountRequest.Relabeling?
}
