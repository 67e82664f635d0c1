import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The exit record on its way to disk. Its space is taken before anything is started, so that a full disk cannot cost
/// an exit code; it appears under its name at once and whole, so that what can be read is true.
struct ExitRecordFile: ~Copyable {
    private static let size = 4096
    private let path: String
    private let prepared: String
    private let file: FileDescriptor

    /// Takes the space beside `path` and removes a record of an earlier run.
    init(path: String) throws(SystemError) {
        self.path = path
        let prepared = path + ".prepared"
        let file = try FileDescriptor(prepared, O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
        let failure = posix_fallocate(file.raw, 0, off_t(ExitRecordFile.size))
        if failure != 0 {
            unlink(prepared)
            throw SystemError("allocate \(prepared)", errno: failure)
        }
        unlink(path)
        self.prepared = prepared
        self.file = file
    }

    /// Writes the record into the space and gives it its name.
    consuming func commit(_ record: ExitRecord) throws(SystemError) {
        var record = record
        var bytes = ExitRecordFile.encode(record)
        if bytes.count > ExitRecordFile.size {
            record.oomVictims = []
            if var failure = record.failure {
                failure.message = String(failure.message.prefix(1000))
                record.failure = failure
            }
            bytes = ExitRecordFile.encode(record)
        }
        var written = 0
        while written < bytes.count {
            written += try checked("write \(prepared)") {
                bytes.withUnsafeBytes {
                    pwrite(file.raw, $0.baseAddress! + written, $0.count - written, off_t(written))
                }
            }
        }
        try checked("truncate \(prepared)") { ftruncate(file.raw, off_t(bytes.count)) }
        try checked("rename \(prepared)") { rename(prepared, path) }
    }

    /// Gives the space back without a record.
    consuming func abandon() { unlink(prepared) }

    private static func encode(_ record: ExitRecord) -> [UInt8] {
        (try? JSONTextEncoder.encode(record)) ?? []
    }
}
