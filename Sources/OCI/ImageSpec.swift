/// Media types of the image specification and their Docker predecessors (image-spec media-types.md).
public enum MediaType {
    public static let ociManifest = "application/vnd.oci.image.manifest.v1+json"
    public static let ociIndex = "application/vnd.oci.image.index.v1+json"
    public static let ociConfig = "application/vnd.oci.image.config.v1+json"
    public static let ociLayer = "application/vnd.oci.image.layer.v1.tar"
    public static let ociLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
    public static let ociLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
    public static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    public static let dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
    public static let dockerConfig = "application/vnd.docker.container.image.v1+json"
    public static let dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
    public static let dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    public static let dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"

    public static func isManifest(_ type: String) -> Bool { type == ociManifest || type == dockerManifest }
    public static func isIndex(_ type: String) -> Bool { type == ociIndex || type == dockerManifestList }
    public static func isConfig(_ type: String) -> Bool { type == ociConfig || type == dockerConfig }
}

/// How a layer's tar stream is packed, by media type.
public enum LayerCompression: Sendable, Hashable {
    case none, gzip, zstd

    /// The compression that a layer's media type names; nil when it isn't that of a layer (the non-distributable
    /// types count: only their distribution was restricted).
    public init?(mediaType: String) {
        switch mediaType {
        case MediaType.ociLayer, MediaType.dockerLayer, "application/vnd.oci.image.layer.nondistributable.v1.tar":
            self = .none
        case MediaType.ociLayerGzip, MediaType.dockerLayerGzip,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":
            self = .gzip
        case MediaType.ociLayerZstd, MediaType.dockerLayerZstd,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
            self = .zstd
        default: return nil
        }
    }
}

/// Well-known annotation keys.
public enum Annotation {
    /// The tag in an image layout's index.json.
    public static let referenceName = "org.opencontainers.image.ref.name"
    /// The full name of an image in archives of containerd and Docker 25 and later.
    public static let containerdImageName = "io.containerd.image.name"
    /// Marks what is in an index beside images, for example build attestations.
    public static let dockerReferenceType = "vnd.docker.reference.type"
}

/// What an image runs on.
public struct Platform: Codable, Hashable, Sendable, CustomStringConvertible {
    public var architecture: String
    public var os: String
    public var variant: String?
    public var osVersion: String?

    public init(architecture: String, os: String, variant: String? = nil, osVersion: String? = nil) {
        self.architecture = architecture
        self.os = os
        self.variant = variant
        self.osVersion = osVersion
    }

    enum CodingKeys: String, CodingKey {
        case architecture, os, variant
        case osVersion = "os.version"
    }

    /// The platform of this program.
    public static var host: Platform {
        #if arch(arm64)
            Platform(architecture: "arm64", os: "linux", variant: "v8")
        #else
            Platform(architecture: "amd64", os: "linux")
        #endif
    }

    /// Whether an image for this platform runs where `host` is.
    public func runs(on host: Platform) -> Bool { os == host.os && architecture == host.architecture }

    public var description: String { "\(os)/\(architecture)" + (variant.map { "/" + $0 } ?? "") }
}

/// Points at content: image-spec descriptor.md.
public struct Descriptor: Codable, Hashable, Sendable {
    public var mediaType: String
    public var digest: Digest
    /// Bytes.
    public var size: Int64
    public var urls: [String]?
    public var annotations: [String: String]?
    public var platform: Platform?
    public var artifactType: String?

    public init(
        mediaType: String, digest: Digest, size: Int64, urls: [String]? = nil, annotations: [String: String]? = nil,
        platform: Platform? = nil, artifactType: String? = nil
    ) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.urls = urls
        self.annotations = annotations
        self.platform = platform
        self.artifactType = artifactType
    }
}

/// An image manifest: image-spec manifest.md.
public struct Manifest: Codable, Hashable, Sendable {
    public var schemaVersion: Int
    public var mediaType: String?
    public var config: Descriptor
    public var layers: [Descriptor]
    public var annotations: [String: String]?

    public init(
        schemaVersion: Int = 2, mediaType: String? = MediaType.ociManifest, config: Descriptor, layers: [Descriptor],
        annotations: [String: String]? = nil
    ) {
        self.schemaVersion = schemaVersion
        self.mediaType = mediaType
        self.config = config
        self.layers = layers
        self.annotations = annotations
    }
}

/// An image index: image-spec image-index.md.
public struct Index: Codable, Hashable, Sendable {
    public var schemaVersion: Int
    public var mediaType: String?
    public var manifests: [Descriptor]
    public var annotations: [String: String]?

    public init(
        schemaVersion: Int = 2, mediaType: String? = MediaType.ociIndex, manifests: [Descriptor],
        annotations: [String: String]? = nil
    ) {
        self.schemaVersion = schemaVersion
        self.mediaType = mediaType
        self.manifests = manifests
        self.annotations = annotations
    }
}

/// The `oci-layout` file of an image layout: image-spec image-layout.md.
public struct ImageLayout: Codable, Hashable, Sendable {
    public var imageLayoutVersion: String

    public init(imageLayoutVersion: String = "1.0.0") { self.imageLayoutVersion = imageLayoutVersion }
}

/// One image in the `manifest.json` of a `docker save` archive.
public struct DockerArchiveEntry: Codable, Hashable, Sendable {
    public var config: String
    public var repoTags: [String]?
    public var layers: [String]?

    public init(config: String, repoTags: [String]?, layers: [String]?) {
        self.config = config
        self.repoTags = repoTags
        self.layers = layers
    }

    enum CodingKeys: String, CodingKey {
        case config = "Config"
        case repoTags = "RepoTags"
        case layers = "Layers"
    }
}
