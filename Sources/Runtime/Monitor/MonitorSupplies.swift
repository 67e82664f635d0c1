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
    /// A network namespace that nobody is in, loopback up, for this monitor's container.
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

    /// With the network namespace of its container.
    func with(network: consuming FileDescriptor) -> MonitorSupplies {
        var other = self
        other.network = Descriptor(network)
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
