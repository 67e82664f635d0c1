/// How macvlans on one parent reach each other (linux/if_link.h, enum macvlan_mode).
public enum MacvlanMode: UInt32, Sendable, Equatable, Codable {
    case isolated = 1
    case vepa = 2
    case bridge = 4
    case passthru = 8

    /// Docker's `macvlan_mode`: `private`, `vepa`, `bridge` or `passthru`.
    public init?(_ name: String) {
        switch name {
        case "private": self = .isolated
        case "vepa": self = .vepa
        case "bridge": self = .bridge
        case "passthru": self = .passthru
        default: return nil
        }
    }
}
