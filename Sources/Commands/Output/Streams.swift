import Glibc

/// Writes all of `bytes`, waiting where the descriptor takes no more for now.
///
/// - Returns: false, with `errno` set, where they can't be written.
@discardableResult
func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
    var rest = bytes
    while !rest.isEmpty {
        let count = write(descriptor, rest.baseAddress, rest.count)
        if count >= 0 {
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        } else if errno == EAGAIN {
            var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            poll(&wait, 1, -1)
        } else if errno != EINTR {
            return false
        }
    }
    return true
}

/// Prints text on standard output. Where nobody reads any more (`events | head`) the program ends, as SIGPIPE would
/// have ended it.
func output(_ text: String) {
    var text = text
    let isWritten = text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDOUT_FILENO) }
    if !isWritten && errno == EPIPE { exit(128 + SIGPIPE) }
}

/// Prints a line on standard error. What it names of the command line is shown as it was typed.
func complain(_ text: String) {
    RawBytes.bytes(text + "\n").withUnsafeBytes { _ = writeAll($0, to: STDERR_FILENO) }
}
