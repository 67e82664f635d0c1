/// Something that happened, one JSON document a line in `GET /events`.
public struct EventMessage: WireObject {
    // Old clients read these three; new ones `action` and `actor`.
    public var status = ""
    public var id = ""
    public var from = ""
    /// `container`, `image`, `volume`, `network`, `daemon` …
    public var type = ""
    /// `create`, `start`, `die` …; some carry a detail after `: `.
    public var action = ""
    public var actor = Actor()
    public var scope = "local"
    /// Seconds since the epoch.
    public var time: Int64 = 0
    /// Nanoseconds since the epoch.
    public var timeNano: Int64 = 0

    public init() {}

    /// An event as dockerd writes it, with the members that old clients read filled in for containers and images.
    ///
    /// - Parameter time: nanoseconds since the epoch.
    public init(type: String, action: String, id: String, attributes: [String: String], time: Int64) {
        self.type = type
        self.action = action
        self.actor = Actor(id: id, attributes: attributes)
        self.time = time / 1_000_000_000
        self.timeNano = time
        switch type {
        case "container":
            status = action
            self.id = id
            from = attributes["image"] ?? ""
        case "image":
            status = action
            self.id = id
        default:
            break
        }
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("status", &status, .omitEmpty)
        try fields("id", &id, .omitEmpty)
        try fields("from", &from, .omitEmpty)
        try fields("Type", &type)
        try fields("Action", &action)
        try fields("Actor", &actor)
        try fields("scope", &scope, .omitEmpty)
        try fields("time", &time, .omitEmpty)
        try fields("timeNano", &timeNano, .omitEmpty)
    }

    public struct Actor: WireObject {
        public var id = ""
        public var attributes: [String: String]? = [:]

        public init() {}

        public init(id: String, attributes: [String: String]) {
            self.id = id
            self.attributes = attributes
        }

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("ID", &id)
            try fields("Attributes", &attributes)
        }
    }
}
