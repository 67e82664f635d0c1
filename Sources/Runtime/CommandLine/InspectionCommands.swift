import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// state, list, ps, events, spec, features.
struct InspectionCommands {
    let options: RuntimeCommandLine.GlobalOptions

    func state(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: [], boolean: [])
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        let state = try store.readState()
        print(try Self.document(state, state.status(in: store), try store.readSpec()))
        return 0
    }

    private static func document(
        _ state: ContainerState, _ status: ContainerStatus, _ spec: RuntimeSpec
    ) throws(CommandError) -> String {
        var fields: [(String, String)] = [
            ("ociVersion", JSONWriter.quoted(HookContext.ociVersion)),
            ("id", JSONWriter.quoted(state.id)),
            ("pid", String(status == .stopped ? 0 : state.pid)),
            ("status", JSONWriter.quoted(status.rawValue)),
            ("bundle", JSONWriter.quoted(state.bundle)),
            ("rootfs", JSONWriter.quoted(rootfs(state, spec))),
            ("created", JSONWriter.quoted(Clock.rfc3339(state.created))),
        ]
        if let annotations = spec.annotations, !annotations.isEmpty {
            let pairs = annotations.sorted { $0.key < $1.key }.map {
                "    \(JSONWriter.quoted($0)): \(JSONWriter.quoted($1))"
            }
            fields.append(("annotations", "{\n\(pairs.joined(separator: ",\n"))\n  }"))
        }
        fields.append(("owner", JSONWriter.quoted("")))
        return "{\n" + fields.map { "  \"\($0)\": \($1)" }.joined(separator: ",\n") + "\n}"
    }

    private static func rootfs(_ state: ContainerState, _ spec: RuntimeSpec) -> String {
        let path = spec.root?.path ?? ""
        return path.hasPrefix(bytes: "/") ? path : "\(state.bundle)/\(path)"
    }

    func list(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(
            arguments, valued: ["format"], boolean: ["quiet"], aliases: ["f": "format", "q": "quiet"])
        var rows: [(state: ContainerState, status: ContainerStatus, spec: RuntimeSpec)] = []
        guard !options.rootIsGiven || access(options.root, F_OK) == 0 else {
            throw CommandError("there is no directory \(options.root)")
        }
        for id in Self.entries(of: options.root).sorted() {
            // One that goes away meanwhile isn't listed.
            guard let store = try? ContainerStore.open(id, root: options.root), let state = try? store.readState(),
                let spec = try? store.readSpec()
            else { continue }
            rows.append((state, state.status(in: store), spec))
        }
        if flags.has("quiet") {
            for row in rows { print(row.state.id) }
        } else if flags.value("format") == "json" {
            var documents: [String] = []
            for row in rows { documents.append(try Self.document(row.state, row.status, row.spec)) }
            print(rows.isEmpty ? "null" : "[\(documents.joined(separator: ","))]")
        } else {
            let cells =
                [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
                + rows.map { row in
                    [
                        row.state.id, String(row.status == .stopped ? 0 : row.state.pid), row.status.rawValue,
                        row.state.bundle, Clock.rfc3339(row.state.created), "root",
                    ]
                }
            Self.printTable(cells)
        }
        return 0
    }

    private static func printTable(_ cells: [[String]]) {
        let widths = cells[0].indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        for row in cells {
            let padded = row.enumerated().map { column, text in
                column == row.count - 1 ? text : text + String(repeating: " ", count: widths[column] - text.count + 3)
            }
            print(padded.joined())
        }
    }

    private static func entries(of directory: String) -> [String] {
        ((try? FileNames.list(at: directory)) ?? []).map { String(decoding: $0, as: UTF8.self) }
            .filter { !$0.hasPrefix(".") }
    }

    func ps(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: ["format"], boolean: [], aliases: ["f": "format"])
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        let state = try store.readState()
        let cgroup = try state.cgroup()
        let pids: [Int32]
        do throws(CgroupError) {
            pids = try cgroup.processes()
        } catch {
            throw CommandError(error.message)
        }
        if flags.value("format") == "json" {
            print("[\(pids.map(String.init).joined(separator: ","))]")
            return 0
        }
        let words = flags.rest.dropFirst()
        try Self.printProcesses(pids, words.isEmpty ? ["-ef"] : Array(words))
        return 0
    }

    /// The lines of the host's ps(1) for these pids, its header first.
    private static func printProcesses(_ pids: [Int32], _ arguments: [String]) throws(CommandError) {
        let command = (["ps"] + arguments).map { "'\($0.split(separator: "'").joined(separator: "'\\''"))'" }
        guard let stream = popen(command.joined(separator: " "), "r") else {
            throw CommandError("cannot run ps: \(String(cString: strerror(errno)))")
        }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&buffer, 1, buffer.count, stream)
            if count == 0 { break }
            text += buffer[..<count]
        }
        guard pclose(stream) == 0 else { throw CommandError("ps failed: is the option list right?") }
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
        guard let header = lines.first,
            let column = header.split(separator: " ").firstIndex(where: { $0 == "PID" })
        else { throw CommandError("the options of ps leave out the column PID") }
        print(header)
        for line in lines.dropFirst() {
            let fields = line.split(separator: " ")
            if fields.count > column, let pid = Int32(fields[column]), pids.contains(pid) { print(line) }
        }
    }

    func features(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        print(FeatureDocument.text)
        return 0
    }

    func spec(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: ["bundle"], boolean: ["rootless"], aliases: ["b": "bundle"])
        if flags.has("rootless") { throw CommandError("rootless containers are not supported") }
        let path = "\(flags.value("bundle") ?? ".")/config.json"
        guard access(path, F_OK) < 0 else { throw CommandError("\(path) exists: remove it first") }
        do throws(SystemError) {
            try Files.write(path, Array((DefaultSpec.text + "\n").utf8), mode: 0o666)
        } catch {
            throw CommandError("cannot write the configuration: \(error)")
        }
        return 0
    }

    func events(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: ["interval"], boolean: ["stats"])
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        let state = try store.readState()
        guard state.status(in: store) != .stopped else { throw CommandError("container is not running") }
        store.unlock()
        let interval = try Self.milliseconds(flags.value("interval") ?? "5s")
        let cgroup = try state.cgroup()
        do throws(CgroupError) {
            if flags.has("stats") {
                print(EventDocument.stats(state.id, try cgroup.statistics()))
                return 0
            }
            guard let process = state.openProcess() else { return 0 }
            if let watch = try cgroup.watchOutOfMemory() {
                try follow(state, cgroup, process.raw, interval, watch.descriptor.raw) { watch.acknowledge() }
            } else {
                try follow(state, cgroup, process.raw, interval, -1) {}
            }
            return 0
        } catch {
            throw CommandError(error.message)
        }
    }

    /// A duration as Go writes it, with one unit: `100ms`, `5s`, `1m`.
    private static func milliseconds(_ text: String) throws(CommandError) -> Int32 {
        let units: [String: Int] = ["ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000]
        let digits = text.prefix { $0.isNumber }
        guard let number = Int(digits), let unit = units[String(text.dropFirst(digits.count))], number > 0 else {
            throw CommandError("--interval needs a duration such as 500ms or 5s, not \(text)")
        }
        return Int32(clamping: number.multipliedReportingOverflow(by: unit).partialValue)
    }

    private func follow(
        _ state: ContainerState, _ cgroup: ContainerCgroup, _ process: Int32, _ interval: Int32, _ memory: Int32,
        _ acknowledge: () -> Void
    ) throws(CgroupError) {
        var known = cgroup.oomKillCount()
        while true {
            var sources = [
                pollfd(fd: process, events: Int16(POLLIN), revents: 0),
                pollfd(fd: memory, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&sources, 2, interval)
            let ended = sources[0].revents != 0
            let woken = sources[1].revents != 0
            if woken { acknowledge() }
            if (woken || ended) && Self.ranOut(cgroup, woken: woken, ended: ended, known: &known) {
                print("{\"type\":\"oom\",\"id\":\(JSONWriter.quoted(state.id))}")
            }
            if ready == 0 { print(EventDocument.stats(state.id, try cgroup.statistics())) }
            fflush(nil)
            if ended { return }
        }
    }

    /// Whether memory ran out. v1 wakes the watch before it kills, and when the group goes; v2 for other things as well,
    /// and late, so that there the count decides.
    private static func ranOut(_ cgroup: ContainerCgroup, woken: Bool, ended: Bool, known: inout UInt64) -> Bool {
        let before = known
        known = max(known, cgroup.oomKillCount())
        if known > before { return woken || cgroup.layout.placements[.memory]?.version != .v1 }
        return woken && !ended && cgroup.layout.placements[.memory]?.version == .v1
    }
}

/// What `events` prints, in runc's shape.
enum EventDocument {
    static func stats(_ id: String, _ statistics: CgroupStatistics) -> String {
        var parts: [String] = []
        if let cpu = statistics.cpu {
            let perCPU = cpu.perCPU.map(String.init).joined(separator: ",")
            let usage = "{\"total\":\(cpu.total),\"percpu\":[\(perCPU)],\"kernel\":\(cpu.system),\"user\":\(cpu.user)}"
            let throttling =
                "{\"periods\":\(cpu.periods),\"throttledPeriods\":\(cpu.throttledPeriods),"
                + "\"throttledTime\":\(cpu.throttledTime)}"
            parts.append("\"cpu\":{\"usage\":\(usage),\"throttling\":\(throttling)}")
        }
        if let memory = statistics.memory {
            let raw = memory.statistics.sorted { $0.key < $1.key }.map { "\(JSONWriter.quoted($0.key)):\($0.value)" }
            let usage =
                "{\"limit\":\(memory.limit ?? UInt64.max),\"usage\":\(memory.usage),\"max\":\(memory.peak ?? 0),"
                + "\"failcnt\":\(memory.failures ?? 0)}"
            parts.append(
                "\"memory\":{\"cache\":\(memory.cache),\"usage\":\(usage),\"raw\":{\(raw.joined(separator: ","))}}")
        }
        if let pids = statistics.pids {
            parts.append("\"pids\":{\"current\":\(pids.current),\"limit\":\(pids.limit ?? 0)}")
        }
        if let io = statistics.io {
            parts.append(
                "\"blkio\":{\"ioServiceBytesRecursive\":[\(entries(io.serviceBytes))],"
                    + "\"ioServicedRecursive\":[\(entries(io.serviced))]}")
        }
        return "{\"type\":\"stats\",\"id\":\(JSONWriter.quoted(id)),\"data\":{\(parts.joined(separator: ","))}}"
    }

    private static func entries(_ entries: [CgroupStatistics.IOEntry]) -> String {
        entries.map {
            "{\"major\":\($0.major),\"minor\":\($0.minor),\"op\":\(JSONWriter.quoted($0.operation)),\"value\":\($0.value)}"
        }.joined(separator: ",")
    }
}
