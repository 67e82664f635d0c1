import Glibc
import LinuxKernel
import OCI
import Testing

@testable import ImageStore

/// THREATS.md, the row on manifests: refused with a sentence, and nothing of it is kept.
@Suite(.enabled(if: isRoot)) struct HostileImageTests {
    let fixture = StoreFixture()

    private func expectRefusal(
        _ name: String = "app", containing words: String, limits: UnpackLimits = .standard,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let (store, _) = try await fixture.open(limits: limits)
        let error = await #expect(throws: ImageError.self, sourceLocation: sourceLocation) {
            try await fixture.pull(name, store)
        }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")", sourceLocation: sourceLocation)
        try fixture.expectEmpty(store)
    }

    private func layout() throws -> LayoutBuilder {
        try LayoutBuilder(registry: fixture.registry, repository: "app")
    }

    @Test func aBlobWithOtherContent() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer, upperLayer]))
        var damaged = upperLayer
        damaged[600] ^= 1
        try writeFile(layout.blobPath(SHA256.digest(of: upperLayer)), damaged)
        try await expectRefusal(containing: "other content than its digest says")
    }

    @Test func aBlobOfAnotherSize() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer]))
        try writeFile(layout.blobPath(SHA256.digest(of: baseLayer)), baseLayer + [0])
        try await expectRefusal(containing: "bytes, but its manifest says")
    }

    @Test func aMissingBlob() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer, upperLayer]))
        unlink(layout.blobPath(SHA256.digest(of: upperLayer)))
        try await expectRefusal(containing: "is missing in image layout")
    }

    @Test func aPipeInPlaceOfABlob() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer]))
        let path = layout.blobPath(SHA256.digest(of: baseLayer))
        unlink(path)
        mkfifo(path, 0o600)
        try await expectRefusal(containing: "not a regular file")
    }

    @Test func anotherDiffID() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer], diffIDs: [SHA256.digest(of: [1])]))
        try await expectRefusal(containing: "but the image's configuration says")
    }

    @Test func moreLayersThanDiffIDs() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer, upperLayer], diffIDs: [SHA256.digest(of: baseLayer)]))
        try await expectRefusal(containing: "has 2 layers, but its configuration lists 1")
    }

    @Test func aManifestThatIsAlsoAnIndex() async throws {
        var layout = try layout()
        let manifest = try layout.manifest([baseLayer])
        let text = String(decoding: try readFile(layout.blobPath(manifest.digest)), as: UTF8.self)
        let both = try layout.blob(Array((text.dropLast() + ",\"manifests\":[]}").utf8), MediaType.ociManifest)
        try layout.tag("latest", both)
        try await expectRefusal(containing: "both a manifest and an index")
    }

    @Test func aManifestAnnouncedAsAnIndexAndTheOtherWay() async throws {
        var layout = try layout()
        var manifest = try layout.manifest([baseLayer])
        manifest.mediaType = MediaType.ociIndex
        try layout.tag("latest", manifest)
        var index = try layout.blob(Documents.encode(Index(manifests: [])), MediaType.ociIndex)
        index.mediaType = MediaType.ociManifest
        try layout.tag("other", index)
        try await expectRefusal(containing: "is no index")
        try await expectRefusal("app:other", containing: "but is an index")
    }

    @Test func aMediaTypeThatContradictsItsDescriptor() async throws {
        var layout = try layout()
        var manifest = try layout.manifest([baseLayer])
        manifest.mediaType = MediaType.dockerManifest
        try layout.tag("latest", manifest)
        try await expectRefusal(containing: "but what points at it says")
    }

    @Test func unknownMediaTypes() async throws {
        var layout = try layout()
        var manifest = try layout.manifest([baseLayer])
        manifest.mediaType = "text/plain"
        try layout.tag("latest", manifest)
        let config = try layout.blob([123, 125], "application/vnd.example.config")
        let artifact = Manifest(config: config, layers: [])
        try layout.tag("artifact", layout.blob(Documents.encode(artifact), MediaType.ociManifest))
        let image = Manifest(
            config: try layout.blob([123, 125], MediaType.ociConfig), layers: [try layout.blob([1], "image/png")])
        try layout.tag("layer", layout.blob(Documents.encode(image), MediaType.ociManifest))
        try await expectRefusal(containing: "text/plain, which is not an image's")
        try await expectRefusal("app:artifact", containing: "it is not an image")
        try await expectRefusal("app:layer", containing: "unknown media type image/png")
    }

    @Test func anIndexThatContainsItself() async throws {
        // No file can hold its own digest; the ring is what a liar's file names would make of it.
        var layout = try layout()
        let fake = SHA256.digest(of: [1])
        let ring = Index(manifests: [Descriptor(mediaType: MediaType.ociIndex, digest: fake, size: 10)])
        try writeFile(layout.blobPath(fake), Documents.encode(ring))
        try layout.tag("latest", layout.blob(Documents.encode(ring), MediaType.ociIndex))
        try await expectRefusal(containing: "bytes, but what points at it says")
        // A tower of indexes ends, too.
        var top = try layout.manifest([baseLayer])
        for _ in 0..<70 { top = try layout.blob(Documents.encode(Index(manifests: [top])), MediaType.ociIndex) }
        try layout.tag("tower", top)
        try await expectRefusal("app:tower", containing: "contains itself, or too many indexes")
    }

    @Test func nestedIndexesForThisPlatformWork() async throws {
        var layout = try layout()
        let other = Platform(architecture: "s390x", os: "linux")
        var foreign = try layout.manifest([upperLayer], platform: other)
        foreign.platform = other
        var native = try layout.manifest([baseLayer])
        native.platform = .host
        let artifact = Descriptor(mediaType: "application/vnd.example", digest: SHA256.digest(of: []), size: 0)
        let inner = try layout.blob(Documents.encode(Index(manifests: [native])), MediaType.dockerManifestList)
        var innerIndex = Index(manifests: [artifact, foreign])
        innerIndex.manifests.append(try rewrapped(inner, layout))
        try layout.tag("latest", layout.blob(Documents.encode(innerIndex), MediaType.ociIndex))
        try layout.tag("foreign", layout.blob(Documents.encode(Index(manifests: [foreign])), MediaType.ociIndex))
        let (store, _) = try await fixture.open()
        let image = try await fixture.pull("app", store)
        #expect(image.manifest.digest == native.digest)
        let error = await #expect(throws: ImageError.self) { try await fixture.pull("app:foreign", store) }
        #expect(error?.message.contains("no matching manifest for linux/") == true)
    }

    /// An index whose own media type is Docker's, as its descriptor says.
    private func rewrapped(_ descriptor: Descriptor, _ layout: LayoutBuilder) throws -> Descriptor {
        let documents = Documents(limits: .standard)
        var index: Index = try documents.decode(readFile(layout.blobPath(descriptor.digest)), "index")
        index.mediaType = MediaType.dockerManifestList
        return try layout.blob(Documents.encode(index), MediaType.dockerManifestList)
    }

    @Test func anExpandingLayer() async throws {
        var layout = try layout()
        let scratch = Scratch()
        try writeFile(
            scratch.file("bomb.tar"), layer { $0.add("zeros", content: [UInt8](repeating: 0, count: 8 << 20)) })
        #expect(try run("gzip", "-9", scratch.file("bomb.tar")) == 0)
        let packed = try layout.blob(readFile(scratch.file("bomb.tar.gz")), MediaType.ociLayerGzip)
        let config = ImageConfig(rootfs: .init(diffIDs: [SHA256.digest(of: [1])]))
        let described = try layout.blob(Documents.encode(config), MediaType.ociConfig)
        try layout.tag(
            "latest",
            layout.blob(Documents.encode(Manifest(config: described, layers: [packed])), MediaType.ociManifest))
        var limits = UnpackLimits.standard
        limits.expansionFloor = 1 << 20
        limits.expansionRatio = 100
        try await expectRefusal(containing: "expands to more than", limits: limits)
    }

    /// Sizes are what a manifest says: any number must do no more than be wrong.
    @Test(arguments: [MediaType.ociLayer, MediaType.ociLayerGzip, MediaType.ociLayerZstd])
    func aLayerOfAnyClaimedSize(mediaType: String) async throws {
        for size in [Int64.max, Int64.max / 2, 0] {
            var layout = try layout()
            var claimed = try layout.blob(baseLayer, mediaType)
            claimed.size = size
            let config = ImageConfig(rootfs: .init(diffIDs: [claimed.digest]))
            let described = try layout.blob(Documents.encode(config), MediaType.ociConfig)
            try layout.tag(
                "latest",
                layout.blob(Documents.encode(Manifest(config: described, layers: [claimed])), MediaType.ociManifest))
            try await expectRefusal(containing: "bytes, but its manifest says")
        }
    }

    @Test func anEndlessLayer() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer]))
        var limits = UnpackLimits.standard
        limits.layerBytes = Int64(baseLayer.count)
        let (store, _) = try await fixture.open(limits: limits)
        _ = try await fixture.pull("app", store)
        limits.layerBytes -= 1
        let other = StoreFixture()
        let (strict, _) = try await other.open(limits: limits)
        let error = await #expect(throws: ImageError.self) {
            try await strict.pull(ImageReference(parsing: "app"), from: [fixture.registry], progress: { _ in })
        }
        #expect(error?.message.contains("bytes; at most") == true, "\(error?.message ?? "")")
        try other.expectEmpty(strict)
    }

    @Test func hostileLayersLeaveNothing() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer, layer { $0.add("../../escape", content: [1]) }]))
        try await expectRefusal(containing: "could lead out of the layer")
    }

    @Test func documentsThatAreTooLargeOrNoJSON() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.blob(Array("{\"schemaVersion\":2,".utf8), MediaType.ociManifest))
        try layout.tag("empty", layout.blob([], MediaType.ociManifest))
        var limits = UnpackLimits.standard
        try await expectRefusal(containing: "is not valid")
        try await expectRefusal("app:empty", containing: "is not valid")
        limits.documentBytes = 10
        try await expectRefusal("app:latest", containing: "at most 10 are accepted", limits: limits)
    }

    @Test func unknownTagsRepositoriesAndDirectories() async throws {
        var layout = try layout()
        try layout.tag("latest", layout.manifest([baseLayer]))
        try await expectRefusal("app:none", containing: "manifest for app:none not found: manifest unknown")
        try await expectRefusal("nothing", containing: "repository nothing not found in registry directory")
        let (store, _) = try await fixture.open()
        let error = await #expect(throws: ImageError.self) {
            try await store.pull(ImageReference(parsing: "app"), from: ["/nonexistent"], progress: { _ in })
        }
        #expect(error?.message.contains("there is no registry directory /nonexistent") == true)
    }

    @Test func aFullDisk() async throws {
        var layout = try layout()
        let big = layer { $0.add("big", content: [UInt8](repeating: 7, count: 4 << 20)) }
        try layout.tag("latest", layout.manifest([baseLayer, big]))
        mkdir(fixture.dataRoot, 0o700)
        #expect(try run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", fixture.dataRoot) == 0)
        defer { umount2(fixture.dataRoot, Int32(MNT_DETACH)) }
        try await expectRefusal(containing: "no space left on the data root's disk")
    }

    /// An archive is read by jumping over contents, as far as their headers say.
    @Test(arguments: [Int64.max, Int64.max - 511, 1 << 40]) func anArchiveWithAnImmenseEntry(size: Int64) async throws {
        let (store, _) = try await fixture.open(limits: .standard)
        var tar = TarBuilder()
        tar.add("immense", content: [UInt8](repeating: 7, count: 40_000))
        var archive = tar.archive
        // GNU's form of large numbers, base 256.
        archive.replaceSubrange(
            124..<136, with: [0x80, 0, 0, 0] + (0..<8).map { UInt8(truncatingIfNeeded: size >> (56 - 8 * Int64($0))) })
        archive.replaceSubrange(148..<156, with: repeatElement(UInt8(ascii: " "), count: 8))
        let sum = String(archive[..<512].reduce(0) { $0 + Int($1) }, radix: 8)
        archive.replaceSubrange(148..<156, with: "\(String(repeating: "0", count: 6 - sum.count))\(sum)\0 ".utf8)
        let path = fixture.scratch.file("immense.tar")
        try writeFile(path, archive)
        let file = try FileDescriptor(path, O_RDONLY)
        let raw = file.raw
        let error = await #expect(throws: ImageError.self) { try await store.load(from: raw, progress: { _ in }) }
        #expect(error?.message.contains("ends in the middle of an entry") == true, "\(error?.message ?? "")")
    }
}
