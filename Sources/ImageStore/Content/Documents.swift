import FoundationEssentials
import OCI

/// Reads and checks the JSON documents of an image: whatever follows relies on what is verified here.
struct Documents: Sendable {
    let limits: UnpackLimits

    /// What a document has, before it is taken for what its descriptor says.
    private struct Probe: Decodable {
        let schemaVersion: Int?
        let mediaType: String?
        let hasManifests: Bool
        let hasLayersOrConfig: Bool

        enum CodingKeys: CodingKey { case schemaVersion, mediaType, manifests, layers, config, fsLayers }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            schemaVersion = try container.decodeIfPresent(Int.self, forKey: .schemaVersion)
            mediaType = try container.decodeIfPresent(String.self, forKey: .mediaType)
            hasManifests = container.contains(.manifests)
            hasLayersOrConfig =
                container.contains(.layers) || container.contains(.config) || container.contains(.fsLayers)
        }
    }

    /// Two parsers must not see two images in one document (CVE-2021-41190): it is an index or a manifest, its own media
    /// type is that of its descriptor.
    private func verify(_ bytes: [UInt8], _ descriptor: Descriptor, isIndex: Bool) throws {
        let what = isIndex ? "index" : "manifest"
        let probe: Probe = try decode(bytes, "\(what) \(descriptor.digest)")
        guard probe.schemaVersion == 2 else {
            throw ImageError(
                .invalid,
                "\(what) \(descriptor.digest) has schema version \(probe.schemaVersion.map(String.init) ?? "none"): "
                    + "only version 2 is supported")
        }
        if probe.hasManifests && probe.hasLayersOrConfig {
            throw ImageError(
                .invalid, "\(what) \(descriptor.digest) is both a manifest and an index: refused as ambiguous")
        }
        guard probe.hasManifests == isIndex else {
            throw ImageError(
                .invalid,
                "\(descriptor.digest) is announced as \(descriptor.mediaType) but is "
                    + (isIndex ? "no index" : "an index"))
        }
        if let own = probe.mediaType, own != descriptor.mediaType {
            throw ImageError(
                .invalid,
                "\(what) \(descriptor.digest) says that it is \(own), but what points at it says "
                    + descriptor.mediaType)
        }
    }

    func index(_ bytes: [UInt8], _ descriptor: Descriptor) throws -> Index {
        try verify(bytes, descriptor, isIndex: true)
        return try decode(bytes, "index \(descriptor.digest)")
    }

    func manifest(_ bytes: [UInt8], _ descriptor: Descriptor) throws -> Manifest {
        try verify(bytes, descriptor, isIndex: false)
        let manifest: Manifest = try decode(bytes, "manifest \(descriptor.digest)")
        guard MediaType.isConfig(manifest.config.mediaType) else {
            throw ImageError(
                .invalid,
                "manifest \(descriptor.digest) has a configuration of the unknown media type "
                    + "\(manifest.config.mediaType): it is not an image")
        }
        guard manifest.layers.count <= limits.layers else {
            throw ImageError(
                .invalid,
                "manifest \(descriptor.digest) has \(manifest.layers.count) layers; at most \(limits.layers) can be used"
            )
        }
        for layer in manifest.layers where LayerCompression(mediaType: layer.mediaType) == nil {
            throw ImageError(
                .invalid, "layer \(layer.digest) has the unknown media type \(layer.mediaType): it can't be unpacked")
        }
        for part in [manifest.config] + manifest.layers where part.size < 0 {
            throw ImageError(.invalid, "manifest \(descriptor.digest) says that \(part.digest) has \(part.size) bytes")
        }
        return manifest
    }

    func config(_ bytes: [UInt8], _ digest: Digest, layerCount: Int) throws -> ImageConfig {
        let config: ImageConfig = try decode(bytes, "image configuration \(digest)")
        guard config.rootfs.type == "layers" else {
            throw ImageError(
                .invalid, "image \(digest) has a root file system of the unknown type \"\(config.rootfs.type)\"")
        }
        let diffIDs = config.rootfs.diffIDs ?? []
        guard diffIDs.count == layerCount else {
            throw ImageError(
                .invalid,
                "image \(digest) has \(layerCount) layers, but its configuration lists \(diffIDs.count) of them")
        }
        guard config.os == "linux" else {
            throw ImageError(.invalid, "image operating system \"\(config.os)\" cannot be used on this platform")
        }
        return config
    }

    func decode<Value: Decodable>(_ bytes: [UInt8], _ what: String) throws -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(bytes))
        } catch let error as DecodingError {
            throw ImageError(.invalid, "\(what) is not valid: \(describe(error))")
        } catch {
            throw ImageError(.invalid, "\(what) is not valid JSON")
        }
    }

    private func describe(_ error: DecodingError) -> String {
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context):
            let parent = path(context)
            return "\(parent.isEmpty ? "" : parent + ".")\(key.stringValue) is missing"
        case .valueNotFound(_, let context), .typeMismatch(_, let context):
            return "\(path(context)) has the wrong type"
        case .dataCorrupted(let context):
            let place = path(context)
            return (place.isEmpty ? "" : place + ": ") + context.debugDescription
        @unknown default: return "it can't be decoded"
        }
    }

    /// The same bytes for the same value.
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }
}
