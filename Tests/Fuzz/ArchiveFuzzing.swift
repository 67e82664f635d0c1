import CLinux
import Glibc
import LinuxKernel
import OCI

@testable import Commands
@testable import ImageStore

/// Bytes of archives that clients send, and of those that the daemon sends to a client.
enum ArchiveFuzzing {
    /// An archive of images: every document that it promises is looked for.
    static func archive(_ input: UnsafeRawBufferPointer) throws {
        let bytes = withChecksums(input)
        let range = try memoryRange(bytes)
        let source = try ArchiveSource(
            file: range.file.duplicate().release(), size: Int64(bytes.count), description: "the archive",
            limits: LayerFuzzing.limits)
        for image in source.images {
            let documents = Documents(limits: LayerFuzzing.limits)
            let found = try source.manifest(of: image.root, platform: .host, documents: documents, name: "image")
            let document = try readDocument(
                source.open(found), found, limit: LayerFuzzing.limits.documentBytes)
            for layer in try documents.manifest(document, found).layers { _ = try? source.open(layer) }
        }
    }

    /// Compressed streams, in pieces that end anywhere.
    static func compression(_ input: UnsafeRawBufferPointer) throws {
        let (pieces, rest) = input.variant
        guard let decompressor = try ArchiveCompression(magic: rest.prefix(6)).makeDecompressor() else { return }
        let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
        defer { output.deallocate() }
        var left = rest[...]
        var total = 0
        while !left.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: left.prefix(pieces + 1))
            left = left.dropFirst(pieces + 1)
            var used = 0
            while true {
                let (consumed, produced) = try decompressor.decompress(
                    UnsafeRawBufferPointer(rebasing: piece[used...]), into: output)
                require(consumed >= 0 && consumed <= piece.count - used, "no more is consumed than there is")
                require(produced >= 0 && produced <= output.count, "no more is produced than there is room")
                used += consumed
                total += produced
                if total > 1 << 20 || (used == piece.count && produced < output.count) { break }
                require(consumed > 0 || produced > 0, "a step does something")
            }
            if total > 1 << 20 { return }
        }
        try decompressor.finish()
    }

    /// What a container's archive leaves on the client's disk, if anything.
    static func copy(_ input: UnsafeRawBufferPointer) throws {
        try LayerFuzzing.inFolder { folder in
            var rest = withChecksums(input)[...]
            var reader = Commands.TarReader {
                if rest.isEmpty { return nil }
                defer { rest = rest.dropFirst(700) }
                return Array(rest.prefix(700))
            }
            let root = try FileDescriptor(folder, O_RDONLY | O_DIRECTORY)
            var unpacker = TarUnpacker(into: root.raw, renaming: (from: "a", to: "b"), keepsOwners: false)
            _ = try unpacker.unpack(&reader)
        }
    }

    private static func withChecksums(_ input: UnsafeRawBufferPointer) -> [UInt8] {
        var bytes = Array(input)
        bytes.withUnsafeMutableBytes { LayerFuzzing.setChecksums($0) }
        return bytes
    }
}
