/// The name of an image as a user writes it: `[domain/]path[:tag][@digest]`, normalised as Docker does it, so that
/// `busybox` is `docker.io/library/busybox`.
///
/// Grammar: https://github.com/distribution/reference (the package's `reference.go`). No tag is added by parsing; see
/// ``withDefaultTag``.
public struct ImageReference: Hashable, Sendable {
    /// The registry's host, `docker.io` when none was written.
    public let domain: String
    /// The repository's path inside the registry, for example `library/busybox`.
    public let path: String
    public let tag: String?
    public let digest: Digest?

    public static let defaultDomain = "docker.io"
    public static let officialPrefix = "library/"
    public static let defaultTag = "latest"
    /// The most characters that a repository name has.
    public static let maximumNameLength = 255

    /// A reference made of parts that have been checked already, or that are checked here.
    public init(domain: String, path: String, tag: String? = nil, digest: Digest? = nil) throws(InvalidReference) {
        let name = domain + "/" + path
        guard ImageReference.isDomain(domain) else {
            throw InvalidReference(text: name, reason: "\"\(domain)\" is not a registry's host name")
        }
        try ImageReference.checkPath(path, in: name)
        if let tag { try ImageReference.checkTag(tag, in: name + ":" + tag) }
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest
    }

    /// Reads what a user wrote.
    public init(parsing text: String) throws(InvalidReference) {
        guard !text.isEmpty else { throw InvalidReference(text: text, reason: "the name is empty") }
        guard text.utf8.count <= 1024 else {
            throw InvalidReference(text: text, reason: "it has more than 1024 characters")
        }
        if text.utf8.count == 64, Digest(hex: text) != nil {
            throw InvalidReference(
                sentence: "invalid repository name (\(text)), cannot specify 64-byte hexadecimal strings")
        }
        var rest = Substring(text)
        var digest: Digest?
        if let at = rest.firstIndex(of: "@") {
            do {
                digest = try Digest(parsing: rest[rest.utf8.index(after: at)...])
            } catch {
                throw InvalidReference(text: text, reason: error.description)
            }
            rest = rest[..<at]
        }
        var tag: String?
        let afterSlash = rest.lastIndex(byte: "/").map { rest.utf8.index(after: $0) } ?? rest.startIndex
        if let colon = rest[afterSlash...].lastIndex(byte: ":") {
            tag = String(rest[rest.utf8.index(after: colon)...])
            rest = rest[..<colon]
        }
        let (domain, path) = ImageReference.splitDomain(rest)
        guard ImageReference.isDomain(domain) else {
            throw InvalidReference(text: text, reason: "\"\(domain)\" is not a registry's host name")
        }
        try ImageReference.checkPath(path, in: text)
        if let tag { try ImageReference.checkTag(tag, in: text) }
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest
    }

    /// The same reference with the tag `latest` when it has neither tag nor digest.
    public var withDefaultTag: ImageReference {
        tag == nil && digest == nil ? with(tag: ImageReference.defaultTag, digest: nil) : self
    }

    /// The repository alone.
    public var repository: ImageReference { with(tag: nil, digest: nil) }

    /// The same repository with another tag.
    public func withTag(_ tag: String) throws(InvalidReference) -> ImageReference {
        try ImageReference.checkTag(tag, in: familiarName + ":" + tag)
        return with(tag: tag, digest: nil)
    }

    /// The same repository with a digest instead of a tag.
    public func withDigest(_ digest: Digest) -> ImageReference { with(tag: nil, digest: digest) }

    /// The repository in full, `docker.io/library/busybox`.
    public var name: String { domain + "/" + path }

    /// The repository as Docker shows it: without `docker.io/` and `library/`, and so that it can be read again.
    public var familiarName: String {
        guard domain == ImageReference.defaultDomain else { return name }
        if path.hasPrefix(ImageReference.officialPrefix) {
            let rest = path.dropFirst(ImageReference.officialPrefix.count)
            if !rest.contains("/") { return String(rest) }
        }
        // Without its registry it would be read as a name in another one.
        if let slash = path.firstIndex(byte: "/"), ImageReference.looksLikeDomain(path[..<slash]) { return name }
        return path
    }

    /// The reference as Docker shows it, `busybox:latest`.
    public var familiar: String { familiarName + suffix }

    private var suffix: String { (tag.map { ":" + $0 } ?? "") + (digest.map { "@" + $0.description } ?? "") }

    private init(uncheckedDomain domain: String, path: String, tag: String?, digest: Digest?) {
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest
    }

    private func with(tag: String?, digest: Digest?) -> ImageReference {
        ImageReference(uncheckedDomain: domain, path: path, tag: tag, digest: digest)
    }
}

