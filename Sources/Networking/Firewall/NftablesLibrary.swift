import Glibc

/// libnftables, loaded when the first network needs it: a daemon whose containers have no networks runs on a host
/// without it, and no daemon pays for it before.
///
/// Its interface is libnftables(3), which keeps its soname (`LIBNFTABLES_1` in its map file) since 2018.
struct NftablesLibrary: Sendable {
    /// A context of the library's.
    typealias Context = OpaquePointer

    let makeContext: @convention(c) (UInt32) -> Context?
    let freeContext: @convention(c) (Context) -> Void
    let bufferOutput: @convention(c) (Context) -> Int32
    let bufferErrors: @convention(c) (Context) -> Int32
    let run: @convention(c) (Context, UnsafePointer<CChar>) -> Int32
    let output: @convention(c) (Context) -> UnsafePointer<CChar>?
    let errors: @convention(c) (Context) -> UnsafePointer<CChar>?

    /// `NFT_CTX_DEFAULT`
    static let defaultFlags: UInt32 = 0
    static let fileName = "libnftables.so.1"

    /// - Throws: `.system` with a sentence that says what to install.
    init(_ fileName: String = fileName) throws(NetworkingError) {
        // It stays loaded: contexts live as long as the daemon, or nearly so.
        guard let handle = dlopen(fileName, RTLD_NOW | RTLD_LOCAL) else { throw Self.absent() }
        makeContext = try Self.function("nft_ctx_new", in: handle)
        freeContext = try Self.function("nft_ctx_free", in: handle)
        bufferOutput = try Self.function("nft_ctx_buffer_output", in: handle)
        bufferErrors = try Self.function("nft_ctx_buffer_error", in: handle)
        run = try Self.function("nft_run_cmd_from_buffer", in: handle)
        output = try Self.function("nft_ctx_get_output_buffer", in: handle)
        errors = try Self.function("nft_ctx_get_error_buffer", in: handle)
    }

    private static func function<Function>(
        _ name: String, in handle: UnsafeMutableRawPointer
    ) throws(NetworkingError) -> Function {
        guard let symbol = dlsym(handle, name) else { throw absent() }
        return unsafeBitCast(symbol, to: Function.self)
    }

    private static func absent() -> NetworkingError {
        let reason = dlerror().map { String(cString: $0) } ?? "no reason given"
        return NetworkingError(
            .system,
            "the firewall's library can't be loaded, which container networks need (\(reason)): install libnftables1, or "
                + "use --network host or none")
    }
}
