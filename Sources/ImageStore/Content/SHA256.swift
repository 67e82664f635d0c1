import CCrypto
import OCI

/// SHA-256 of bytes that come in pieces.
final class SHA256 {
    private let context: OpaquePointer

    init() {
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            preconditionFailure("OpenSSL has no SHA-256")
        }
        self.context = context
    }

    func update(_ bytes: UnsafeRawBufferPointer) {
        let done = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        precondition(done == 1, "EVP_DigestUpdate failed")
    }

    /// The digest of everything so far; nothing can be added after it.
    func finish() -> Digest {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { value in
            let done = EVP_DigestFinal_ex(context, value.baseAddress, nil)
            precondition(done == 1, "EVP_DigestFinal_ex failed")
            return Digest(bytes: value)
        }
    }

    deinit { EVP_MD_CTX_free(context) }

    static func digest(of bytes: some Sequence<UInt8>) -> Digest {
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
