import Glibc

/// Writes all of `bytes`, and ends the program quietly where nobody reads any more (`… | head`).
///
/// - Returns: false where the descriptor takes no more.
@discardableResult
func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count >= 0 {
            rest = rest.dropFirst(count)
        } else if errno == EAGAIN {
            var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            poll(&wait, 1, -1)
        } else if errno != EINTR {
            return false
        }
    }
    return true
}

/// Prints text on standard output.
func output(_ text: String) {
    var text = text
    text.withUTF8 { _ = writeAll(UnsafeRawBufferPointer($0), to: STDOUT_FILENO) }
}

/// Prints a line on standard error.
func complain(_ text: String) {
    var line = text + "\n"
    line.withUTF8 { _ = writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
}
