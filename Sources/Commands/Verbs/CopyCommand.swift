import EngineAPI
import FoundationEssentials
import Glibc
import NIOHTTP1

/// `cp`: copy between a container and the host, either way, or as an archive through `-`.
enum CopyCommand {
    private static let archive = Flag.toggle("archive", short: "a", "Archive mode (copy all uid/gid information)")
    private static let followLink = Flag.toggle("follow-link", short: "L", "Always follow symbol link in SRC_PATH")
    private static let quiet = Flag.toggle("quiet", short: "q", "Suppress progress output during copy")

    static var command: Command {
        Command(
            spellings: ["cp", "container cp"],
            summary: "Copy files/folders between a container and the local filesystem",
            usage:
                "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tmycontainer cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
            details: "Use '-' as the source to read a tar archive from standard input and extract it to a directory "
                + "in a container, or as the destination to write an archive of the container's files to standard "
                + "output. A source that ends in '/.' stands for the content of the directory.",
            options: [archive.option, followLink.option, quiet.option], operands: .exactly(2), completion: .files,
            operandsNameFiles: true
        ) { invocation in
            let (source, target) = (place(invocation.operands[0]), place(invocation.operands[1]))
            switch (source.container, target.container) {
            case (nil, nil): throw CommandFailure("must specify at least one container source")
            case (.some, .some): throw CommandFailure("copying between containers is not supported")
            case (let container?, nil):
                return try fromContainer(container, source.path, target.path, invocation)
            case (nil, let container?):
                return try toContainer(source.path, container, target.path, invocation)
            }
        }
    }

    /// `CONTAINER:PATH`, or a path of the host: an absolute one, or one that starts with a dot.
    static func place(_ word: String) -> (container: String?, path: String) {
        let (container, path) = cut(word, ":")
        guard let path, !word.hasPrefix(bytes: "/"), !word.hasPrefix("."), !container.isEmpty else {
            return (nil, word)
        }
        return (container, path)
    }

    private static func report(_ bytes: Int64, _ target: String, _ invocation: Invocation) {
        if invocation.arguments.isGiven(quiet) ? invocation[quiet] : !Terminal.isTerminal(STDOUT_FILENO) { return }
        complain("Successfully copied \(humanSize(bytes)) to \(target)")
    }

    // MARK: From a container

    private static func fromContainer(
        _ container: String, _ source: String, _ target: String, _ invocation: Invocation
    ) throws -> Int32 {
        let engine = try invocation.engine()
        var source = try inContainer(source)
        if invocation[followLink], let status = try status(engine, container, source), status.isLink {
            source = status.target(of: source)
        }
        let answer = try engine.stream(.GET, "/containers/\(pathPart(container))/archive", ["path": source])
        if target == "-" {
            while let piece = try answer.next() {
                let isWritten = piece.withUnsafeBytes { writeAll($0, to: STDOUT_FILENO) }
                if !isWritten { throw CommandFailure("cannot write to standard output: \(goReason(errno))") }
            }
            return 0
        }
        let status = try PathStatus(answer.head)
        let landing = try landing(status, source, target)
        let directory = withPath(landing.directory) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        if directory < 0 { throw CommandFailure("open \(landing.directory): \(goReason(errno))") }
        defer { close(directory) }
        var reader = TarReader { try answer.next() }
        var unpacker = TarUnpacker(
            into: directory, renaming: landing.name.map { (from: lastPart(source), to: $0) },
            keepsOwners: invocation[archive])
        do {
            report(try unpacker.unpack(&reader), target, invocation)
        } catch let error as TarError {
            throw CommandFailure("the archive of \(source) that the daemon sent is broken: \(error)")
        }
        return 0
    }

    /// Where on the host an archive is unpacked, and what its first part is called there, if something else.
    private static func landing(_ source: PathStatus, _ path: String, _ target: String) throws(CommandFailure) -> (
        directory: String, name: String?
    ) {
        var found = stat()
        let exists = withPath(target) { stat($0, &found) } == 0
        let isDirectory = exists && found.st_mode & S_IFMT == S_IFDIR
        let content = path.hasSuffix("/.")
        if isDirectory { return (target, nil) }
        if exists && source.isDirectory { throw CommandFailure("cannot copy directory") }
        if exists && target.hasSuffix("/") { throw CommandFailure("not a directory: \(target)") }
        let whole = absolutePath(target)
        var above = stat()
        if !exists && (withPath(parent(whole), { stat($0, &above) }) != 0 || above.st_mode & S_IFMT != S_IFDIR) {
            throw CommandFailure("invalid output path: directory \(quoted(parent(whole))) does not exist")
        }
        if !exists && target.hasSuffix("/") && !source.isDirectory { throw CommandFailure("no such directory") }
        if content {
            // The content of a directory becomes the content of a new one.
            if withPath(whole, { mkdir($0, 0o755) }) != 0 { throw CommandFailure("mkdir \(whole): \(goReason(errno))") }
            return (whole, nil)
        }
        return (parent(whole), lastPart(whole))
    }

