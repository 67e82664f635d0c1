/// What networking refuses or fails at, as a sentence that reaches the client.
public struct NetworkingError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// The request makes no sense or asks for what this host can't do.
        case invalid
        /// The request collides with something that exists: an address, a port, an interface.
        case conflict
        case notFound
        /// The host refused: a system call, nftables.
        case system
    }

    public var kind: Kind
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
}
