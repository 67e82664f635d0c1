/// What an audit found (`--security-opt seccomp=audit`): the system calls that the container's profile would have
/// refused. The monitor writes it to `LaunchDocument.SeccompProgram.auditPath`, whole, whenever there is news.
public struct SeccompReport: Codable, Sendable, Equatable {
    public struct Call: Codable, Sendable, Equatable {
        /// The system call's name.
        public var name: String
        /// `x86_64`, `i386` …
        public var architecture: String
        /// What the profile would have answered: an errno's name, or what would have become of the process.
        public var answer: String
        /// How often it was made.
        public var count: UInt64
        /// The six arguments as the first such call had them.
        public var arguments: [UInt64]

        public init(name: String, architecture: String, answer: String, count: UInt64, arguments: [UInt64]) {
            self.name = name
            self.architecture = architecture
            self.answer = answer
            self.count = count
            self.arguments = arguments
        }
    }

    public static let fileName = "seccomp-audit.json"

    /// By name.
    public var calls: [Call]

    public init(calls: [Call]) { self.calls = calls }
}
