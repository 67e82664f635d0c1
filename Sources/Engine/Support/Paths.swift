/// Lexical path work, as Go's `path/filepath` does it. Nothing here looks at a file system.
enum Paths {
    /// `/a//b/./c/../d` → `/a/b/d`. An absolute path stays absolute; `..` does not climb over the root.
    static func clean(_ path: String) -> String {
        let rooted = path.hasPrefix(bytes: "/")
        var parts: [Substring] = []
        for part in path.split(byte: "/") where part != "." {
            if part != ".." {
                parts.append(part)
            } else if let last = parts.last, last != ".." {
                parts.removeLast()
            } else if !rooted {
                parts.append(part)
            }
        }
        let joined = parts.joined(separator: "/")
        if rooted { return "/" + joined }
        return joined.isEmpty ? "." : joined
    }

    static func join(_ base: String, _ path: String) -> String { clean(base + "/" + path) }

    static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(byte: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func name(_ path: String) -> String {
        path.split(byte: "/").last.map(String.init) ?? path
    }

    /// Whether `path` is `directory` or lies below it; both clean.
    static func isInside(_ path: String, _ directory: String) -> Bool {
        directory == "/" || path.utf8.elementsEqual(directory.utf8) || path.hasPrefix(bytes: directory + "/")
    }
}
