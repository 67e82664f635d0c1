import LinuxKernel

/// A transport protocol whose ports can be published.
public enum TransportProtocol: String, Hashable, Sendable, Codable, CaseIterable {
    case tcp, udp, sctp
}

/// One port of the host that leads to one port of a container.
public struct PublishedPort: Hashable, Sendable, Codable, CustomStringConvertible {
    public let transport: TransportProtocol
    /// `0.0.0.0` and `::` stand for every address of the host of that family, loopback included; 127.0.0.0/8 and `::1`
    /// for this host only.
    public let hostAddress: IPAddress
    public let hostPort: UInt16
    public let containerAddress: IPAddress
    public let containerPort: UInt16
    /// The name of the bridge that the container is on.
    public let bridge: String

    public init(
        transport: TransportProtocol, hostAddress: IPAddress, hostPort: UInt16, containerAddress: IPAddress,
        containerPort: UInt16, bridge: String
    ) {
        self.transport = transport
        self.hostAddress = hostAddress
        self.hostPort = hostPort
        self.containerAddress = containerAddress
        self.containerPort = containerPort
        self.bridge = bridge
    }

    /// Whether the kernel's address translation can do it at all: it crosses no address family, and it never takes a
    /// packet for ::1 off the loopback interface.
    public var isTranslated: Bool {
        hostAddress.isIPv6 == containerAddress.isIPv6 && !(hostAddress.isIPv6 && hostAddress.isLoopback)
    }

    /// Whether connections are left over that only a relay in the daemon can carry: `::1`, link-local IPv6, and IPv6 to
    /// a container that has IPv4 only.
    public var isRelayed: Bool {
        hostAddress.isIPv6 && transport != .sctp && (!isTranslated || hostAddress.isUnspecified)
    }

    /// As Docker writes it in errors: `0.0.0.0:8080:172.17.0.2:80/tcp`.
    public var description: String {
        "\(PublishedPort.text(hostAddress, hostPort)):\(PublishedPort.text(containerAddress, containerPort))"
            + "/\(transport.rawValue)"
    }

    /// `192.0.2.1:80` or `[2001:db8::1]:80`
    static func text(_ address: IPAddress, _ port: UInt16) -> String {
        address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
