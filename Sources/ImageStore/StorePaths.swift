import OCI

/// Where the store keeps what, under the data root.
struct StorePaths: Sendable {
    let dataRoot: String

    /// An OCI image layout: `oci-layout`, `index.json` and `blobs/`, plus `ingest/` for what is under way.
    var content: String { dataRoot + "/content" }
    var blobs: String { content + "/blobs/sha256" }
    var ingest: String { content + "/ingest" }
    var layers: String { dataRoot + "/layers" }
    /// Layers being unpacked or deleted; on the same file system as `layers`, so that a rename moves them.
    var staging: String { layers + "/staging" }
    /// The lower directory of an image without layers.
    var emptyLayer: String { layers + "/empty" }

    func blob(_ digest: Digest) -> String { blobs + "/" + digest.hex }
    func layer(_ chainID: Digest) -> String { layers + "/" + chainID.hex }
    func layerContents(_ chainID: Digest) -> String { layer(chainID) + "/fs" }
}
