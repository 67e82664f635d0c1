import CLinux
import Glibc
import LinuxKernel

/// What a descriptor is watched for and what happened to it; the values are those of epoll_ctl(2).
struct Readiness: OptionSet {
    let rawValue: UInt32
    static let readable = Readiness(rawValue: 0x001)
    static let writable = Readiness(rawValue: 0x004)
    /// Reported whether asked for or not.
    static let error = Readiness(rawValue: 0x008)
    static let hangup = Readiness(rawValue: 0x010)
}

/// A single-threaded epoll loop with timers on CLOCK_MONOTONIC.
///
/// A watch is known by a token, never by the number of its descriptor, which the kernel gives out again: an event that
/// was already fetched for a watch that is gone finds nobody.
final class EventLoop {
    typealias Token = UInt64

    private struct Watch {
        let descriptor: Int32
        var events: Readiness
        var paused = false
        let handler: (Readiness) -> Void
    }

    private struct Timer {
        let token: Token
        let due: Int64
        let handler: () -> Void
    }

    private let epoll: FileDescriptor
    private var watches: [Token: Watch] = [:]
    private var timers: [Timer] = []
    private var lastToken: Token = 0
    private var stopped = false

    init() throws(SystemError) {
        epoll = FileDescriptor(owning: try checked("epoll_create") { clinux_epoll_create() })
    }

    /// Calls `handler` whenever the descriptor is ready for one of `events` (level-triggered). The descriptor stays the
    /// caller's, who calls ``remove(_:)`` before closing it.
    func watch(
        _ descriptor: Int32, _ events: Readiness, _ handler: @escaping (Readiness) -> Void
    ) throws(SystemError) -> Token {
        lastToken += 1
        try checked("epoll_ctl") { clinux_epoll_ctl(epoll.raw, 1, descriptor, events.rawValue, lastToken) }
        watches[lastToken] = Watch(descriptor: descriptor, events: events, handler: handler)
        return lastToken
    }

    func change(_ token: Token, to events: Readiness) {
        guard let watch = watches[token], watch.events != events else { return }
        watches[token]!.events = events
        if !watch.paused { _ = clinux_epoll_ctl(epoll.raw, 3, watch.descriptor, events.rawValue, token) }
    }

    /// No events at all until ``resume(_:)``. Watching for nothing would not do: a hangup is reported regardless.
    func pause(_ token: Token) {
        guard let watch = watches[token], !watch.paused else { return }
        watches[token]!.paused = true
        _ = clinux_epoll_ctl(epoll.raw, 2, watch.descriptor, 0, token)
    }

    func resume(_ token: Token) {
        guard let watch = watches[token], watch.paused else { return }
        watches[token]!.paused = false
        _ = clinux_epoll_ctl(epoll.raw, 1, watch.descriptor, watch.events.rawValue, token)
    }

    func remove(_ token: Token) {
        guard let watch = watches.removeValue(forKey: token) else { return }
        if !watch.paused { _ = clinux_epoll_ctl(epoll.raw, 2, watch.descriptor, 0, token) }
    }

    /// Calls `handler` once, `delay` nanoseconds from now.
    func after(_ delay: Int64, _ handler: @escaping () -> Void) -> Token {
        lastToken += 1
        timers.append(Timer(token: lastToken, due: MonitorClock.monotonic() + delay, handler: handler))
        return lastToken
    }

    func cancel(_ timer: Token) {
        timers.removeAll { $0.token == timer }
    }

    func stop() { stopped = true }

    func run() throws(SystemError) {
        var tokens = [UInt64](repeating: 0, count: 16)
        var events = [UInt32](repeating: 0, count: 16)
        while !stopped {
            let count = clinux_epoll_wait(epoll.raw, &tokens, &events, timeout())
            if count < 0 {
                if errno == EINTR { continue }
                throw .current("epoll_wait")
            }
            for index in 0..<Int(count) where !stopped {
                watches[tokens[index]]?.handler(Readiness(rawValue: events[index]))
            }
            while !stopped, let due = timers.firstIndex(where: { $0.due <= MonitorClock.monotonic() }) {
                timers.remove(at: due).handler()
            }
        }
    }

    private func timeout() -> Int32 {
        guard let next = timers.map(\.due).min() else { return -1 }
        return Int32(clamping: max(0, (next - MonitorClock.monotonic() + 999_999) / 1_000_000))
    }
}

enum MonitorClock {
    /// Nanoseconds since the epoch.
    static func realtime() -> Int64 { read(CLOCK_REALTIME) }

    /// Nanoseconds since some fixed point, never set back.
    static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var now = timespec()
        clock_gettime(clock, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }
}
