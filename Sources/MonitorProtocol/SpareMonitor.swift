import LinuxKernel

/// A monitor that was forked before anybody asked for one. It waits for its container, and ends with this.
public struct SpareMonitor: ~Copyable, Sendable {
    /// For messages only.
    public let pid: Int32
    private let channel: MonitorChannel

    /// - Parameter channel: the other end of the one that the monitor waits at.
    public init(pid: Int32, channel: consuming MonitorChannel) {
        self.pid = pid
        self.channel = channel
    }

    /// Gives it its container.
    ///
    /// - Parameters:
    ///   - network: what takes the place of the new network namespace that the bundle asks for.
    ///   - monitorEnd: the monitor's end of its ``MonitorChannel``; both descriptors stay the caller's.
    /// - Throws: where the monitor is gone: then nothing was started.
    public borrowing func run(bundle: String, network: Int32?, monitorEnd: Int32) throws(ChannelError) {
        if let network { try channel.send(packet: [Mark.network], descriptor: network) }
        try channel.send(packet: [Mark.container] + bundle.utf8, descriptor: monitorEnd)
    }

    /// What the monitor is told.
    public enum Assignment: ~Copyable {
        /// Its container's network namespace. Before the other.
        case network(FileDescriptor)
        case container(bundle: String, monitorEnd: FileDescriptor)
    }

    /// The monitor's side: waits for what it is told next.
    ///
    /// - Returns: nil where nothing more will come.
    public static func next(_ channel: borrowing MonitorChannel) -> Assignment? {
        guard var packet = try? channel.nextPacket(), let descriptor = packet.takeDescriptor() else { return nil }
        switch packet.bytes.first {
        case Mark.network: return .network(descriptor)
        case Mark.container:
            let bundle = String(decoding: packet.bytes.dropFirst(), as: UTF8.self)
            return .container(bundle: bundle, monitorEnd: descriptor)
        default: return nil
        }
    }

    /// The first byte of a packet.
    private enum Mark {
        static let network = UInt8(ascii: "n")
        static let container = UInt8(ascii: "c")
    }
}
