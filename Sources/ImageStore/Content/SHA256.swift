import CCrypto
import OCI

/// SHA-256 of bytes that come in pieces.
public final class SHA256 {
    private var context = SHA256_CTX()

    public init() { SHA256_Init(&context) }

    public func update(_ bytes: UnsafeRawBufferPointer) { SHA256_Update(&context, bytes.baseAddress, bytes.count) }

    /// The digest of everything so far; nothing can be added after it.
    public func finish() -> Digest {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { value in
            SHA256_Final(value.baseAddress, &context)
            return Digest(bytes: value)
        }
    }

    public static func digest(of bytes: some Sequence<UInt8>) -> Digest {
        let hash = SHA256()
        let contiguous = ContiguousArray(bytes)
        contiguous.withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}

extension Digest {
    /// The chain ID of a layer on top of others: image-spec config.md, "Layer ChainID".
    static func chainID(parent: Digest?, diffID: Digest) -> Digest {
        guard let parent else { return diffID }
        return SHA256.digest(of: "\(parent) \(diffID)".utf8)
    }

    /// The chain IDs of layers, bottom first.
    static func chainIDs(_ diffIDs: [Digest]) -> [Digest] {
        var chain: [Digest] = []
        for diffID in diffIDs { chain.append(chainID(parent: chain.last, diffID: diffID)) }
        return chain
    }
}
