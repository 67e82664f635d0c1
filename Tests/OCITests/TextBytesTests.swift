import OCI
import Testing

@Suite struct TextBytesTests {
    @Test func separatorsBeforeCombiningCharacters() {
        let path = "/a/\u{301}b/../c"
        #expect(path.split(byte: "/") == ["a", "\u{301}b", "..", "c"])
        #expect(path.split(byte: "/", omittingEmptySubsequences: false).first == "")
        #expect("k=\u{301}v".prefix(before: "=") == "k" && "k".prefix(before: "=") == "k")
        #expect("k=\u{301}v".contains(byte: "=") && !"k".contains(byte: "="))
        #expect("/\u{301}".hasPrefix(bytes: "/") && !"a/".hasPrefix(bytes: "/"))
        #expect(path[..<path.lastIndex(byte: "/")!] == "/a/\u{301}b/..")
    }
}
