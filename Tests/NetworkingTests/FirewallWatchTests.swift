import Glibc
import LinuxKernel
import Synchronization
import Testing

@testable import Networking

@Suite(.enabled(if: canMakeNamespaces))
struct FirewallWatchTests {
    /// What the watcher reported, to be waited for.
    private final class Reports: Sendable {
        private let ends: (read: Int32, write: Int32)
        let events = Mutex<[FirewallEvent]>([])

        init() throws {
            var ends: [Int32] = [0, 0]
            try checked("pipe") { pipe(&ends) }
            self.ends = (ends[0], ends[1])
        }

        deinit {
            close(ends.read)
            close(ends.write)
        }

        func add(_ event: FirewallEvent) {
            events.withLock { $0.append(event) }
            write(ends.write, "x", 1)
        }

        /// Waits for one more report.
        func next() throws {
            var polled = pollfd(fd: ends.read, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, 60_000) == 1 else { throw CommandFailed(description: "nothing was reported") }
            var byte = UInt8(0)
            read(ends.read, &byte, 1)
        }
    }

    @Test(arguments: [
        "flush ruleset", "delete table inet mycontainer-0011aabb", "flush table inet mycontainer-0011aabb",
        "flush map inet mycontainer-0011aabb published-any4", "flush chain inet mycontainer-0011aabb published",
    ])
    func comesBackAfter(_ deletion: String) throws {
        let world = try Topology()
        let reports = try Reports()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish(nil, 8080)
        try world.host.inside { try world.firewall.watch { reports.add($0) } }
        let before = try world.firewall.listing()

        try world.host.run("nft", deletion)
        try reports.next()
        #expect(try world.firewall.listing() == before)
        #expect(try world.reaches(from: world.outside, "198.51.100.1", 8080, server) == "198.51.100.2")
        #expect(try world.host.run("nft", "list tables").contains("inet mycontainer-user"))
    }

    @Test func ownChangesAndOthersTablesAreNoLoss() throws {
        let world = try Topology()
        let reports = try Reports()
        try world.host.inside { try world.firewall.watch { reports.add($0) } }
        let reservation = try world.publish(nil, 8080)
        try world.firewall.unpublish(reservation.ports)
        try world.firewall.removeNetwork(bridge: "br1")
        try world.firewall.addNetwork(Topology.network1)
        try world.firewall.install(FirewallState(networks: [Topology.network0]))
        try world.host.run("nft", "add table inet admin; delete table inet admin")
        #expect(reports.events.withLock { $0.isEmpty })
        // The first report there is comes from this.
        try world.host.run("nft", "flush ruleset")
        try reports.next()
        #expect(reports.events.withLock { $0.count } == 1)
    }

    @Test func aTableTakenBackIsNotRestored() throws {
        let world = try Topology()
        let reports = try Reports()
        try world.host.inside { try world.firewall.watch { reports.add($0) } }
        try world.firewall.remove()
        try world.host.run("nft", "flush ruleset")
        try world.firewall.install(FirewallState(networks: [Topology.network0]))
        try world.host.run("nft", "flush ruleset")
        try reports.next()
        #expect(reports.events.withLock { $0.count } == 1)
    }

    @Test func parsesNotices() {
        // struct nfgenmsg; NFTA_TABLE_NAME "t1"; an attribute that is cut short.
        let bytes: [UInt8] = [1, 0, 0, 0, 7, 0, 1, 0, 0x74, 0x31, 0, 0, 200, 0, 1, 0]
        #expect(NetfilterSocket.parse(2, bytes) == RulesetNotice(message: 2, table: "t1", taskName: nil))
        let generation: [UInt8] = [0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 9, 8, 0, 3, 0, 0x6E, 0x66, 0x74, 0]
        #expect(NetfilterSocket.parse(15, generation) == RulesetNotice(message: 15, table: nil, taskName: "nft"))
    }

    @Test func saysWhatToDo() {
        #expect(Nftables.explain(SystemError("bind", errno: EPERM)).message.contains("needs CAP_NET_ADMIN"))
        let absent = Nftables.explain(SystemError("socket", errno: EPROTONOSUPPORT)).message
        #expect(absent.contains("modprobe nf_tables") && absent.contains("--network host"))
    }

    @Test func aLibraryThatIsAbsentIsNamed() {
        let error = #expect(throws: NetworkingError.self) { try NftablesLibrary("libnftables-of-nobody.so.1") }
        #expect(error?.message.contains("libnftables-of-nobody.so.1") == true)
        #expect(error?.message.contains("install libnftables1, or use --network host or none") == true)
        // And what is no such library is none.
        #expect(throws: NetworkingError.self) { try NftablesLibrary("libc.so.6") }
    }

    @Test func namesTheFirstComplaint() {
        let error = Nftables.explain(
            "/dev/stdin:3:1-5: Error: Could not process rule: Operation not supported\nadd rule x\n^^^^\n")
        #expect(error.message.hasPrefix("nftables refused the rules: Could not process rule: Operation not supported"))
        #expect(error.message.contains("CONFIG_NF_TABLES_INET"))
    }
}