extension ImageReference: CustomStringConvertible {
    /// The reference in full, `docker.io/library/busybox:latest`.
    public var description: String { name + suffix }
}

extension ImageReference {
    /// Docker's rule: what stands before the first slash is a host when it has a dot or a colon, is `localhost` or
    /// has an upper-case letter; anything else belongs to Docker's own registry.
    private static func splitDomain(_ name: Substring) -> (domain: String, path: String) {
        var domain = defaultDomain
        var path = String(name)
        if let slash = name.firstIndex(byte: "/") {
            let first = name[..<slash]
            if looksLikeDomain(first) {
                domain = String(first)
                path = String(name[name.utf8.index(after: slash)...])
            }
        }
        if domain == "index.docker.io" { domain = defaultDomain }
        if domain == defaultDomain, !path.contains("/"), !path.isEmpty { path = officialPrefix + path }
        return (domain, path)
    }

    private static func looksLikeDomain(_ first: Substring) -> Bool {
        first.contains(".") || first.contains(":") || first == "localhost" || first.contains(where: \.isUppercase)
    }

    private static func isDomain(_ domain: String) -> Bool {
        var host = Substring(domain)
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") {
            let address = host[host.index(after: host.startIndex)..<end]
            let rest = host[host.index(after: end)...]
            return !address.isEmpty && address.utf8.allSatisfy { isHexDigit($0) || $0 == UInt8(ascii: ":") }
                && (rest.isEmpty || (rest.hasPrefix(":") && isPort(rest.dropFirst())))
        }
        if let colon = host.lastIndex(byte: ":") {
            guard isPort(host[host.utf8.index(after: colon)...]) else { return false }
            host = host[..<colon]
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard let first = label.utf8.first, let last = label.utf8.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }

    private static func isPort(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) }
    }

    private static func checkPath(_ path: String, in text: String) throws(InvalidReference) {
        guard !path.isEmpty else { throw InvalidReference(text: text, reason: "the repository's name is missing") }
        guard path.utf8.count <= maximumNameLength else {
            throw InvalidReference(text: text, reason: "a repository name has at most \(maximumNameLength) characters")
        }
        for component in path.split(byte: "/", omittingEmptySubsequences: false) where !isComponent(component) {
            if component.contains(where: \.isUppercase) {
                let name = path.prefix { $0 != ":" }
                throw InvalidReference(
                    sentence: "invalid reference format: repository name (\(name)) must be lowercase")
            }
            throw InvalidReference(
                text: text,
                reason: "\"\(component)\" is not a repository name: use lower-case letters and digits, separated by "
                    + "one dot, one or two underscores, or dashes")
        }
    }

    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`. Since a component can't be `.`, `..` or empty, a repository name is
    /// always safe as a relative path.
    private static func isComponent(_ component: Substring) -> Bool {
        var separator: [UInt8] = []
        var sawAny = false
        for byte in component.utf8 {
            if (97...122).contains(byte) || (48...57).contains(byte) {
                if !separator.isEmpty {
                    guard sawAny, isSeparator(separator) else { return false }
                    separator = []
                }
                sawAny = true
            } else {
                separator.append(byte)
            }
        }
        return sawAny && separator.isEmpty
    }

    private static func isSeparator(_ bytes: [UInt8]) -> Bool {
        bytes == [UInt8(ascii: ".")] || bytes == [UInt8(ascii: "_")] || bytes == Array("__".utf8)
            || bytes.allSatisfy { $0 == UInt8(ascii: "-") }
    }

    private static func checkTag(_ tag: String, in text: String) throws(InvalidReference) {
        guard let first = tag.utf8.first else { throw InvalidReference(text: text, reason: "the tag is empty") }
        let isWord = { (byte: UInt8) in isAlphanumeric(byte) || byte == UInt8(ascii: "_") }
        guard tag.utf8.count <= 128, isWord(first),
            tag.utf8.allSatisfy({ isWord($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") })
        else {
            throw InvalidReference(
                text: text,
                reason: "a tag has at most 128 letters, digits, underscores, dots and dashes and doesn't start with a "
                    + "dot or a dash")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (97...102).contains(byte) || (65...70).contains(byte) || (48...57).contains(byte)
    }
}

/// Text that should have been the name of an image.
public struct InvalidReference: Error, Sendable, CustomStringConvertible {
    public let description: String

    public init(text: String, reason: String) {
        description = "invalid reference format: \"\(text.prefix(300))\": \(reason)"
    }

    /// In the words that clients know from docker.
    fileprivate init(sentence: String) { description = sentence }
}
