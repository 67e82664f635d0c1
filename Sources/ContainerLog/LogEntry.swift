import OCI

/// Which of a container's streams output came from; the numbers are those of Docker's stream frames.
public enum LogStream: UInt8, Codable, Sendable {
    case stdout = 1
    case stderr = 2
}

/// How a log file is written.
public enum LogFormat: String, Codable, Sendable {
    /// `<RFC3339Nano> <stdout|stderr> <F|P> <content>`, the format that kubelets read: F when a newline follows the
    /// content, P when the line goes on in the stream's next record. Reported to Docker's clients as driver `local`.
    case cri
    /// Docker's `json-file`: `{"log":"content\n","stream":"stdout","time":"…"}`; content that is not UTF-8 loses its
    /// invalid bytes to U+FFFD, as with dockerd.
    case json
}

/// A point between two records of a log.
public struct LogPosition: Codable, Sendable, Equatable {
    /// Inode of the file that was live.
    public var inode: UInt64
    /// Bytes from its start.
    public var offset: Int64

    public init(inode: UInt64, offset: Int64) {
        self.inode = inode
        self.offset = offset
    }
}

/// One record of a log: a line, or a piece of a long or unfinished one.
public struct LogEntry: Sendable, Equatable {
    /// Nanoseconds since the epoch.
    public var time: Int64
    public var stream: LogStream
    /// The bytes that the container wrote, with the newline where there was one.
    public var content: [UInt8]
    /// No newline ends the content: the stream's next entry continues the line.
    public var partial: Bool
    /// The stream's previous entry was partial.
    public var continuesLine: Bool

    public init(time: Int64, stream: LogStream, content: [UInt8], partial: Bool, continuesLine: Bool) {
        self.time = time
        self.stream = stream
        self.content = content
        self.partial = partial
        self.continuesLine = continuesLine
    }

    /// Adds the entry to `output` as clients get it: behind a timestamp where asked (once a line), and in Docker's
    /// stream frame (stream byte, three zeros, big-endian length) unless the container has a terminal.
    public func append(to output: inout [UInt8], framed: Bool, timestamps: Bool) {
        let stamped = timestamps && !continuesLine
        if framed {
            let length = UInt32(content.count + (stamped ? RFC3339.fixedLength + 1 : 0))
            output.append(contentsOf: [
                stream.rawValue, 0, 0, 0, UInt8(truncatingIfNeeded: length >> 24),
                UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
                UInt8(truncatingIfNeeded: length),
            ])
        }
        if stamped {
            RFC3339.append(time, to: &output)
            output.append(UInt8(ascii: " "))
        }
        output.append(contentsOf: content)
    }
}
