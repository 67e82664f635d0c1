import OCI

/// An image in the store, with its layers unpacked.
public struct Image: Sendable {
    /// The image's ID: the digest of its configuration.
    public let id: Digest
    public let config: ImageConfig
    /// The manifest that it came with, or that was made for it when it came from an old `docker save` archive.
    public let manifest: Descriptor
    /// Bottom first.
    public let layers: [Layer]
    /// When the image was last tagged, pulled or loaded: nanoseconds since 1970.
    public internal(set) var lastTagged: Int64
    /// Every name with a tag, sorted.
    public internal(set) var tags: [ImageReference] = []
    /// Every name with a manifest digest, sorted.
    public internal(set) var digests: [ImageReference] = []

    /// One unpacked layer.
    public struct Layer: Sendable, Hashable {
        /// Names the layer together with all beneath it (image-spec config.md, "Layer ChainID").
        public let chainID: Digest
        /// The digest of the uncompressed tar stream.
        public let diffID: Digest
        /// The blob that it was unpacked from.
        public let blob: Descriptor
        /// Sum of the sizes of its files, in bytes.
        public let size: Int64
    }

    /// The chain ID of the topmost layer; nil when the image has none.
    public var chainID: Digest? { layers.last?.chainID }
    /// Sum of the layers' sizes, in bytes, shared ones included.
    public var size: Int64 { layers.map(\.size).clampedSum() }
    /// When the image was made, in nanoseconds since 1970; 0 when it doesn't say.
    public var created: Int64 { config.created.flatMap(RFC3339.nanoseconds(_:)) ?? 0 }
}

/// A line of progress in the vocabulary of Docker's pull and load streams.
public struct ImageProgress: Sendable, Hashable {
    /// For example `Downloading`, `Extracting`, `Pull complete`.
    public var status: String
    /// The layer (12 hex digits) or tag that it is about.
    public var id: String?
    public var isLayer: Bool
    /// Bytes done, and in all, where the status has a bar.
    public var current: Int64?
    public var total: Int64?

    public init(
        status: String, id: String? = nil, isLayer: Bool = false, current: Int64? = nil, total: Int64? = nil
    ) {
        self.status = status
        self.id = id
        self.isLayer = isLayer
        self.current = current
        self.total = total
    }
}

/// Receives progress; called from any thread, one call at a time for each layer.
public typealias ImageProgressHandler = @Sendable (ImageProgress) -> Void

/// What removing an image did, in order.
public enum ImageRemoval: Sendable, Hashable {
    /// A name went away: `busybox:latest`.
    case untagged(String)
    /// An image or a layer went away: `sha256:…`.
    case deleted(String)
}

/// A container that was made from an image; the engine tells the store of these.
public struct ImageUser: Sendable {
    public var containerID: String
    public var running: Bool

    public init(containerID: String, running: Bool) {
        self.containerID = containerID
        self.running = running
    }
}

/// One row of `history`, newest first.
public struct ImageHistoryEntry: Sendable {
    /// The image's ID on the newest row, nil (shown as `<missing>`) on the others.
    public var id: Digest?
    /// Nanoseconds since 1970.
    public var created: Int64
    public var createdBy: String
    public var comment: String
    public var size: Int64
    /// The names of the image, on the newest row.
    public var tags: [String]
}
