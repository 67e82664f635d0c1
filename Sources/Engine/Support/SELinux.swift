import EngineAPI

/// SELinux labels as they are asked for (`--security-opt label=…`).
enum SELinux {
    /// Whether the kernel enforces SELinux or would.
    static var isEnabled: Bool { Files.exists("/sys/fs/selinux/enforce") }

    /// What policies call the domain of a container's processes where nothing else is said.
    private static let standard = ["system_u", "system_r", "container_t", "s0"]
    private static let parts = ["user", "role", "type", "level"]

    /// The label of a container's processes: what the options say in the place of the standard domain's parts. nil where
    /// they say nothing: files of images and volumes carry no labels of ours, so no container gets one unasked.
    static func label(_ options: [String]) throws(EngineError) -> String? {
        var label = standard
        var isAsked = false
        for option in options where option != "disable" {
            let words = option.split(separator: ":", maxSplits: 1)
            guard words.count == 2, let part = parts.firstIndex(of: String(words[0])) else {
                throw .invalid(
                    "invalid --security-opt: \"label=\(option)\": it is user:, role:, type: or level: and a value, or disable"
                )
            }
            guard words[1].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }), part == 3 || !words[1].contains(":") else {
                throw .invalid("invalid --security-opt: \"label=\(option)\": that is no part of an SELinux label")
            }
            label[part] = String(words[1])
            isAsked = true
        }
        return isAsked && !options.contains("disable") ? label.joined(separator: ":") : nil
    }
}
