import Glibc
import OCI

/// The two record formats, written and read. A record is one physical line, its newline included.
enum LogRecord {
    /// More than this of one line is written as several records, as Docker's and Kubernetes' log writers do.
    static let maximumContent = 16 << 10
    /// Nothing that is written is longer: JSON escapes take up to six bytes for one.
    static let maximumLength = 128 << 10

    /// The member of a `json-file` record that holds the attributes, its comma included; empty without any.
    static func attributes(_ attributes: [String: String]) -> [UInt8] {
        if attributes.isEmpty { return [] }
        var output = Array(",\"attrs\":{".utf8)
        for (index, (name, value)) in attributes.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { output.append(UInt8(ascii: ",")) }
            for (text, end) in [(name, "\":"), (value, "\"")] {
                output.append(UInt8(ascii: "\""))
                Array(text.utf8).withUnsafeBytes { JSONText.appendEscaped($0, to: &output) }
                output.append(contentsOf: end.utf8)
            }
        }
        output.append(UInt8(ascii: "}"))
        return output
    }

    /// Adds one record. `content` is without its newline; `partial`: none followed.
    static func append(
        _ content: UnsafeRawBufferPointer, stream: LogStream, partial: Bool, time: Int64, format: LogFormat,
        attributes: [UInt8] = [], to output: inout [UInt8]
    ) {
        switch format {
        case .cri:
            RFC3339.append(time, to: &output)
            switch (stream, partial) {
            case (.stdout, false): append(" stdout F ", to: &output)
            case (.stdout, true): append(" stdout P ", to: &output)
            case (.stderr, false): append(" stderr F ", to: &output)
            case (.stderr, true): append(" stderr P ", to: &output)
            }
            output.append(contentsOf: content)
            output.append(newline)
        case .json:
            append("{\"log\":\"", to: &output)
            JSONText.appendEscaped(content, to: &output)
            if !partial { append("\\n", to: &output) }
            append(stream == .stdout ? "\",\"stream\":\"stdout\"" : "\",\"stream\":\"stderr\"", to: &output)
            output.append(contentsOf: attributes)
            append(",\"time\":\"", to: &output)
            RFC3339.append(time, to: &output)
            append("\"}\n", to: &output)
        }
    }

    /// The time of a record (without its newline), nil where it is damaged.
    static func time(_ record: UnsafeRawBufferPointer, format: LogFormat) -> Int64? {
        switch format {
        case .cri: header(record)?.time
        case .json: parse(record, format: .json)?.time
        }
    }

    /// Whether the record ends a line; nil where it is damaged.
    static func endsLine(_ record: UnsafeRawBufferPointer, format: LogFormat) -> Bool? {
        switch format {
        case .cri: header(record).map { !$0.partial }
        case .json: parse(record, format: .json).map { !$0.partial }
        }
    }

    /// Reads a record (without its newline), nil where it is damaged.
    static func parse(_ record: UnsafeRawBufferPointer, format: LogFormat) -> LogEntry? {
        switch format {
        case .cri:
            guard let header = header(record) else { return nil }
            let text = UnsafeRawBufferPointer(rebasing: record[header.length...])
            let content = [UInt8](unsafeUninitializedCapacity: text.count + 1) { buffer, count in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(from: text)
                count = text.count
                if !header.partial {
                    buffer[count] = newline
                    count += 1
                }
            }
            return LogEntry(
                time: header.time, stream: header.stream, content: content, partial: header.partial,
                continuesLine: false)
        case .json:
            guard let members = JSONText.stringMembers(record, of: ["log", "stream", "time"]),
                let log = members[0], let stream = members[1], let time = members[2],
                let nanoseconds = time.withUnsafeBytes({ RFC3339.nanoseconds($0) })
            else { return nil }
            return LogEntry(
                time: nanoseconds, stream: stream.elementsEqual("stderr".utf8) ? .stderr : .stdout, content: log,
                partial: log.last != newline, continuesLine: false)
        }
    }

    private struct Header {
        var time: Int64
        var stream: LogStream
        var partial: Bool
        var length: Int
    }

    private static func header(_ record: UnsafeRawBufferPointer) -> Header? {
        guard let first = record.prefix(40).firstIndex(of: space),
            let time = RFC3339.nanoseconds(UnsafeRawBufferPointer(rebasing: record[..<first])),
            record.count >= first + 9, record[first + 7] == space,
            record.count == first + 9 || record[first + 9] == space
        else { return nil }
        let name = record[(first + 1)..<(first + 7)]
        let stream: LogStream
        if name.elementsEqual("stdout".utf8) {
            stream = .stdout
        } else if name.elementsEqual("stderr".utf8) {
            stream = .stderr
        } else {
            return nil
        }
        // Tags may be followed by others after a colon (Kubernetes' CRI log format); we write none, and read none.
        let tag = record[first + 8]
        guard tag == UInt8(ascii: "F") || tag == UInt8(ascii: "P") else { return nil }
        return Header(
            time: time, stream: stream, partial: tag == UInt8(ascii: "P"), length: min(first + 10, record.count))
    }

    private static let space = UInt8(ascii: " ")
    private static func append(_ text: StaticString, to output: inout [UInt8]) {
        output.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
}

let newline = UInt8(ascii: "\n")

extension UnsafeRawBufferPointer {
    /// Index of the first newline at or after `start`.
    func firstNewline(from start: Int = 0) -> Int? {
        guard let base = baseAddress, start < count, let found = memchr(base + start, 10, count - start) else {
            return nil
        }
        return UnsafeRawPointer(found) - base
    }

    /// Index of the last newline before `end`.
    func lastNewline(before end: Int) -> Int? {
        var index = end - 1
        while index >= 0 {
            if self[index] == newline { return index }
            index -= 1
        }
        return nil
    }
}
