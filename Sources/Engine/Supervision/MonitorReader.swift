import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// One thread that waits for what any monitor has to say (epoll(7)).
final class MonitorReader: Sendable {
    private struct State {
        var clients: [UInt64: MonitorClient] = [:]
        var nextKey: UInt64 = 1
    }

    private let epoll: FileDescriptor
    private let wake: FileDescriptor
    private let state = Mutex(State())
    private static let wakeKey: UInt64 = 0

    init() throws {
        epoll = FileDescriptor(owning: try checked("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
        wake = FileDescriptor(owning: try checked("eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) })
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: MonitorReader.wakeKey))
        try checked("epoll_ctl") { epoll_ctl(epoll.raw, EPOLL_CTL_ADD, wake.raw, &event) }
        try DetachedThread.start(stackSize: 1 << 20) { self.run() }
    }

    func add(_ client: MonitorClient) throws {
        let key = state.withLock { state in
            let key = state.nextKey
            state.nextKey += 1
            state.clients[key] = client
            return key
        }
        var event = epoll_event(
            events: EPOLLIN.rawValue | EPOLLRDHUP.rawValue, data: epoll_data_t(u64: key))
        do {
            try checked("epoll_ctl") { epoll_ctl(epoll.raw, EPOLL_CTL_ADD, client.rawDescriptor, &event) }
        } catch {
            _ = state.withLock { $0.clients.removeValue(forKey: key) }
            throw error
        }
    }

    /// Ends the thread; clients still connected are closed.
    func stop() {
        var one: UInt64 = 1
        _ = write(wake.raw, &one, 8)
    }

    private func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(epoll.raw, &events, Int32(events.count), -1)
            if count < 0 {
                if errno == EINTR { continue }
                preconditionFailure("mycontainerd: epoll_wait failed: \(String(cString: strerror(errno)))")
            }
            for event in events.prefix(Int(count)) {
                let key = event.data.u64
                if key == MonitorReader.wakeKey {
                    closeAll()
                    return
                }
                guard let client = state.withLock({ $0.clients[key] }) else { continue }
                if !client.receiveAvailable() { drop(key, client) }
            }
        }
    }

    private func drop(_ key: UInt64, _ client: MonitorClient) {
        var unused = epoll_event()
        epoll_ctl(epoll.raw, EPOLL_CTL_DEL, client.rawDescriptor, &unused)
        _ = state.withLock { $0.clients.removeValue(forKey: key) }
        client.close()
    }

    private func closeAll() {
        let clients = state.withLock { state in
            defer { state.clients.removeAll() }
            return Array(state.clients.values)
        }
        for client in clients { client.close() }
    }
}
