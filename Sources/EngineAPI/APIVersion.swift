/// A version of the Engine API, such as 1.51.
public struct APIVersion: Comparable, Hashable, Sendable, CustomStringConvertible, LosslessStringConvertible {
    public let major: Int
    public let minor: Int

    /// The newest and the oldest that this daemon serves.
    public static let newest = APIVersion(1, 51)
    public static let oldest = APIVersion(1, 24)

    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ (1...4).contains($0.utf8.count) }),
            let major = Int(parts[0]), let minor = Int(parts[1]), major >= 0, minor >= 0
        else { return nil }
        self.init(major, minor)
    }

    public var description: String { "\(major).\(minor)" }

    public static func < (left: Self, right: Self) -> Bool { (left.major, left.minor) < (right.major, right.minor) }
}
