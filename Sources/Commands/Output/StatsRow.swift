/// One container's use of resources, as `stats` shows it.
struct StatsRow {
    static let kind = ListKind(
        headers: [
            "Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %",
            "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O",
            "PIDs": "PIDS", "NetLimit": "NET LIMIT",
        ],
        columns: ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"], quietField: "ID")

    /// The rates of a container without any.
    private static let noLimit = "-- / --"

    /// A column for rates, where one of the containers has one: docker's table has none.
    static func extraColumns(_ rows: [ListRow]) -> [String] {
        rows.allSatisfy { $0.fields["NetLimit"]?.string == noLimit } ? [] : ["NetLimit"]
    }

    /// - Parameter sample: what the daemon says, null before it has said anything.
    static func row(_ sample: OrderedJSON, asked: String, truncates: Bool) -> ListRow {
        let id = sample["id"].string ?? asked
        let name = sample["name"].string.map { $0.hasPrefix(bytes: "/") ? String($0.dropFirst()) : $0 } ?? "--"
        var fields = [
            "Container": asked, "ID": truncates ? shortID(id) : id, "Name": name.isEmpty ? "--" : name,
            "CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--", "NetIO": "--", "BlockIO": "--", "PIDs": "--",
            "NetLimit": noLimit,
        ]
        if !sample.isNull {
            let memory = memory(sample)
            fields["CPUPerc"] = fixed(cpuPercent(sample), decimals: 2) + "%"
            fields["MemUsage"] = "\(binarySize(memory.used)) / \(binarySize(memory.limit))"
            fields["MemPerc"] =
                fixed(memory.limit == 0 ? 0 : Double(memory.used) / Double(memory.limit) * 100, decimals: 2) + "%"
            let networks = sample["networks"].members.map(\.value)
            func total(_ key: String) -> UInt64 { networks.reduce(0) { $0 &+ ($1[key].unsigned ?? 0) } }
            fields["NetIO"] = "\(humanSize(total("rx_bytes"))) / \(humanSize(total("tx_bytes")))"
            func limit(_ key: String) -> String {
                let rate = networks.reduce(0) { max($0, $1[key].unsigned ?? 0) }
                return rate == 0 ? "--" : humanRate(rate)
            }
            fields["NetLimit"] = "\(limit("rx_rate_limit")) / \(limit("tx_rate_limit"))"
            let blocks = sample["blkio_stats"]["io_service_bytes_recursive"].elements
            func moved(_ operation: Character) -> UInt64 {
                blocks.filter { $0["op"].string?.lowercased().first == operation }
                    .reduce(0) { $0 &+ ($1["value"].unsigned ?? 0) }
            }
            fields["BlockIO"] = "\(humanSize(moved("r"))) / \(humanSize(moved("w")))"
            fields["PIDs"] = "\(sample["pids_stats"]["current"].unsigned ?? 0)"
        }
        return ListRow(fields)
    }

    /// The container's share of CPU time between two readings; 100 is one CPU.
    static func cpuPercent(_ sample: OrderedJSON) -> Double {
        let (now, before) = (sample["cpu_stats"], sample["precpu_stats"])
        let used = (now["cpu_usage"]["total_usage"].double ?? 0) - (before["cpu_usage"]["total_usage"].double ?? 0)
        let passed = (now["system_cpu_usage"].double ?? 0) - (before["system_cpu_usage"].double ?? 0)
        var cpus = now["online_cpus"].double ?? 0
        if cpus == 0 { cpus = Double(now["cpu_usage"]["percpu_usage"].elements.count) }
        return used > 0 && passed > 0 ? used / passed * cpus * 100 : 0
    }

    /// Memory in use without the page cache that the kernel would give up first.
    static func memory(_ sample: OrderedJSON) -> (used: UInt64, limit: UInt64) {
        let memory = sample["memory_stats"]
        let usage = memory["usage"].unsigned ?? 0
        // cgroup v1's name, then v2's.
        let cache = memory["stats"]["total_inactive_file"].unsigned ?? memory["stats"]["inactive_file"].unsigned ?? 0
        return (cache < usage ? usage - cache : usage, memory["limit"].unsigned ?? 0)
    }
}
