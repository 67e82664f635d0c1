import Foundation
import Glibc

/// A directory that goes away with its owner.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array((NSTemporaryDirectory() + "/linuxkernel-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

struct CommandFailure: Error, CustomStringConvertible {
    let description: String
}

/// Runs a program and gives its standard output.
func run(_ executable: String, _ arguments: [String]) throws -> String {
    let process = Foundation.Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
        throw CommandFailure(description: "\(executable) ended with \(process.terminationStatus)")
    }
    return String(decoding: data, as: UTF8.self)
}
