import Glibc
import Testing

@testable import Engine

@Suite struct StagedDirectoriesTests {
    @Test func oneIsReadyAndTakenOnce() throws {
        let place = TemporaryDirectory()
        func names() throws -> [String] { try Files.list(place.path).sorted() }
        let directories = StagedDirectories(in: place.path)
        directories.prepare()
        directories.prepare()
        let ready = try names()
        #expect(ready.count == 1)

        let first = try directories.take()
        #expect(try names() == ready)
        #expect(first == "\(place.path)/\(ready[0])")
        let second = try directories.take()
        #expect(second != first)
        #expect(try names().count == 2)
        for directory in [first, second] {
            for (name, mode) in [("", 0o710), ("/upper", 0o755), ("/work", 0o700), ("/logs", 0o700)] {
                var status = stat()
                #expect(stat(directory + name, &status) == 0 && Int(status.st_mode & 0o7777) == mode)
            }
        }
    }

    @Test func whatCannotBeMadeIsTheTakersError() {
        let directories = StagedDirectories(in: "/nonexistent")
        directories.prepare()
        #expect(throws: (any Error).self) { try directories.take() }
    }
}