    // MARK: To a container

    private static func toContainer(
        _ source: String, _ container: String, _ target: String, _ invocation: Invocation
    ) throws -> Int32 {
        let engine = try invocation.engine()
        var target = try inContainer(target)
        var found = try status(engine, container, target)
        if let status = found, status.isLink {
            let real = status.target(of: target)
            if let other = try self.status(engine, container, real) { (target, found) = (real, other) }
        }
        var sent: Int64 = 0
        func upload(to directory: String, _ produce: (@escaping ([UInt8]) throws -> Void) throws -> Void) throws {
            let answer = try engine.upload(
                .PUT, "/containers/\(pathPart(container))/archive",
                [
                    "copyUIDGID": invocation[archive] ? "true" : nil, "noOverwriteDirNonDir": "true",
                    "path": directory,
                ]
            ) { send in
                try produce { bytes in
                    sent += Int64(bytes.count)
                    try send(bytes)
                }
            }
            _ = try answer.rest()
        }
        if source == "-" {
            if found?.isDirectory == false {
                throw CommandFailure("destination \(quoted("\(container):\(target)")) must be a directory")
            }
            let input = try FileSource("")
            try upload(to: target) { try input.send($0) }
            return 0
        }
        var local = stat()
        let follows = invocation[followLink] || source.hasSuffix("/.") || source.hasSuffix("/")
        if withPath(source, { follows ? stat($0, &local) : lstat($0, &local) }) != 0 {
            throw CommandFailure("lstat \(source): \(goReason(errno))")
        }
        let isDirectory = local.st_mode & S_IFMT == S_IFDIR
        if source.hasSuffix("/") && !isDirectory { throw CommandFailure("not a directory: \(source)") }
        let directory: String
        let name: String
        if found?.isDirectory == true {
            directory = target
            // `dir/.`: what is in it, not itself.
            name = source.hasSuffix("/.") || source == "." ? "." : lastPart(absolutePath(source))
        } else if found != nil && isDirectory {
            throw CommandFailure("cannot copy directory")
        } else if found == nil && target.hasSuffix("/") && !isDirectory {
            throw CommandFailure("no such directory")
        } else {
            (directory, name) = (parent(cleanPath(target)), lastPart(cleanPath(target)))
        }
        try upload(to: directory) { send in
            var packer = TarPacker(send: send)
            try packer.add(isDirectory ? cleanPath(source) : source, as: name, followsLink: follows)
            try packer.finish()
        }
        report(sent, "\(container):\(target)", invocation)
        return 0
    }

    // MARK: Paths

    /// A path in a container starts at its root.
    private static func inContainer(_ path: String) throws(CommandFailure) -> String {
        do {
            try RawBytes.requireText(path)
        } catch {
            throw CommandFailure("invalid path \(path) in the container: \(error.reason)")
        }
        return path.hasPrefix(bytes: "/") ? path : "/" + path
    }

    private static func lastPart(_ path: String) -> String {
        String(path.split(byte: "/").last ?? "/")
    }

    private static func parent(_ path: String) -> String {
        let parts = path.split(byte: "/").dropLast()
        return "/" + parts.joined(separator: "/")
    }

    private static func status(_ engine: EngineClient, _ container: String, _ path: String) throws -> PathStatus? {
        do {
            let answer = try engine.stream(.HEAD, "/containers/\(pathPart(container))/archive", ["path": path])
            _ = try answer.rest()
            return try PathStatus(answer.head)
        } catch let error as DaemonError where error.isNotFound {
            return nil
        }
    }
}

/// What the daemon says about a path in a container: `X-Docker-Container-Path-Stat`, base64 of JSON.
private struct PathStatus {
    private let mode: UInt32
    private let linkTarget: String

    init(_ head: HTTPResponseHead) throws(CommandFailure) {
        guard let text = head.headers.first(name: "X-Docker-Container-Path-Stat"), let data = Data(base64Encoded: text),
            let status = try? JSON.decode(PathStat.self, from: data)
        else { throw CommandFailure("the daemon's answer does not say what the path is") }
        mode = status.mode
        linkTarget = status.linkTarget
    }

    /// The bits of Go's `os.FileMode`.
    var isDirectory: Bool { mode & 1 << 31 != 0 }
    var isLink: Bool { mode & 1 << 27 != 0 }

    /// Where the link at `path` leads to, in the container.
    func target(of path: String) -> String {
        if linkTarget.hasPrefix(bytes: "/") { return linkTarget }
        let parts = path.split(byte: "/").dropLast()
        return cleanPath("/" + parts.joined(separator: "/") + "/" + linkTarget)
    }
}
