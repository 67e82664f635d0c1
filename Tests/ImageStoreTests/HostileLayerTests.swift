import Glibc
import Testing

@testable import ImageStore

/// THREATS.md, the rows on layers: each attack beside what looks like it and must work.
@Suite(.enabled(if: isRoot)) struct HostileLayerTests {
    @Test(arguments: ["../escape", "a/../../escape", "..", "a/..", "./../escape"])
    func refusesParentComponents(name: String) {
        let layer = UnpackedLayer()
        #expect(throws: TarError.self) { try layer.unpack { $0.add(name, content: [1]) } }
        #expect(throws: TarError.self) {
            try layer.unpack {
                $0.add("file", content: [1])
                $0.hardLink("link", to: name)
            }
        }
        #expect(status(layer.scratch.file("escape")) == nil)
        #expect(status(layer.staging + "/escape") == nil)
    }

    @Test func namesThatOnlyLookLikeParents() throws {
        let layer = UnpackedLayer()
        try layer.unpack {
            $0.add("./a..b/..c/...", content: [1])
            $0.add("./x//./y", content: [2])
        }
        #expect(layer.exists("a..b/..c/...") && layer.exists("x/y"))
    }

    @Test func absolutePathsStayInside() throws {
        let layer = UnpackedLayer()
        let outside = layer.scratch.path
        try layer.unpack {
            $0.add("/etc/absolute", content: [1])
            $0.link("out", to: outside)
            $0.add("out/file", content: [2])
            $0.link("up", to: "../../../../..")
            $0.add("up/top", content: [3])
        }
        #expect(layer.exists("etc/absolute") && layer.exists("top"))
        #expect(layer.exists(String(outside.dropFirst()) + "/file"))
        #expect(status(outside + "/file") == nil && status("/top") == nil)
    }

    @Test func absoluteLinksOfRealImagesWork() throws {
        let layer = UnpackedLayer()
        try layer.unpack {
            $0.directory("usr")
            $0.directory("usr/lib")
            $0.link("lib", to: "/usr/lib")
            $0.add("lib/libc.so", content: [1])
            $0.link("var/run", to: "/run")
            $0.add("var/run/pid", content: [2])
        }
        #expect(layer.exists("usr/lib/libc.so"))
        #expect(linkTarget(layer.path("lib")) == "/usr/lib")
        #expect(layer.exists("run/pid"))
    }

    @Test func directoriesExchangedForLinksBetweenEntries() throws {
        let layer = UnpackedLayer()
        let outside = layer.scratch.directory("outside")
        try layer.unpack {
            $0.directory("a")
            $0.add("a/first", content: [1])
            $0.link("a", to: outside)
            $0.add("a/second", content: [2])
            $0.add("plain", content: [3])
            $0.link("plain", to: outside + "/written")
            $0.add("plain", content: [4])
        }
        #expect(linkTarget(layer.path("a")) == outside)
        #expect(status(outside + "/second") == nil && status(outside + "/written") == nil)
        #expect(try readFile(layer.path("plain")) == [4])
        #expect(status(outside)?.st_mode == S_IFDIR | 0o755)
    }

    @Test func hardLinksStayInside() throws {
        let layer = UnpackedLayer()
        let secret = layer.scratch.file("secret")
        try writeFile(secret, [42])
        for target in [secret, "/etc/passwd", "etc/passwd"] {
            #expect(throws: TarError.self) { try layer.unpack { $0.hardLink("link-\(target.count)", to: target) } }
        }
        try layer.unpack {
            $0.link("out", to: layer.scratch.path)
            $0.add("inside", content: [7])
            $0.hardLink("good", to: "/inside")
            $0.hardLink("good", to: "inside")
        }
        #expect(status(layer.path("good"))?.st_ino == status(layer.path("inside"))?.st_ino)
        #expect(throws: TarError.self) { try layer.unpack { $0.hardLink("bad", to: "out/secret") } }
        #expect(status(secret)?.st_nlink == 1)
    }

    @Test(arguments: [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."])
    func refusesWhiteoutsOfNothing(name: String) {
        let layer = UnpackedLayer()
        #expect(throws: TarError.self) { try layer.unpack { $0.add(name) } }
    }

    @Test func whiteoutsAreConvertedAtTheBottomToo() throws {
        let layer = UnpackedLayer()
        try layer.unpack {
            $0.directory("d")
            $0.add("d/.wh.gone")
            $0.add(".wh..hidden")
            $0.directory("replaced")
            $0.add("replaced/.wh..wh..opq")
            $0.add(".wh..wh.plnk/7.8", content: [1])
        }
        #expect(layer.isWhiteout("d/gone") && layer.isWhiteout(".hidden"))
        #expect(layer.isOpaque("replaced") && !layer.isOpaque("d"))
        #expect(!layer.exists(".wh..wh.plnk"))
    }

    @Test func aDirectoryMadeAnewInOneLayerHidesTheOldOne() throws {
        let layer = UnpackedLayer()
        try layer.unpack {
            $0.add(".wh.before")
            $0.directory("before")
            $0.add("before/new", content: [1])
            $0.directory("after")
            $0.add("after/new", content: [1])
            $0.add(".wh.after")
            $0.add(".wh.implied")
            $0.add("implied/new", content: [1])
            $0.add("kept", content: [1])
            $0.add(".wh.kept")
        }
        for name in ["before", "after", "implied"] { #expect(layer.isOpaque(name) && layer.exists(name + "/new")) }
        #expect(status(layer.path("kept"))?.st_size == 1)
    }

    @Test func opaqueMarkersOnLinksAreResolvedInside() throws {
        let layer = UnpackedLayer()
        let outside = layer.scratch.directory("outside")
        try layer.unpack {
            $0.link("link", to: outside)
            $0.add("link/.wh..wh..opq")
        }
        #expect(attribute(outside, "trusted.overlay.opaque") == nil)
        #expect(layer.isOpaque(String(outside.dropFirst())))
    }

    @Test func refusesPathsThroughWhiteoutNames() {
        let layer = UnpackedLayer()
        #expect(throws: TarError.self) { try layer.unpack { $0.add(".wh.d/file", content: [1]) } }
    }

    @Test func overlayAttributesAreLeftOutAndCapabilitiesKept() throws {
        let layer = UnpackedLayer()
        // cap_net_raw=ep, VFS_CAP_REVISION_2.
        let capability: [UInt8] = [1, 0, 0, 2, 0, 0x20, 0, 0] + [UInt8](repeating: 0, count: 12)
        try layer.unpack {
            $0.pax([
                ("SCHILY.xattr.security.capability", capability), ("SCHILY.xattr.trusted.overlay.redirect", [47]),
                ("SCHILY.xattr.user.note", [0, 255, 10]),
            ])
            $0.add("ping", content: [1], mode: 0o4755, uid: 5, gid: 6)
            $0.pax([("SCHILY.xattr.trusted.overlay.opaque", Array("y".utf8))])
            $0.directory("fake")
        }
        #expect(attribute(layer.path("ping"), "security.capability") == capability)
        #expect(attribute(layer.path("ping"), "trusted.overlay.redirect") == nil)
        #expect(attribute(layer.path("ping"), "user.note") == [0, 255, 10])
        #expect(!layer.isOpaque("fake"))
        let info = status(layer.path("ping"))
        #expect(info?.st_mode == S_IFREG | 0o4755 && info?.st_uid == 5 && info?.st_gid == 6)
    }

    @Test func devicesAndPipesAreMadeInsideTheLayer() throws {
        let layer = UnpackedLayer()
        try layer.unpack {
            $0.add("null", type: "3", mode: 0o666, major: 1, minor: 3)
            $0.add("disk", type: "4", mode: 0o600, major: 8, minor: 1)
            $0.add("pipe", type: "6", mode: 0o640)
        }
        #expect(status(layer.path("null"))?.st_mode == S_IFCHR | 0o666)
        #expect(status(layer.path("null"))?.st_rdev == 0x103)
        #expect(status(layer.path("disk"))?.st_mode == S_IFBLK | 0o600)
        #expect(status(layer.path("pipe"))?.st_mode == S_IFIFO | 0o640)
    }

    @Test func refusesToReplaceTheRoot() {
        let layer = UnpackedLayer()
        #expect(throws: TarError.self) { try layer.unpack { $0.link(".", to: "/tmp") } }
        #expect(throws: TarError.self) { try layer.unpack { $0.add("", content: [1]) } }
    }

    @Test func refusesDamagedStreams() {
        var builder = TarBuilder()
        builder.add("file", content: [UInt8](repeating: 7, count: 2000))
        var flipped = builder.archive
        flipped[3] ^= 1
        var unknown = TarBuilder()
        unknown.add("file", type: "Z")
        var huge = TarBuilder()
        huge.add("file", content: [1, 2, 3], size: 8_000_000_000)
        var zero = TarBuilder()
        zero.pax([("path", Array("a\0b".utf8))])
        zero.add("file")
        var malformed = TarBuilder()
        malformed.add("pax", type: "x", content: Array("99 path=x\n".utf8))
        for bytes in [
            flipped, Array(builder.bytes[..<1000]), unknown.archive, huge.archive, zero.archive, malformed.archive,
            [UInt8](repeating: 65, count: 512),
        ] {
            #expect(throws: TarError.self) { try UnpackedLayer().unpack(bytes) }
        }
        // Without the two zero blocks an archive that ends between entries is whole.
        #expect(throws: Never.self) { try UnpackedLayer().unpack(builder.bytes) }
    }
}

@Suite(.enabled(if: isRoot)) struct LayerLimitTests {
    private func limits(_ change: (inout UnpackLimits) -> Void) -> UnpackLimits {
        var limits = UnpackLimits.standard
        change(&limits)
        return limits
    }

    @Test func entries() throws {
        let few = limits { $0.entries = 10 }
        #expect(throws: TarError.self) {
            try UnpackedLayer().unpack(limits: few) { for index in 0...10 { $0.add("f\(index)") } }
        }
        try UnpackedLayer().unpack(limits: few) { for index in 0..<10 { $0.add("f\(index)") } }
    }

    @Test func depthAndLengthOfPaths() throws {
        let deep = String(repeating: "d/", count: 1025) + "f"
        #expect(throws: TarError.self) {
            try UnpackedLayer().unpack {
                $0.pax([("path", Array(deep.utf8))])
                $0.add("x")
            }
        }
        let long = String(repeating: "0123456789abcde/", count: 256) + "f"
        #expect(throws: TarError.self) {
            try UnpackedLayer().unpack {
                $0.pax([("path", Array(long.utf8))])
                $0.add("x")
            }
        }
        let layer = UnpackedLayer()
        let fine = String(repeating: "d/", count: 900) + "f"
        try layer.unpack {
            $0.pax([("path", Array(fine.utf8))])
            $0.add("x", content: [1])
        }
        // Links reach deeper than any one path; taking it away again must not need a descriptor for each level.
        try layer.unpack {
            $0.link("deep", to: String(fine.dropLast(2)))
            for part in 0..<3 {
                $0.pax([("path", Array(("deep" + String(part) + "/" + fine).utf8))])
                $0.add("x", content: [1])
            }
            $0.add("d", content: [9])
        }
        #expect(try readFile(layer.path("d")) == [9])
    }

    @Test func extendedHeaders() {
        // Before it is read: that the archive ends there is what would be said otherwise.
        for (name, type) in [("pax", "x"), ("name", "L")] as [(String, Character)] {
            #expect {
                try UnpackedLayer().unpack { $0.add(name, type: type, size: 1 << 32) }
            } throws: {
                "\($0)".contains("extended header has 4294967296 bytes; at most")
            }
        }
    }

    @Test func sparseFilesOfExabytes() throws {
        func sparse(_ size: String, _ map: String) -> (inout TarBuilder) -> Void {
            { builder in
                builder.pax([
                    ("GNU.sparse.size", Array(size.utf8)), ("GNU.sparse.numblocks", Array("1".utf8)),
                    ("GNU.sparse.map", Array(map.utf8)),
                ])
                builder.add("s", content: [1, 2, 3])
            }
        }
        #expect(throws: TarError.self) { try UnpackedLayer().unpack(sparse("9000000000000000000", "0,3")) }
        // Before a file of that size is tried on the disk, which may well have them.
        #expect {
            try UnpackedLayer().unpack(sparse("9007199254740992", "0,3"))
        } throws: {
            "\($0)".contains("has a size of 9007199254740992 bytes; at most")
        }
        #expect(throws: TarError.self) { try UnpackedLayer().unpack(sparse("100", "99,3")) }
        #expect(throws: TarError.self) { try UnpackedLayer().unpack(sparse("100", "50,2,10,1")) }
        #expect(throws: TarError.self) { try UnpackedLayer().unpack(sparse("100", "0,4")) }
        let layer = UnpackedLayer()
        try layer.unpack(sparse("1000000000", "4096,2,500000000,1"))
        let info = try #require(status(layer.path("s")))
        #expect(info.st_size == 1_000_000_000 && info.st_blocks < 100)
    }

    @Test func memoryStaysFlatOverManyDirectories() throws {
        // Past what the journal keeps in memory.
        let layer = UnpackedLayer()
        try layer.unpack { builder in
            for index in 0..<8000 {
                let name = "directory-with-a-rather-long-name-\(index)"
                builder.pax([("path", Array((name + String(repeating: "x", count: 150)).utf8))])
                builder.directory(name, mode: 0o701, mtime: 1_500_000_000)
            }
        }
        for index in [0, 4000, 7999] {
            let info = status(
                layer.path("directory-with-a-rather-long-name-\(index)" + String(repeating: "x", count: 150)))
            #expect(info?.st_mode == S_IFDIR | 0o701 && info?.st_mtim.tv_sec == 1_500_000_000)
        }
    }
}
