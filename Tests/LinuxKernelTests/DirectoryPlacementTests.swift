import Glibc
import LinuxKernel
import Testing

struct DirectoryPlacementTests {
    static let isOnExt4: Bool = {
        guard let directory = try? TemporaryDirectory() else { return false }
        // One name for all three, which share a magic number; none of them lacks the mark.
        return (try? run("/usr/bin/stat", ["-f", "-c", "%T", directory.path])) == "ext2/ext3\n"
    }()

    @Test(.enabled(if: isOnExt4))
    func aDirectoryIsMarkedOnceAndNotWhatIsMadeInIt() throws {
        let directory = try TemporaryDirectory()
        for _ in 0..<2 {
            DirectoryPlacement.spread(at: directory.path)
            #expect(try flags(directory.path).contains("T"))
        }
        #expect(mkdir(directory.path + "/layer", 0o700) == 0)
        #expect(try !flags(directory.path + "/layer").contains("T"))
    }

    @Test func whereThereIsNoSuchMarkNothingHappens() throws {
        DirectoryPlacement.spread(at: "/proc")
        DirectoryPlacement.spread(at: "/proc/there-is-no-such-directory")
    }

    private func flags(_ path: String) throws -> Substring {
        try run("/usr/bin/lsattr", ["-d", path]).prefix { $0 != " " }
    }
}
