import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// What a zygote makes for monitors before anybody waits for it. A monitor that is executed has none of it and makes its
/// own, with the same result.
struct MonitorSupplies {
    /// Where the controllers are.
    private(set) var cgroups: CgroupLayout?
    /// The device program of containers that ask for nothing special; all of them share it.
    private(set) var deviceProgram: DeviceProgram?
    /// A network namespace that nobody is in, loopback up. One container's: it is given away once.
    private var network: Descriptor?

    private final class Descriptor {
        let raw: Int32
        init(_ descriptor: consuming FileDescriptor) { raw = descriptor.release() }
        deinit { close(raw) }
    }

    static func made() -> MonitorSupplies {
        var supplies = MonitorSupplies()
        supplies.cgroups = try? CgroupLayout.detect()
        supplies.deviceProgram = try? DeviceFilter.load(DeviceFilter.containerDefault)
        return supplies
    }

    /// Makes what was given away.
    /// - Returns: whether something was missing and has been made.
    @discardableResult
    mutating func refill() -> Bool {
        guard network == nil, let made = try? NetworkNamespace.make() else { return false }
        network = Descriptor(made)
        return true
    }

    /// The namespace, for sending it to another process.
    var networkDescriptor: Int32? { network?.raw }

    /// With a namespace that another process made.
    func with(network: consuming FileDescriptor) -> MonitorSupplies {
        var other = self
        other.network = Descriptor(network)
        return other
    }

    /// For a container with a network of its own; this has none any more.
    mutating func withNetwork() -> MonitorSupplies {
        defer { network = nil }
        return self
    }

    var withoutNetwork: MonitorSupplies {
        var other = self
        other.network = nil
        return other
    }

    /// What must survive the closing of everything inherited.
    var descriptors: [Int32] { [deviceProgram?.raw, network?.raw].compactMap { $0 } }

    /// The configuration, with the new network namespace that it asks for replaced by the one that is ready.
    func joiningNetwork(_ spec: RuntimeSpec) -> RuntimeSpec {
        guard let network,
            let index = spec.linux?.namespaces?.firstIndex(where: { $0.type == "network" && $0.path == nil })
        else { return spec }
        var spec = spec
        spec.linux?.namespaces?[index].path = "/proc/self/fd/\(network.raw)"
        return spec
    }
}
