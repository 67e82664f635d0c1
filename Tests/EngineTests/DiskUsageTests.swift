import Glibc
import LinuxKernel
import Synchronization
import Testing

@testable import Engine

@Suite struct DiskUsageTests {
    private let directory = TemporaryDirectory()

    private func write(_ count: Int, _ name: String, in parent: Int32) throws {
        let file = try FileDescriptor(name, O_WRONLY | O_CREAT, mode: 0o600, relativeTo: parent)
        try checked("ftruncate") { ftruncate(file.raw, off_t(count)) }
    }

    /// Makes `depth` directories in each other and gives the deepest.
    private func descend(_ depth: Int, from path: String) throws -> FileDescriptor {
        var current = try FileDescriptor(path, O_RDONLY | O_DIRECTORY)
        for _ in 0..<depth {
            try checked("mkdir") { mkdirat(current.raw, "d", 0o700) }
            current = try FileDescriptor("d", O_RDONLY | O_DIRECTORY, relativeTo: current.raw)
        }
        return current
    }

    @Test func filesCountOnceAndLinksAreNotFollowed() throws {
        let top = try FileDescriptor(directory.path, O_RDONLY | O_DIRECTORY)
        try write(1000, "a", in: top.raw)
        let below = try descend(1, from: directory.path)
        try write(20, "b", in: below.raw)
        #expect(link(directory.path + "/a", directory.path + "/d/same") == 0)
        #expect(symlink("/usr", directory.path + "/d/\u{FF}") == 0)
        #expect(DiskUsageWalk.size(of: directory.path) == 1020 + 4)
        #expect(DiskUsageWalk.size(of: directory.path + "/missing") == 0)
    }

    @Test func deepTreesAreCountedToTheirEnd() throws {
        let deepest = try descend(3000, from: directory.path)
        try write(777, "file", in: deepest.raw)
        let top = try FileDescriptor(directory.path, O_RDONLY | O_DIRECTORY)
        try write(1, "file", in: top.raw)
        #expect(DiskUsageWalk.size(of: directory.path) == 778)
    }

    /// The walk stands in a directory that goes elsewhere: what stays where it is, is counted all the same.
    @Test func whatMovesMeanwhileHidesNothingElse() throws {
        for index in 0..<40 {
            let parent = "\(directory.path)/\(index)"
            try checked("mkdir") { mkdir(parent, 0o700) }
            let directory = try FileDescriptor(parent, O_RDONLY | O_DIRECTORY)
            try write(100, "file", in: directory.raw)
        }
        _ = try descend(5, from: directory.path + "/0")
        final class Ends: Sendable {
            let asked = Atomic(false)
            let done = BlockingSignal()
        }
        let ends = Ends()
        let path = directory.path
        try DetachedThread.start(stackSize: 512 << 10) {
            while !ends.asked.load(ordering: .acquiring) {
                for index in 0..<40 { rename("\(path)/\(index)/d", "\(path)/\((index + 1) % 40)/d") }
            }
            ends.done.signal()
        }
        for _ in 0..<200 { #expect(DiskUsageWalk.size(of: path) == 4000) }
        ends.asked.store(true, ordering: .releasing)
        ends.done.wait()
    }
}
