import Foundation
import Glibc
import Testing

@testable import APIServer

@Suite final class ListeningSocketTests {
    private let scratch: String

    init() throws {
        var template = Array("/tmp/mycontainer-socket-XXXXXX".utf8CString)
        scratch = String(cString: try #require(mkdtemp(&template)))
    }

    deinit { try? FileManager.default.removeItem(atPath: scratch) }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test func onlyOwnerAndGroupMayConnect() throws {
        let path = scratch + "/deeper/api.sock"
        let socket = try ListeningSocket.bind(path, group: getgid())
        #expect(mode(path) == 0o660)
        close(socket.descriptor)
    }

    @Test func aStaleSocketIsReplacedAndALiveOneIsNot() throws {
        let path = scratch + "/api.sock"
        let first = try ListeningSocket.bind(path, group: nil)
        let error = try #require(throws: ListeningSocket.Failure.self) { try ListeningSocket.bind(path, group: nil) }
        #expect(error.description.contains("another daemon answers"))
        close(first.descriptor)
        let second = try ListeningSocket.bind(path, group: nil)
        // The first one's file is gone; its owner must not remove the second's.
        first.removeFile()
        #expect(access(path, F_OK) == 0)
        second.removeFile()
        #expect(access(path, F_OK) != 0)
        close(second.descriptor)
    }

    @Test func pathsLongerThanASocketAddress() throws {
        let directory = scratch + "/" + String(repeating: "d", count: 120)
        let path = directory + "/api.sock"
        let socket = try ListeningSocket.bind(path, group: nil)
        #expect(mode(path) == 0o660)
        #expect(throws: ListeningSocket.Failure.self) { try ListeningSocket.bind(path, group: nil) }
        socket.removeFile()
        close(socket.descriptor)
    }

    @Test func otherFilesAreLeftAlone() throws {
        let path = scratch + "/file"
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        let error = try #require(throws: ListeningSocket.Failure.self) { try ListeningSocket.bind(path, group: nil) }
        #expect(error.description.contains("is not a socket"))
        #expect(access(path, F_OK) == 0)
        #expect(throws: ListeningSocket.Failure.self) { try ListeningSocket.bind("relative.sock", group: nil) }
    }
}
