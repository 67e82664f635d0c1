// swift-tools-version:6.1
import PackageDescription

// What a fully static executable links besides the Swift runtime. SwiftPM does not work these out by itself
// when Foundation Essentials is linked statically on Linux.
let staticFoundation = [
    "CoreFoundation", "_FoundationCShims", "_FoundationCollections", "_FoundationICU",
    "FoundationInternationalization", "FoundationEssentials", "swiftSynchronization", "Foundation",
]
let staticExecutable: [LinkerSetting] =
    [.unsafeFlags(["-static-executable"])] + staticFoundation.map { .linkedLibrary($0) }

/// Relocations packed (RELR, which glibc knows since 2.36), functions of the same instructions folded, no symbols for others
/// to link with: pages that a running daemon would otherwise have in memory.
let compact: [LinkerSetting] = [
    .unsafeFlags(
        ["-use-ld=lld"]
            + ["--icf=safe", "-z", "pack-relative-relocs", "--no-export-dynamic"].flatMap { ["-Xlinker", $0] },
        .when(configuration: .release))
]

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .unsafeFlags(["-warnings-as-errors"]),
]

let package = Package(
    name: "mycontainer",
    products: [
        .executable(name: "mycontainer", targets: ["mycontainer"]),
        .executable(name: "mycontainerd", targets: ["mycontainerd"]),
        .executable(name: "mycontainer-runtime", targets: ["mycontainer-runtime"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    ],
    targets: [
        // C: only what Swift cannot express, and module maps of system libraries.
        .target(name: "CLinux", path: "Sources/CLinux"),
        .target(name: "CReexec", path: "Sources/CReexec"),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CCap", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CBzip2", providers: [.apt(["libbz2-dev"])]),
        .systemLibrary(name: "CLzma", providers: [.apt(["liblzma-dev"])]),
        .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CNetfilter"),
        .systemLibrary(name: "CCrypto", providers: [.apt(["libssl-dev"])]),

        // Libraries, lowest first; arrows point down only.
        .target(name: "OCI", swiftSettings: strict),
        .target(name: "LinuxKernel", dependencies: ["CLinux", "CSeccomp", "CCap", "OCI"], swiftSettings: strict),
        .target(name: "ContainerLog", dependencies: ["LinuxKernel", "OCI"], swiftSettings: strict),
        .target(name: "MonitorProtocol", dependencies: ["OCI", "LinuxKernel", "ContainerLog"], swiftSettings: strict),
        .target(
            name: "Runtime", dependencies: ["LinuxKernel", "OCI", "MonitorProtocol", "ContainerLog"],
            swiftSettings: strict),
        .target(name: "Database", dependencies: ["CSQLite"], swiftSettings: strict),
        .target(
            name: "ImageStore",
            dependencies: ["CLinux", "Database", "LinuxKernel", "OCI", "CZstd", "CISAL", "CBzip2", "CLzma", "CCrypto"],
            swiftSettings: strict),
        .target(
            name: "Networking",
            dependencies: [
                "LinuxKernel", "CLinux", "CNetfilter",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ], swiftSettings: strict),
        .target(name: "EngineAPI", dependencies: ["OCI"], swiftSettings: strict),
        .target(
            name: "Engine",
            dependencies: [
                "EngineAPI", "ImageStore", "Networking", "Database", "MonitorProtocol", "ContainerLog", "LinuxKernel",
                "OCI", "CLinux",
            ],
            swiftSettings: strict),
        .target(
            name: "APIServer",
            dependencies: [
                "Engine", "EngineAPI", "LinuxKernel", "OCI",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
            ], swiftSettings: strict),
        .target(
            name: "Commands",
            dependencies: [
                "CLinux", "EngineAPI", "LinuxKernel", "OCI",
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ], swiftSettings: strict),

        .target(name: "ThreadSupport", path: "Tests/ThreadSupport", swiftSettings: strict),
        .testTarget(
            name: "LinuxKernelTests", dependencies: ["CLinux", "LinuxKernel", "OCI", "ThreadSupport"],
            exclude: ["seccomp-probe.c", "docker-refuses.txt"],
            swiftSettings: strict),
        .testTarget(
            name: "RuntimeTests",
            dependencies: [
                "CLinux", "CTestSupport", "Runtime", "LinuxKernel", "MonitorProtocol", "OCI", "ThreadSupport",
            ],
            swiftSettings: strict),
        .testTarget(name: "MonitorProtocolTests", dependencies: ["MonitorProtocol"], swiftSettings: strict),
        // Drives the built runtime; builds it too.
        .testTarget(
            name: "MonitorTests",
            dependencies: ["MonitorProtocol", "ContainerLog", "OCI", "LinuxKernel", "ThreadSupport"],
            swiftSettings: strict),
        .testTarget(name: "ContainerLogTests", dependencies: ["ContainerLog", "OCI"], swiftSettings: strict),
        .testTarget(name: "OCITests", dependencies: ["OCI"], swiftSettings: strict),
        .testTarget(name: "DatabaseTests", dependencies: ["Database"], swiftSettings: strict),
        .testTarget(
            name: "ImageStoreTests", dependencies: ["CLinux", "Database", "ImageStore", "LinuxKernel", "OCI"],
            swiftSettings: strict),
        .testTarget(
            name: "NetworkingTests",
            dependencies: [
                "CLinux", "Networking", "LinuxKernel", "ThreadSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(name: "EngineAPITests", dependencies: ["EngineAPI", "OCI"], swiftSettings: strict),
        .testTarget(
            name: "APIServerTests", dependencies: ["APIServer", "Engine", "EngineAPI", "LinuxKernel"],
            swiftSettings: strict),
        .testTarget(
            name: "EngineTests",
            dependencies: ["Engine", "EngineAPI", "Database", "LinuxKernel", "MonitorProtocol", "Networking", "OCI"],
            swiftSettings: strict),

        // Programs: a thin main each.
        .executableTarget(
            name: "mycontainer", dependencies: ["Commands"], swiftSettings: strict,
            linkerSettings: staticExecutable),
        .executableTarget(
            name: "mycontainerd",
            dependencies: [
                "APIServer", "CLinux", "Engine", "EngineAPI", "LinuxKernel", "OCI",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict, linkerSettings: compact),
        .executableTarget(
            name: "mycontainer-runtime", dependencies: ["Runtime", "CReexec"], swiftSettings: strict,
            linkerSettings: staticExecutable),

        // Drives the built programs as a user does; `make test-integration` says where they are.
        .target(name: "CTestSupport", path: "Tests/CTestSupport"),
        .testTarget(name: "IntegrationTests", dependencies: ["CTestSupport"], swiftSettings: strict),
        .testTarget(name: "CommandsTests", dependencies: ["Commands", "EngineAPI"], swiftSettings: strict),
    ]
)

// scripts/fuzz alone builds it, with the sanitizers that it needs, in a folder of its own.
if Context.environment["MYCONTAINER_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "APIServer", "Commands", "ContainerLog", "Engine", "EngineAPI", "ImageStore", "LinuxKernel",
                "MonitorProtocol", "Networking", "OCI", "Runtime",
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Tests/Fuzz", exclude: ["Seeds"], swiftSettings: strict))
}
