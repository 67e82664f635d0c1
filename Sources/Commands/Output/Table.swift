/// Lays out cells in columns as docker does: at least ten wide, three spaces between, the last cell unpadded
/// (Go's `tabwriter` with minimum width 10 and padding 3).
func tableText(_ rows: [[String]], minimumWidth: Int = 10) -> String {
    var widths: [Int] = []
    let counts = rows.map { row in row.map { $0.unicodeScalars.count } }
    for row in counts {
        for (column, count) in row.dropLast().enumerated() {
            if column == widths.count { widths.append(minimumWidth) }
            widths[column] = max(widths[column], count + 3)
        }
    }
    var text = ""
    for (row, counts) in zip(rows, counts) {
        for (column, cell) in row.enumerated() {
            text += cell
            if column < row.count - 1 {
                text += String(repeating: " ", count: widths[column] - counts[column])
            }
        }
        text += "\n"
    }
    return text
}

/// Cuts to `length` characters, the last of which is an ellipsis where something was cut.
func ellipsis(_ text: String, _ length: Int) -> String {
    text.count <= length ? text : text.prefix(length - 1) + "…"
}

/// The short form of an id: twelve digits, without `sha256:`.
func shortID(_ id: String) -> String {
    String((id.hasPrefix("sha256:") ? id.dropFirst(7) : id[...]).prefix(12))
}
