import Testing

@testable import Commands

@Suite struct RawBytesTests {
    private static let strange: [[UInt8]] = [
        [], Array("plain/ä€😀".utf8), [0xFF], Array("a".utf8) + [0xFF, 0xC3] + Array("b".utf8), [0xE2, 0x82],
        [0xF0, 0x9F, 0x98], [0xED, 0xA0, 0x80], [0xC0, 0xAF],
        // The very characters that stand for bytes.
        Array("\u{10FEFF}".utf8), Array("\u{10FE80}\u{10FE80}".utf8) + [0xF4], Array("\u{10FDFF}\u{10FF00}".utf8),
    ]

    @Test(arguments: strange) func nothingIsLost(_ bytes: [UInt8]) {
        #expect(RawBytes.bytes(RawBytes.text(bytes)) == bytes)
        #expect(RawBytes.repaired(RawBytes.text(bytes)) == String(decoding: bytes, as: UTF8.self))
    }

    @Test func differentBytesAreDifferentWords() {
        #expect(Set(Self.strange.map { RawBytes.text($0) }).count == Self.strange.count)
    }

    @Test func whatIsTextCanBeSent() throws {
        try RawBytes.requireText(RawBytes.text(Array("ä\u{10FEFF}".utf8)))
        #expect(throws: InvalidValue.self) { try RawBytes.requireText(RawBytes.text([0xFF])) }
    }

    /// Only what names the user's own files keeps what the daemon can't be told.
    @Test func optionsSayWhatBecomesOfBytes() throws {
        let word = RawBytes.text([0x61, 0xFF])
        let options = ContainerFlags.options
        let kept = try ParsedArguments(
            ["--cidfile", word, "--name", word, word], options: options, interspersed: false)
        #expect(kept[ContainerFlags.cidfile] == word)
        #expect(kept[ContainerFlags.name] == "a\u{FFFD}")
        #expect(kept.operands == [word])
        for refused in [
            ["-v", "/\(word):/x"], ["--mount", "type=bind,src=/\(word),dst=/x"], ["--device", "/\(word)"],
        ] {
            let error = try #require(throws: UsageError.self) {
                try ParsedArguments(refused, options: options, interspersed: false)
            }
            #expect(error.message.contains("it is not UTF-8"), "\(error.message)")
        }
    }

    @Test func operandsThatNameNoFilesAreRepaired() throws {
        let daemon = try RecordingDaemon()
        defer { daemon.stop() }
        let word = RawBytes.text([0x61, 0xFF])
        #expect(CommandLineProgram.main(["-H", "unix://\(daemon.socketPath)", "rename", "x", word]) == 0)
        #expect(daemon.takeRequests().map(\.query) == [["name": "a\u{FFFD}"]])
    }
}
