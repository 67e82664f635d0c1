import CCap
import Glibc
import OCI

/// A set of Linux capabilities (capabilities(7)); bit n is capability number n.
public struct CapabilitySet: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The set of capabilities with these names, `CAP_` optional, any case.
    /// - Throws: naming the first unknown one.
    public init(names: some Sequence<String>) throws(CapabilityError) {
        var bits: UInt64 = 0
        for name in names {
            guard let number = Capabilities.number(of: name) else {
                throw CapabilityError(
                    "unknown capability \(name): capabilities(7) has the names, for example CAP_NET_ADMIN")
            }
            bits |= 1 << UInt64(number)
        }
        rawValue = bits
    }

    /// Names in the form `CAP_CHOWN`, by number.
    public var names: [String] {
        (0..<64).filter { rawValue & (1 << UInt64($0)) != 0 }.map { Capabilities.name(of: $0) }
    }
}

/// A capability that is unknown or can't be had, as one sentence.
public struct CapabilityError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}

/// Capability names, Docker's rules for `--cap-add`/`--cap-drop`, and giving the sets to the calling process.
public enum Capabilities {
    /// What a container has unless told otherwise: Docker's list.
    public static let dockerDefault: [String] = []

    public static func number(of name: String) -> Int? { fatalError() }
    /// `CAP_…`, or the number in decimal for one that libcap has no name for.
    public static func name(of number: Int) -> String { fatalError() }

    /// Every capability that this process can give away: its bounding set, which has no more than the kernel knows.
    public static var available: CapabilitySet { fatalError() }

    /// The bounding set of a container by Docker's rules.
    ///
    /// - Parameters:
    ///   - add: `--cap-add`: names with or without `CAP_`, or `ALL`.
    ///   - drop: `--cap-drop`: the same.
    ///   - privileged: every available capability, whatever `add` and `drop` say.
    /// - Returns: names in the form `CAP_CHOWN`.
    /// - Throws: for an unknown name and for one that the host cannot give.
    public static func resolve(
        add: [String], drop: [String], privileged: Bool
    ) throws(CapabilityError) -> [String] { fatalError() }

    /// The five sets of a process as Docker fills them: a user other than root has the bounding set alone, as
    /// execve(2) would leave it.
    public static func specification(bounding: [String], uid: UInt32) -> RuntimeSpec.Capabilities { fatalError() }

    /// To be called as root before setuid(2): shrinks the bounding set to `sets.bounding`, clears the ambient set and
    /// asks the kernel to keep the permitted set across the change of uid.
    public static func prepare(_ sets: RuntimeSpec.Capabilities) throws(SystemError) { fatalError() }

    /// To be called after setuid(2): sets permitted, effective, inheritable and ambient, and ends the keeping.
    public static func apply(_ sets: RuntimeSpec.Capabilities) throws(SystemError) { fatalError() }
}
