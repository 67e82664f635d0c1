import Glibc
import OCI

/// From the runtime specification's values, which are cgroup v1's, to those of cgroup v2.
enum CgroupConversion {
    /// `max` for what v1 calls -1.
    static func maximum(_ value: Int64) -> String { value < 0 ? "max" : String(value) }

    /// cpu.weight for cpu.shares. A quadratic in the logarithm that keeps minimum (2 → 1), default (1024 → 100) and
    /// maximum (262144 → 10000) in place, as runc and crun have it since 2024.
    static func cpuWeight(shares: UInt64) -> UInt64 {
        if shares <= 2 { return 1 }
        if shares >= 262_144 { return 10_000 }
        let logarithm = log2(Double(shares))
        let exponent = (logarithm * logarithm + 125 * logarithm) / 612 - 7.0 / 34
        return UInt64(pow(10, exponent).rounded(.up))
    }

    /// io.weight (1–10000) for a blkio weight (10–1000), linear as in runc.
    static func ioWeight(_ weight: UInt16) -> UInt64 { 1 + (UInt64(max(weight, 10)) - 10) * 9999 / 990 }

    /// memory.swap.max: v1's limit is memory plus swap, v2's is swap alone. nil where nothing is asked.
    /// - Parameter read: gives the present memory.max where only the swap limit changes.
    static func swap(
        _ memory: RuntimeSpec.Memory, _ read: CgroupLimit.Reader
    ) throws(CgroupError) -> String? {
        func refused(_ reason: String) -> CgroupError {
            CgroupError("memory controller: \(reason)", errno: EINVAL, controller: .memory)
        }
        let limit = memory.limit.flatMap { $0 == 0 ? nil : $0 }
        guard let swap = memory.swap, swap != 0 else { return limit == -1 ? "max" : nil }
        guard swap > 0 else { return "max" }
        if limit == -1 { return String(swap) }
        let text = read("memory.max")?.trimmedLine
        if limit == nil, text == "max" { return String(swap) }
        guard let limit = limit ?? text.flatMap({ Int64($0) }) else {
            throw refused("a limit of memory plus swap (\(swap) bytes) needs a memory limit")
        }
        guard swap >= limit else {
            throw refused("memory plus swap (\(swap) bytes) is less than memory (\(limit) bytes)")
        }
        return String(swap - limit)
    }

    static func cpuset(_ resources: RuntimeSpec.Resources) -> [CgroupWrite] {
        var writes: [CgroupWrite] = []
        if let cpus = resources.cpu?.cpus, !cpus.isEmpty { writes.append(CgroupWrite("cpuset.cpus", cpus)) }
        if let mems = resources.cpu?.mems, !mems.isEmpty { writes.append(CgroupWrite("cpuset.mems", mems)) }
        return writes
    }

    static func pids(_ resources: RuntimeSpec.Resources) -> [CgroupWrite] {
        guard let limit = resources.pids?.limit else { return [] }
        return [CgroupWrite("pids.max", limit > 0 ? String(limit) : "max")]
    }

    /// 0 counts as not given, as for Docker.
    static func weight(_ weight: UInt16?) throws(CgroupError) -> UInt16? {
        guard let weight, weight != 0 else { return nil }
        guard (10...1000).contains(weight) else {
            throw CgroupError("blkio weight \(weight) is not in the range 10 to 1000", errno: EINVAL, controller: .io)
        }
        return weight
    }

    static func deviceWeights(
        _ resources: RuntimeSpec.Resources, _ write: (String, UInt16) -> CgroupWrite
    ) throws(CgroupError) -> [CgroupWrite] {
        var writes: [CgroupWrite] = []
        for device in resources.blockIO?.weightDevice ?? [] {
            guard let weight = try weight(device.weight) else { continue }
            writes.append(write("\(device.major):\(device.minor)", weight))
        }
        return writes
    }

    /// Page sizes become part of a file's name.
    static func hugePages(_ resources: RuntimeSpec.Resources) throws(CgroupError) -> [RuntimeSpec.HugepageLimit] {
        for limit in resources.hugepageLimits ?? [] {
            guard limit.pageSize.utf8.allSatisfy({ (48...57).contains($0) || (65...90).contains($0) }) else {
                throw CgroupError(
                    "huge page size \"\(limit.pageSize)\" is none: use for example 2MB", errno: EINVAL,
                    controller: .hugetlb)
            }
        }
        return resources.hugepageLimits ?? []
    }

    static func rdma(_ resources: RuntimeSpec.Resources) -> [CgroupWrite] {
        (resources.rdma ?? [:]).sorted { $0.key < $1.key }.map { device, limit in
            let handles = limit.hcaHandles.map { " hca_handle=\($0)" } ?? ""
            let objects = limit.hcaObjects.map { " hca_object=\($0)" } ?? ""
            return CgroupWrite("rdma.max", device + handles + objects)
        }
    }
}

extension String {
    /// Without the newline that control files end in.
    var trimmedLine: String {
        var text = self
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
