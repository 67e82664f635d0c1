import EngineAPI

/// `--ulimit name=soft[:hard]`, -1 for unlimited.
func parseUlimit(_ word: String) throws(InvalidValue) -> Ulimit {
    let names: Set = [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
        "rttime", "sigpending", "stack",
    ]
    let (name, value) = cut(word, "=")
    guard let value else { throw InvalidValue("invalid ulimit argument: \(word)") }
    guard names.contains(name) else { throw InvalidValue("invalid ulimit type: \(name)") }
    let parts = value.split(byte: ":", omittingEmptySubsequences: false)
    if parts.count > 2 {
        throw InvalidValue(
            "too many limit value arguments - \(value), can only have up to two, `soft[:hard]`")
    }
    let hard = try parseInteger(String(parts[parts.count - 1]))
    let soft = try parseInteger(String(parts[0]))
    if hard != -1 && soft == -1 {
        throw InvalidValue(
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: \(hard)")
    }
    if hard != -1 && soft > hard {
        throw InvalidValue("ulimit soft limit must be less than or equal to hard limit: \(soft) > \(hard)")
    }
    return Ulimit(name: name, soft: soft, hard: hard)
}

/// `--device-read-bps /dev/sda:1mb`, bytes a second.
func parseByteRate(_ word: String) throws(InvalidValue) -> ThrottleDevice {
    let (path, value) = try devicePath(word)
    guard let rate = try? parseBytes(value) else {
        throw InvalidValue(
            "invalid rate for device: \(word). The correct format is <device-path>:<number>[<unit>]. "
                + "Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    }
    return ThrottleDevice(path: path, rate: UInt64(rate))
}

/// `--device-read-iops /dev/sda:100`, operations a second.
func parseOperationRate(_ word: String) throws(InvalidValue) -> ThrottleDevice {
    let (path, value) = try devicePath(word)
    guard let rate = UInt64(value) else {
        throw InvalidValue(
            "invalid rate for device: \(word). The correct format is <device-path>:<number>. "
                + "Number must be a positive integer")
    }
    return ThrottleDevice(path: path, rate: rate)
}

/// `--blkio-weight-device /dev/sda:200`, 10 to 1000 or 0.
func parseDeviceWeight(_ word: String) throws(InvalidValue) -> WeightDevice {
    let (path, value) = try devicePath(word)
    guard let weight = UInt16(value), weight == 0 || (10...1000).contains(weight) else {
        throw InvalidValue("invalid weight for device: \(word)")
    }
    return WeightDevice(path: path, weight: weight)
}

private func devicePath(_ word: String) throws(InvalidValue) -> (String, String) {
    let (path, value) = cut(word, ":")
    guard let value, !path.isEmpty else { throw InvalidValue("bad format: \(word)") }
    guard path.hasPrefix(bytes: "/dev/") else { throw InvalidValue("bad format for device path: \(word)") }
    return (path, value)
}

/// `--device host[:container][:permissions]`.
func parseDevice(_ word: String) throws(InvalidValue) -> DeviceMapping {
    func isMode(_ text: Substring) -> Bool {
        !text.isEmpty && Set(text).count == text.count && text.allSatisfy { "rwm".contains($0) }
    }
    let parts = word.split(byte: ":", omittingEmptySubsequences: false)
    if parts.count > 3 || parts[0].isEmpty { throw InvalidValue("bad format for path: \(word)") }
    var inside = parts[0]
    var mode = "rwm"
    if parts.count == 3 {
        guard isMode(parts[2]) else { throw InvalidValue("bad mode specified: \(parts[2])") }
        mode = String(parts[2])
        inside = parts[1]
    } else if parts.count == 2 {
        if isMode(parts[1]) { mode = String(parts[1]) } else { inside = parts[1] }
    }
    guard inside.hasPrefix(bytes: "/") else { throw InvalidValue("\(inside) is not an absolute path") }
    // Only what is named in the container is tidied, as docker does it.
    let isSame = parts.count == 1 || (parts.count == 2 && isMode(parts[1]))
    let target = parts.count == 3 ? String(inside) : cleanPath(String(inside))
    return DeviceMapping(
        pathOnHost: isSame ? target : String(parts[0]), pathInContainer: target, cgroupPermissions: mode)
}

/// `--device-cgroup-rule 'c 7:* rmw'`.
func parseDeviceRule(_ word: String) throws(InvalidValue) -> String {
    let parts = word.split(separator: " ", omittingEmptySubsequences: false)
    func isNumber(_ text: some StringProtocol) -> Bool {
        text == "*" || (!text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) })
    }
    guard parts.count == 3, ["a", "c", "b"].contains(parts[0]), (1...3).contains(parts[2].count),
        parts[2].allSatisfy({ "rwm".contains($0) }), case let (major, minor?) = cut(parts[1], ":"), isNumber(major),
        isNumber(minor)
    else { throw InvalidValue("invalid device cgroup format '\(word)'") }
    return word
}

/// `--gpus all|N|device=…,capabilities=…`: what the API calls a device request.
func parseGPUs(_ word: String) throws(InvalidValue) -> DeviceRequest {
    var request = DeviceRequest()
    var hasCount = false
    var capabilities: [String] = ["gpu"]
    for field in try csvFields(word) {
        let (key, value) = cut(field, "=")
        switch (key, value) {
        case ("driver", let name?): request.driver = name
        case ("device", let ids?): request.deviceIDs = ids.split(byte: ",").map(String.init)
        case ("capabilities", let names?): capabilities = names.split(byte: ",").map(String.init) + ["gpu"]
        case ("options", let options?): request.options = dictionary(try csvFields(options))
        case ("count", let count?), (let count, nil):
            guard let number = count == "all" ? -1 : Int(count) else {
                throw InvalidValue("invalid count (\(count)): value must be either \"all\" or an integer")
            }
            request.count = number
            hasCount = true
        default: throw InvalidValue("unexpected key '\(key)' in '\(field)'")
        }
    }
    if !hasCount && request.deviceIDs == nil { request.count = 1 }
    request.capabilities = [Set(capabilities).sorted()]
    request.options = request.options ?? [:]
    return request
}
