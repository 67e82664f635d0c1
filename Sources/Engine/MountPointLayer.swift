import LinuxKernel
import OCI

/// The lowest layer of every container: empty directories and files on which each of them has something mounted, where
/// its image has none. Without it a start would make them in the container's own layer, which takes as long as all of
/// the mounts. An image's own files lie above it, so what an image has or has removed counts.
enum MountPointLayer {
    static let directories = ["/dev", "/proc", "/sys"]
    static let files = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]

    /// Makes what is missing of it. Only added to: containers that run have it mounted.
    static func make(at path: String) throws(SystemError) {
        for directory in ["", "/etc"] + directories { try Files.makeDirectory(path + directory, mode: 0o755) }
        for file in files where !Files.exists(path + file) {
            try Files.write(path + file, "", mode: 0o644)
        }
    }
}

extension Engine {
    /// The directories under a container's own, uppermost first.
    func lowerDirectories(_ record: ContainerRecord) -> [String] {
        let chainID = record.document.chainID.flatMap { Digest(hex: $0) }
        return imageStore.lowerDirectories(chainID: chainID) + [paths.mountPoints]
    }
}
