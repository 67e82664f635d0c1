import Glibc

/// The descriptors 0, 1 and 2.
public enum StandardStreams {
    /// Opens /dev/null for each one that the program was started without: the next file or socket would get its number
    /// else, and be read as the user's input or get what is printed.
    public static func open() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // The lowest free number is this one.
            _ = Glibc.open("/dev/null", O_RDWR)
        }
    }
}
