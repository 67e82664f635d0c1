import Glibc
import LinuxKernel
import NIOCore
import NIOPosix

/// The host's resolv.conf as it is now, followed with inotify(7). Belongs to the resolver's event loop.
///
/// The path may be a chain of symbolic links (systemd-resolved, resolvconf), replaced by renaming, written in place, or
/// bind-mounted; so each folder on the way is watched for its link, and the file itself.
final class HostFile {
    private let path: String
    private let loop: any EventLoop
    private let report: @Sendable (String) -> Void
    private var cached = ResolvConf()
    private var channel: (any Channel)?
    private var inotify: Int32 = -1
    /// What is watched: the entry's name in a folder; nil for the file itself.
    private var watches: [Int32: String?] = [:]
    /// Called after a change.
    var onChange: (() -> Void)?

    init(_ path: String, loop: any EventLoop, report: @escaping @Sendable (String) -> Void) {
        self.path = path
        self.loop = loop
        self.report = report
    }

    /// Whether `current` stays what it is until `onChange`.
    var isFollowed: Bool { inotify >= 0 }

    /// Where nothing can be watched, the file is read each time.
    var current: ResolvConf { inotify < 0 ? ResolvConf(path: path) : cached }

    func start() {
        inotify = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard inotify >= 0 else {
            let why = SystemError.current("inotify_init1").reason
            report("\(path) can't be watched (\(why); see fs.inotify.max_user_instances): it is read for each query")
            return
        }
        watch()
        cached = ResolvConf(path: path)
        let follower = NIOLoopBound(Follower(self), eventLoop: loop)
        let descriptor = inotify
        NIOPipeBootstrap(group: loop)
            // A read takes whole events, the longest of which has a name of NAME_MAX bytes.
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(follower.value)
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .assumeIsolated().whenComplete { result in
                switch result {
                case .success(let channel): self.channel = channel
                case .failure(let error):
                    close(descriptor)
                    self.inotify = -1
                    self.report("\(self.path) can't be watched (\(error)): it is read for each query")
                }
            }
    }

    func stop() {
        onChange = nil
        channel?.close(promise: nil)
        channel = nil
    }

    private static let folderEvents = UInt32(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)
    private static let fileEvents = UInt32(IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF)

    /// Watches what now stands between the path and its file. Watching what is watched already changes nothing.
    private func watch() {
        var found: [Int32: String?] = [:]
        var step = path
        // The kernel, too, gives up after 40 links.
        for _ in 0..<40 {
            let slash = step.lastIndex(of: "/") ?? step.startIndex
            let name = String(step[slash...].dropFirst())
            let folder = String(step[..<slash])
            guard add(folder.isEmpty ? "/" : folder, Self.folderEvents, name, to: &found) else {
                watchMissing(folder, &found)
                break
            }
            guard let target = Self.link(step) else { break }
            step = target.hasPrefix("/") ? target : folder + "/" + target
        }
        _ = add(path, Self.fileEvents, nil, to: &found)
        for descriptor in watches.keys where found[descriptor] == nil { inotify_rm_watch(inotify, descriptor) }
        watches = found
    }

    /// Waits for the first folder of a path that isn't there.
    private func watchMissing(_ folder: String, _ found: inout [Int32: String?]) {
        var missing = folder
        while let slash = missing.lastIndex(of: "/") {
            let name = String(missing[missing.index(after: slash)...])
            let parent = String(missing[..<slash])
            if add(parent.isEmpty ? "/" : parent, Self.folderEvents, name, to: &found) { return }
            missing = parent
        }
    }

    private func add(_ path: String, _ events: UInt32, _ name: String?, to found: inout [Int32: String?]) -> Bool {
        let descriptor = inotify_add_watch(inotify, path, events)
        guard descriptor >= 0 else { return false }
        // Two steps of the way may share a folder; then each of its events counts.
        found[descriptor] = .some(found.keys.contains(descriptor) && found[descriptor] != .some(name) ? nil : name)
        return true
    }

    private static func link(_ path: String) -> String? {
        var room = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &room, room.count)
        return count > 0 ? String(decoding: room[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    /// inotify_event: wd, mask, cookie, len, name.
    fileprivate func received(_ events: ByteBuffer) {
        var events = events
        var isRelevant = false
        while let watch = events.readInteger(endianness: .host, as: Int32.self),
            let mask = events.readInteger(endianness: .host, as: UInt32.self), events.readBytes(length: 4) != nil,
            let length = events.readInteger(endianness: .host, as: UInt32.self),
            let name = events.readBytes(length: Int(length))
        {
            if mask & UInt32(IN_Q_OVERFLOW) != 0 {
                isRelevant = true
            } else if mask & UInt32(IN_IGNORED) == 0, let wanted = watches[watch] {
                isRelevant = isRelevant || wanted == nil || name.prefix { $0 != 0 }.elementsEqual(wanted!.utf8)
            }
        }
        guard isRelevant else { return }
        watch()
        let read = ResolvConf(path: path)
        guard read != cached else { return }
        cached = read
        onChange?()
    }
}

private final class Follower: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let file: HostFile

    init(_ file: HostFile) { self.file = file }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { file.received(unwrapInboundIn(data)) }
}
