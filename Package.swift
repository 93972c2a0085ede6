// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "trunkline",
    products: [
        .executable(name: "trunkline", targets: ["trunkline"]),
        .library(name: "TrunklineClient", targets: ["TrunklineClient"]),
    ],
    traits: [
        .trait(
            name: "Faults",
            description:
                "Crash points (TRUNKLINE_CRASH_AT) and switches that turn single mechanisms off. For tests only."
        )
    ],
    // What was built and tested, to the number; a range only for what the client library brings into other packages.
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", .upToNextMinor(from: "1.6.0")),
        .package(url: "https://github.com/apple/swift-crypto", .upToNextMinor(from: "4.5.2")),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", exact: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
    ],
    targets: [
        // One C module for every system header: a C type belongs to whichever clang module includes its header first.
        .target(
            name: "CPlatform",
            cSettings: [.define("_GNU_SOURCE")]
        ),
        .target(
            name: "CPhoneNumber",
            linkerSettings: [.linkedLibrary("phonenumber")]
        ),
        .target(
            name: "EventLoop",
            dependencies: [
                "CPlatform",
                .product(name: "HeapModule", package: "swift-collections"),
            ]
        ),
        .target(
            name: "RabbitDriver",
            dependencies: ["CPlatform", "EventLoop"],
            linkerSettings: [.linkedLibrary("rabbitmq")]
        ),
        .target(
            name: "PostgresDriver",
            dependencies: [
                "CPlatform", "EventLoop",
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            linkerSettings: [.linkedLibrary("pq")]
        ),
        .target(
            name: "CurlDriver",
            dependencies: ["CPlatform", "EventLoop"],
            linkerSettings: [.linkedLibrary("curl")]
        ),
        .target(
            name: "TrunklineCore",
            dependencies: [
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ]
        ),
        .target(
            name: "TrunklinePhones",
            dependencies: ["TrunklineCore", "CPhoneNumber"]
        ),
        .target(
            name: "TrunklineIntegrations",
            dependencies: ["TrunklineCore", "TrunklinePhones"]
        ),
        // Rules and templates: what happened becomes notices. No I/O and no clock.
        .target(
            name: "TrunklinePlanning",
            dependencies: [
                "TrunklineCore", "TrunklinePhones",
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .target(
            name: "TrunklineEngine",
            dependencies: [
                "CPlatform", "TrunklineCore", "TrunklinePhones", "EventLoop", "RabbitDriver", "PostgresDriver",
                "CurlDriver",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "Yams", package: "Yams"),
            ],
            plugins: ["EmbedMigrations"]
        ),
        // The SQL travels inside the program, so that any working directory and a container without the tree will do.
        .plugin(name: "EmbedMigrations", capability: .buildTool(), dependencies: ["EmbedMigrationsTool"]),
        .executableTarget(name: "EmbedMigrationsTool", path: "Plugins/EmbedMigrationsTool"),
        .target(
            name: "TrunklineClient",
            dependencies: ["TrunklineCore", "RabbitDriver"]
        ),
        // What every HTTP server of ours needs of Hummingbird's.
        .target(
            name: "HTTPServing",
            dependencies: [
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),
        .target(
            name: "TrunklineGateway",
            dependencies: [
                "HTTPServing", "TrunklineCore", "TrunklineEngine", "TrunklinePhones",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .target(
            name: "TrunklineSimulator",
            dependencies: [
                "HTTPServing",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        // The ledger in memory: under simulated workers, and beside PostgreSQL in the conformance suite.
        .target(
            name: "TrunklineLedgerModel",
            dependencies: [
                "PostgresDriver", "TestKit", "TrunklineCore", "TrunklineEngine",
                .product(name: "Crypto", package: "swift-crypto"),
            ]
        ),
        // What tests of every module need: below the drivers, knows nothing of the product.
        .target(
            name: "TestKit",
            dependencies: ["CPlatform", "EventLoop"],
            linkerSettings: [.linkedLibrary("pq")]
        ),
        .target(
            name: "TrunklineTesting",
            dependencies: [
                "CPlatform", "PostgresDriver", "RabbitDriver", "TestKit", "TrunklineChaos", "TrunklineCore",
                "TrunklineEngine", "TrunklineIntegrations", "TrunklineSimulator",
            ]
        ),
        // The proof: drives the built program from outside, and knows nothing of the engine that it judges.
        .target(
            name: "TrunklineChaos",
            dependencies: ["CPlatform", "EventLoop", "RabbitDriver", "PostgresDriver", "TestKit"],
            // Run as it lies there.
            exclude: ["Foreign/producer.py", "Bench/gateway.lua", "Bench/webhooks.py"]
        ),
        // What `./dev` hands over to. Small, because everything waits for it.
        .target(name: "TrunklineDev", dependencies: ["EventLoop", "TestKit"]),
        .executableTarget(
            name: "trunkline-dev",
            dependencies: [
                "EventLoop", "TestKit", "TrunklineChaos", "TrunklineDev",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]
        ),
        .executableTarget(
            name: "trunkline",
            dependencies: [
                "CPlatform", "TrunklineCore", "TrunklinePhones", "TrunklineIntegrations", "TrunklinePlanning",
                "TrunklineEngine", "TrunklineGateway", "TrunklineSimulator", "EventLoop",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .testTarget(name: "EventLoopTests", dependencies: ["EventLoop"]),
        .testTarget(name: "TestKitTests", dependencies: ["TestKit"]),
        .testTarget(name: "RabbitDriverTests", dependencies: ["RabbitDriver", "EventLoop", "TestKit"]),
        .testTarget(name: "PostgresDriverTests", dependencies: ["PostgresDriver", "EventLoop", "TestKit"]),
        .testTarget(name: "CurlDriverTests", dependencies: ["CurlDriver", "EventLoop", "CPlatform", "TestKit"]),
        .testTarget(name: "TrunklineCoreTests", dependencies: ["TrunklineCore", "TestKit"]),
        .testTarget(
            name: "TrunklineIntegrationsTests",
            dependencies: ["TrunklineIntegrations", "TrunklinePhones", "TrunklineCore", "TrunklineTesting"]
        ),
        .testTarget(
            name: "TrunklinePlanningTests",
            dependencies: ["TrunklinePlanning", "TrunklineIntegrations", "TrunklineCore", "TestKit"]
        ),
        .testTarget(
            name: "TrunklineEngineTests",
            dependencies: [
                "TrunklineEngine", "TrunklineIntegrations", "TrunklineCore", "TrunklineLedgerModel", "PostgresDriver",
                "RabbitDriver", "CurlDriver", "EventLoop", "TestKit",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        // The tests start the built program.
        .testTarget(name: "TrunklineCommandTests", dependencies: ["PostgresDriver", "TestKit", "trunkline"]),
        .testTarget(
            name: "TrunklineClientTests",
            dependencies: ["TrunklineClient", "TrunklineCore", "RabbitDriver", "EventLoop", "TestKit"]
        ),
        // The tests start the built program.
        .testTarget(
            name: "TrunklineGatewayTests",
            dependencies: [
                "TrunklineGateway", "TrunklineTesting", "TrunklineCore", "TrunklineEngine", "TrunklineIntegrations",
                "TrunklineSimulator", "PostgresDriver", "TestKit", "trunkline",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        // A worker with a carrier that the program does not have.
        .executableTarget(
            name: "notebook-worker",
            dependencies: [
                "TrunklineCore", "TrunklineEngine", "TrunklineTesting",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/NotebookWorker"
        ),
        .testTarget(
            name: "TrunklineWorkerTests",
            dependencies: [
                "TrunklineTesting", "TrunklineCore", "TrunklineIntegrations", "TrunklineSimulator", "TrunklineChaos",
                "EventLoop", "PostgresDriver", "TestKit",
                // The tests start the built programs.
                "trunkline", "notebook-worker",
            ]
        ),
        .testTarget(
            name: "TrunklineChaosTests",
            // The tests start the built program.
            dependencies: ["TrunklineChaos", "TestKit", "trunkline"]
        ),
        .testTarget(
            name: "TrunklineSimulatorTests",
            dependencies: [
                "TrunklineSimulator", "TestKit",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),
        // The tests start the built program.
        .testTarget(name: "TrunklineDevTests", dependencies: ["TestKit", "TrunklineDev", "trunkline-dev"]),
        // Workers as they are, in a world of one seed.
        .testTarget(
            name: "TrunklineSimulationTests",
            dependencies: [
                "TrunklineEngine", "TrunklineLedgerModel", "TrunklineIntegrations", "TrunklineCore", "PostgresDriver",
                "RabbitDriver", "CurlDriver", "TestKit",
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
    ],
    swiftLanguageModes: [.v6]
)

let cTargets: Set<String> = ["CPlatform", "CPhoneNumber"]
// Where Swift meets C, or bytes by address: every unsafe expression is marked, and the unmarked ones are errors.
// docs/decisions/0017-strict-memory-safety.md says which targets are not here, and why.
let strictTargets: Set<String> = [
    "CurlDriver", "EventLoop", "PostgresDriver", "RabbitDriver", "TrunklineClient", "TrunklineCore", "TrunklinePhones",
]
for target in package.targets where target.type != .plugin && !cTargets.contains(target.name) {
    target.swiftSettings =
        (target.swiftSettings ?? []) + [
            // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
            .enableUpcomingFeature("ExistentialAny"),
            // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
            .enableUpcomingFeature("MemberImportVisibility"),
            // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
            .enableUpcomingFeature("InternalImportsByDefault"),
            // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0461-async-function-isolation.md
            .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
            .treatAllWarnings(as: .error),
        ]
    if strictTargets.contains(target.name) {
        // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0458-strict-memory-safety.md
        target.swiftSettings?.append(.strictMemorySafety())
    }
}
