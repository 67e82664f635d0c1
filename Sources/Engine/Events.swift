import EngineAPI
import Synchronization

/// Tells what happened: to those who listen now, and, for a while, to those who ask later.
final class EventBus: Sendable {
    /// Events kept in memory for `since`.
    private static let remembered = 1024
    /// Events that a slow listener may fall behind by before it is cut off.
    private static let backlog = 4096

    private struct State {
        var recent: [EventMessage] = []
        var unsaved: [EventMessage] = []
        var saving = false
        var listeners: [Int: AsyncStream<EventMessage>.Continuation] = [:]
        var nextListener = 0
    }

    private let state: Mutex<State>
    private let save: @Sendable ([EventMessage]) async -> Void

    /// `save` writes events to disk; it is called with batches, never twice at once.
    init(past: [EventMessage], save: @escaping @Sendable ([EventMessage]) async -> Void) {
        state = Mutex(State(recent: past.suffix(EventBus.remembered)))
        self.save = save
    }

    var listenerCount: Int { state.withLock { $0.listeners.count } }

    func post(_ event: EventMessage) {
        let startSaving = state.withLock { state -> Bool in
            state.recent.append(event)
            if state.recent.count > EventBus.remembered + EventBus.remembered / 4 {
                state.recent.removeFirst(state.recent.count - EventBus.remembered)
            }
            state.unsaved.append(event)
            for listener in state.listeners.values { listener.yield(event) }
            defer { state.saving = true }
            return !state.saving
        }
        if startSaving { Task { await saveLater() } }
    }

    func post(type: String, action: String, id: String, attributes: [String: String], time: Int64 = Clock.wall()) {
        post(EventMessage(type: type, action: action, id: id, attributes: attributes, time: time))
    }

    /// One write for what happens within a second: events are history, not state.
    private func saveLater() async {
        try? await Task.sleep(nanoseconds: 1_000_000_000)
        await flush()
    }

    /// Writes what is not yet on disk.
    func flush() async {
        let batch = state.withLock { state in
            state.saving = false
            defer { state.unsaved = [] }
            return state.unsaved
        }
        if !batch.isEmpty { await save(batch) }
    }

    /// Past events from `since` on, then live ones, without a gap. Ends at `until`, at once if that is past.
    func stream(
        since: Int64?, until: Int64?, matching: @escaping @Sendable (EventMessage) -> Bool
    ) -> AsyncThrowingStream<EventMessage, any Error> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: EventMessage.self, bufferingPolicy: .bufferingNewest(EventBus.backlog))
        let (filtered, output) = AsyncThrowingStream.makeStream(
            of: EventMessage.self, throwing: (any Error).self, bufferingPolicy: .bufferingOldest(EventBus.backlog))
        let now = Clock.wall()
        let key = state.withLock { state -> Int in
            if let since {
                for event in state.recent where event.timeNano >= since && event.timeNano <= until ?? Int64.max {
                    continuation.yield(event)
                }
            }
            if let until, until <= now {
                continuation.finish()
                return -1
            }
            state.nextListener += 1
            state.listeners[state.nextListener] = continuation
            return state.nextListener
        }
        let pump = Task {
            for await event in stream {
                if let until, event.timeNano > until { break }
                if matching(event), case .dropped = output.yield(event) {
                    return output.finish(
                        throwing: EngineError(
                            .unavailable,
                            "the events end here: their reader has fallen behind by more than \(EventBus.backlog)"))
                }
            }
            output.finish()
        }
        var timer: Task<Void, Never>?
        if let until, key >= 0 {
            timer = Task {
                try? await Task.sleep(nanoseconds: UInt64(until - now))
                continuation.finish()
            }
        }
        output.onTermination = { [timer] _ in
            timer?.cancel()
            pump.cancel()
            continuation.finish()
            _ = self.state.withLock { $0.listeners.removeValue(forKey: key) }
        }
        return filtered
    }

    /// Ends every stream.
    func close() {
        let listeners = state.withLock { state in
            defer { state.listeners = [:] }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.finish() }
    }
}

/// Which events a client asked for (`GET /events?filters=`).
struct EventFilter: Sendable {
    private let filters: Filters

    private static let known: Set<String> = [
        "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
        "service", "type", "volume",
    ]

    init(_ filters: Filters) throws(EngineError) {
        if let unknown = filters.firstUnknown(EventFilter.known) { throw .invalid("invalid filter '\(unknown)'") }
        self.filters = filters
    }

    func matches(_ event: EventMessage) -> Bool {
        let attributes = event.actor.attributes ?? [:]
        guard filters.matchesExactly("type", event.type), filters.matchesExactly("scope", event.scope),
            filters.matchesLabels("label", attributes)
        else { return false }
        let actions = filters["event"]
        guard actions.isEmpty || actions.contains(where: { event.action == $0 || event.action.hasPrefix($0 + ":") })
        else { return false }
        for kind in ["container", "image", "volume", "network", "daemon"] {
            let wanted = filters[kind]
            if wanted.isEmpty { continue }
            let isOwn = event.type == kind
            let isItsImage = kind == "image" && event.type == "container"
            guard isOwn || isItsImage else { return false }
            let names = isOwn ? [event.actor.id, attributes["name"] ?? ""] : [attributes["image"] ?? ""]
            let found = wanted.contains { value in
                names.contains { name in
                    name == value || (kind == "container" && name == event.actor.id && name.hasPrefix(value))
                        || (kind == "image" && name.split(byte: ":").first.map(String.init) == value)
                }
            }
            if !found { return false }
        }
        return true
    }
}
