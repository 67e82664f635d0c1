import CLinux
import Glibc
import LinuxKernel

/// Ownership, mode, times and extended attributes of files that were just made, through descriptors.
enum FileAttributes {
    static func timestamps(_ seconds: Int64, _ nanoseconds: Int) -> (timespec, timespec) {
        let time = timespec(tv_sec: Int(seconds), tv_nsec: nanoseconds)
        return (time, time)
    }

    static func setTimes(_ descriptor: Int32, _ seconds: Int64, _ nanoseconds: Int) throws(SystemError) {
        var times = timestamps(seconds, nanoseconds)
        try checked("set times") {
            withUnsafeBytes(of: &times) { futimens(descriptor, $0.assumingMemoryBound(to: timespec.self).baseAddress!) }
        }
    }

    static func setTimes(
        _ name: UnsafePointer<CChar>, in directory: Int32, _ seconds: Int64, _ nanoseconds: Int
    ) throws(SystemError) {
        var times = timestamps(seconds, nanoseconds)
        try checked("set times of \(String(cString: name))") {
            withUnsafeBytes(of: &times) {
                utimensat(
                    directory, name, $0.assumingMemoryBound(to: timespec.self).baseAddress!, AT_SYMLINK_NOFOLLOW)
            }
        }
    }

    /// Whether a layer may set an attribute. overlayfs keeps its own state in these; a layer that brings them could
    /// redirect a directory or fake a whiteout. A file's SELinux label is the host's policy's to choose.
    static func isForbidden(_ name: some Collection<UInt8>) -> Bool {
        name.starts(with: "trusted.overlay.".utf8) || name.starts(with: "user.overlay.".utf8)
            || name.elementsEqual("security.selinux".utf8) || name.contains(0)
    }

    /// Whether failing to set an attribute is no reason to refuse the file: the file system lacks its kind, or (with
    /// `user.` attributes) it can't be on such a file. A lost file capability is a reason.
    static func isTolerated(_ code: Int32, _ name: [UInt8]) -> Bool {
        if name.elementsEqual("security.capability".utf8) { return false }
        return code == ENOTSUP || (code == EPERM && name.starts(with: "user.".utf8))
    }

    /// Sets attributes of an open file.
    static func setExtended(_ attributes: [TarEntry.ExtendedAttribute], on descriptor: Int32) throws(SystemError) {
        for attribute in attributes where !isForbidden(attribute.name) {
            let result = withCString(attribute.name) { name in
                attribute.value.withUnsafeBytes { clinux_fsetxattr(descriptor, name, $0.baseAddress, $0.count) }
            }
            if result < 0, !isTolerated(errno, attribute.name) {
                throw SystemError.current("set attribute \(printable(attribute.name))")
            }
        }
    }

    /// Sets attributes of what can't be opened: a link, a device. The last component is not followed.
    static func setExtended(
        _ attributes: [TarEntry.ExtendedAttribute], of name: UnsafePointer<CChar>, in directory: Int32
    ) throws(SystemError) {
        guard !attributes.isEmpty else { return }
        let path = "/proc/self/fd/\(directory)/".utf8.map { CChar($0) }
        let full = path + UnsafeBufferPointer(start: name, count: strlen(name) + 1)
        for attribute in attributes where !isForbidden(attribute.name) {
            let result = withCString(attribute.name) { key in
                attribute.value.withUnsafeBytes { clinux_lsetxattr(full, key, $0.baseAddress, $0.count) }
            }
            if result < 0, !isTolerated(errno, attribute.name) {
                throw SystemError.current("set attribute \(printable(attribute.name))")
            }
        }
    }

    /// The attributes of an open file, overlayfs's own left out.
    static func extended(of descriptor: Int32) throws(SystemError) -> [TarEntry.ExtendedAttribute] {
        let size = clinux_flistxattr(descriptor, nil, 0)
        if size == 0 || (size < 0 && errno == ENOTSUP) { return [] }
        if size < 0 { throw SystemError.current("list attributes") }
        var list = [CChar](repeating: 0, count: size)
        let count = try checked("list attributes") { clinux_flistxattr(descriptor, &list, size) }
        var result: [TarEntry.ExtendedAttribute] = []
        for bytes in list[..<count].map({ UInt8(bitPattern: $0) }).split(separator: 0) where !isForbidden(bytes) {
            let name = Array(bytes)
            let length = withCString(name) { clinux_fgetxattr(descriptor, $0, nil, 0) }
            guard length >= 0 else { continue }
            var value = [UInt8](repeating: 0, count: length)
            let read = withCString(name) { clinux_fgetxattr(descriptor, $0, &value, length) }
            guard read == length else { throw SystemError.current("read attribute \(printable(name))") }
            result.append(.init(name: name, value: value))
        }
        return result
    }
}
