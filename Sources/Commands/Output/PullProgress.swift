import Glibc

/// Shows the messages of pull, push, load and import: a bar for each layer on a terminal, plain lines otherwise.
final class PullProgress {
    /// Nil shows nothing.
    private let descriptor: Int32?
    private let isTerminal: Bool
    /// The line of each id, counted from the first one.
    private var lines: [String: Int] = [:]
    /// Lines that ids have taken; the cursor is below the last of them.
    private var count = 0

    init(descriptor: Int32?) {
        self.descriptor = descriptor
        isTerminal = descriptor.map(Terminal.isTerminal) ?? false
    }

    /// Shows one message.
    ///
    /// - Throws: `CommandFailure` where the message says that the operation failed.
    func show(_ message: OrderedJSON) throws(CommandFailure) {
        if let error = message["errorDetail"]["message"].string ?? message["error"].string {
            throw CommandFailure(error)
        }
        guard let descriptor else { return }
        let id = message["id"].string ?? ""
        if let stream = message["stream"].string, !stream.isEmpty {
            write(stream, descriptor)
            return
        }
        let bar = progress(message["progressDetail"])
        // Without a terminal a bar's many states would only fill a log.
        if !isTerminal && bar != nil { return }
        let text = (id.isEmpty ? "" : "\(id): ") + (message["status"].string ?? "") + (bar.map { " " + $0 } ?? "")
        if text.isEmpty { return }
        if !isTerminal || !(isLayer(id) || lines[id] != nil || !message["progressDetail"].isNull) || id.isEmpty {
            write(text + "\n", descriptor)
            // What was written in between keeps its place: ids start anew below it.
            if isTerminal {
                lines = [:]
                count = 0
            }
            return
        }
        if lines[id] == nil {
            lines[id] = count
            count += 1
            write("\n", descriptor)
        }
        let up = count - (lines[id] ?? 0)
        let columns = Terminal.size(descriptor)?.columns ?? 80
        write("\u{1B}[\(up)A\r\u{1B}[2K\(text.prefix(columns - 1))\r\u{1B}[\(up)B", descriptor)
    }

    /// A layer's short id has a line of its own from its first message on; a tag (`latest: Pulling from …`) has not.
    private func isLayer(_ id: String) -> Bool { id.utf8.count == 12 && id.allSatisfy(\.isHexDigit) }

    private func progress(_ detail: OrderedJSON) -> String? {
        guard let current = detail["current"].integer, current > 0 || (detail["total"].integer ?? 0) > 0 else {
            return nil
        }
        let total = detail["total"].integer ?? 0
        if total <= 0 { return humanSize(current, digits: 4) }
        let width = (descriptor.flatMap { Terminal.size($0)?.columns } ?? 80) > 110 ? 50 : 24
        let filled = min(width, Int(Double(width) * Double(max(0, min(current, total))) / Double(total)))
        let bar = String(repeating: "=", count: filled) + (filled < width ? ">" : "")
        return "[\(bar)\(String(repeating: " ", count: width - bar.count))]  "
            + "\(humanSize(min(current, total), digits: 4))/\(humanSize(total, digits: 4))"
    }

    private func write(_ text: String, _ descriptor: Int32) {
        var text = text
        text.withUTF8 { _ = writeAll(UnsafeRawBufferPointer($0), to: descriptor) }
    }
}
