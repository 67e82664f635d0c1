import Glibc

/// `fuzz TARGET [libFuzzer's arguments]`: hostile bytes for one of the parsers that see bytes of strangers.
///
/// Built by scripts/fuzz alone, with `-sanitize=fuzzer,address`. A target ends quietly for what it refuses; a trap, a
/// sanitizer's report or a broken promise (``require(_:_:)``) is a finding.
@main
struct Fuzz {
    typealias Target = @Sendable (UnsafeRawBufferPointer) throws -> Void

    static let targets: [String: Target] = [
        "tar": LayerFuzzing.tar, "documents": LayerFuzzing.documents, "archive-names": LayerFuzzing.names,
        "archive": ArchiveFuzzing.archive, "compression": ArchiveFuzzing.compression, "copy": ArchiveFuzzing.copy,
        "spec": RuntimeFuzzing.spec, "accounts": RuntimeFuzzing.accounts, "messages": RuntimeFuzzing.messages,
        "api": RequestFuzzing.bodies, "query": RequestFuzzing.query, "rules": RequestFuzzing.rules,
        "cri-log": LogFuzzing.cri, "json-log": LogFuzzing.json, "log-round": LogFuzzing.round,
        "dns": WireFuzzing.dns, "netlink": WireFuzzing.netlink, "reference": WireFuzzing.reference,
        "answer": WireFuzzing.answer, "template": WireFuzzing.template, "ordered-json": WireFuzzing.orderedJSON,
    ]

    static func main() {
        let names = targets.keys.sorted()
        guard CommandLine.arguments.count > 1, CommandLine.arguments[1] != "--list" else {
            print(names.joined(separator: "\n"))
            exit(CommandLine.arguments.count > 1 ? 0 : 2)
        }
        guard let target = targets[CommandLine.arguments[1]] else {
            print("there is no target \(CommandLine.arguments[1]): it is one of \(names.joined(separator: ", "))")
            exit(2)
        }
        chosen = target
        // The target's name is not libFuzzer's.
        var count = CommandLine.argc - 1
        var arguments = CommandLine.unsafeArgv.advanced(by: 1)
        exit(runFuzzer(&count, &arguments, testOneInput))
    }
}

/// Set once, before the fuzzer's loop begins; libFuzzer is single-threaded.
nonisolated(unsafe) private var chosen: Fuzz.Target = { _ in }

@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// libFuzzer's own `main` asks for this name.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    // An error is the right answer to most inputs.
    try? chosen(UnsafeRawBufferPointer(start: bytes, count: count))
    return 0
}

/// What must hold whatever the input.
func require(_ holds: @autoclosure () throws -> Bool, _ promise: @autoclosure () -> String) rethrows {
    if try !holds() { fatalError("broken promise: \(promise())") }
}

extension UnsafeRawBufferPointer {
    /// The parts between the first `count - 1` zero bytes, as text; empty where there are fewer.
    func texts(_ count: Int) -> [String] {
        var parts = split(separator: 0, maxSplits: count - 1, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        while parts.count < count { parts.append("") }
        return parts
    }

    /// The first byte, which chooses among variants, and the rest.
    var variant: (number: Int, rest: UnsafeRawBufferPointer) {
        guard let first else { return (0, self) }
        return (Int(first), UnsafeRawBufferPointer(rebasing: self[1...]))
    }
}
