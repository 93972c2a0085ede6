import Foundation
import PostgresDriver
import Testing

/// A database that nobody listens for: what needs none must not care, what needs one must say that it cannot reach it.
private let nowhere = "postgresql://someone:PASSWORD-IN-URL@127.0.0.1:1/nothing"
private let brokerNowhere = "amqp://someone:PASSWORD-IN-URL@127.0.0.1:1/nothing"
private let masterKey = Data((1...32).map { UInt8($0) }).base64EncodedString()

@Suite struct ExitCodeTests {
    @Test(arguments: [
        ["--help"], ["help"], ["line", "add", "--help"], ["--version"], ["version"], ["version", "--json"],
    ])
    func helpAndVersionEndWell(_ arguments: [String]) async throws {
        let run = try await Program.run(arguments)
        #expect(run.status == 0 && !run.output.isEmpty && run.errors.isEmpty)
    }

    @Test(arguments: [
        ["bogus"], ["line"], ["line", "add"], ["line", "list", "--bogus"], ["migrate", "--shards", "many"],
        [
            "line", "add", "a", "--workspace", "w", "--base-url", "https://x.example", "--token-env", "A",
            "--token-stdin",
        ],
        ["line", "add", "a", "--workspace", "w", "--base-url", "https://x.example", "--token-stdin", "--by-reference"],
        // No flag takes a secret.
        ["line", "add", "a", "--workspace", "w", "--base-url", "https://x.example", "--token", "ezw_line_x"],
        ["line", "list", "--master-key", "x"],
        ["simulate", "ezwhatsapp", "--set", "nothing"], ["simulate", "ezwhatsapp", "--set", "profile=Z"],
        ["worker", "--maximum-calls", "0"],
    ])
    func wrongUseIsTwo(_ arguments: [String]) async throws {
        let run = try await Program.run(arguments)
        // A command with subcommands and nothing else shows its help.
        #expect(run.status == (arguments == ["line"] ? 0 : 2), "\(run.output)\(run.errors)")
    }

    @Test(
        arguments: [
            (["migrate"], [:]),
            (["migrate"], ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_AMQP_URL": "http://x:PASSWORD-IN-URL@y"]),
            (["line", "list"], ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_DATABASE_URL_FILE": "/x"]),
            (["line", "list"], ["TRUNKLINE_DATABASE_URL_FILE": "/does/not/exist"]),
            (["line", "list"], ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_LOG_LEVEL": "loud"]),
            (["line", "list"], ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_LOG_FORMAT": "xml"]),
            (
                ["worker"],
                [
                    "TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_AMQP_URL": brokerNowhere,
                    "TRUNKLINE_MASTER_KEY": "SHORT-KEY",
                ]
            ),
            (
                ["worker"],
                [
                    "TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_AMQP_URL": brokerNowhere,
                    "TRUNKLINE_METRICS_LISTEN": "9464",
                ]
            ),
            (["line", "list", "--config", "/does/not/exist"], ["TRUNKLINE_DATABASE_URL": nowhere]),
        ] as [([String], [String: String])]
    )
    func anUnusableConfigurationIsTwoAndASentence(_ arguments: [String], _ environment: [String: String]) async throws {
        let run = try await Program.run(arguments, environment: environment)
        #expect(run.status == 2, "\(run.errors)")
        #expect(run.errors.hasPrefix("trunkline: ") && run.errors.split(separator: "\n").count == 1)
        for secret in ["PASSWORD-IN-URL", "SHORT-KEY"] { #expect(!(run.errors + run.output).contains(secret)) }
    }

    @Test(arguments: [["migrate"], ["line", "list"], ["topology", "check"], ["topology", "apply"]])
    func whatIsNotThereIsFour(_ arguments: [String]) async throws {
        let run = try await Program.run(
            arguments,
            environment: ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_AMQP_URL": brokerNowhere]
        )
        #expect(run.status == 4, "\(run.errors)")
        #expect(!run.errors.contains("PASSWORD-IN-URL"))
    }

    @Test func aPasswordOnTheCommandLineIsRefused() async throws {
        for (flag, url) in [
            ("--database-url", nowhere), ("--amqp-url", brokerNowhere),
            ("--database-url", "host=x password=PASSWORD-IN-URL"),
        ] {
            let run = try await Program.run(["line", "list", flag, url])
            #expect(run.status == 2 && run.errors.contains(flag) && !run.errors.contains("PASSWORD-IN-URL"))
        }
    }

    @Test(
        arguments: [
            (
                ["line", "list"], "PostgreSQL is named by a flag",
                ["--database-url", "postgresql://someone@127.0.0.1:1/x"]
            ),
            (["line", "list"], "PostgreSQL is named by the file", []),
        ] as [([String], String, [String])]
    )
    func flagsCountBeforeEnvironmentBeforeFile(_ arguments: [String], _ what: String, _ flags: [String]) async throws {
        try await Program.withFolder { folder in
            try Data("databaseURL: postgresql://someone@127.0.0.1:1/x\nlogLevel: debug\n".utf8)
                .write(to: folder.appending(path: "trunkline.yaml"))
            // With the environment's value this would be a usage error.
            let environment = flags.isEmpty ? [:] : ["TRUNKLINE_DATABASE_URL_FILE": "/does/not/exist"]
            let run = try await Program.run(arguments + flags, environment: environment, folder: folder)
            #expect(run.status == 4, "\(what): \(run.errors)")
            let refused = try await Program.run(
                arguments,
                environment: ["TRUNKLINE_DATABASE_URL_FILE": "/does/not/exist"],
                folder: folder
            )
            #expect(refused.status == 2)
        }
    }

    @Test(arguments: [
        "databaseURL: [a]", "databseURL: SECRET-IN-FILE", "a: b: SECRET-IN-FILE", "- x",
        "databaseURL: SECRET-IN-FILE\ndatabaseURL: y",
    ])
    func aBadConfigurationFileIsASentenceWithoutItsContents(_ text: String) async throws {
        try await Program.withFolder { folder in
            try Data(text.utf8).write(to: folder.appending(path: "trunkline.yaml"))
            let run = try await Program.run(["line", "list"], folder: folder)
            #expect(
                run.status == 2 && run.errors.contains("trunkline.yaml") && !run.errors.contains("SECRET-IN-FILE"),
                "\(run.errors)"
            )
        }
    }
}

@Suite struct LineCommandTests {
    private static let token = "ezw_line_TOPSECRET_wxyz"

    private static func withInstall<R>(_ body: ([String: String]) async throws -> R) async throws -> R {
        let administrator = try Program.variable("TRUNKLINE_TEST_DATABASE_URL")
        let name = "test_" + Program.random()
        guard let slash = administrator.lastIndex(of: "/") else {
            throw Program.Missing(description: "no database in the URL")
        }
        try await PostgresSession.withSession(url: administrator, applicationName: "tests") {
            try await $0.script("create database \(name)")
        }
        let result: Result<R, any Error>
        do {
            let environment = [
                "TRUNKLINE_DATABASE_URL": administrator[..<slash] + "/" + name,
                "TRUNKLINE_MASTER_KEY": masterKey, "EZW_TOKEN": token,
            ]
            let run = try await Program.run(["migrate", "--shards", "4"], environment: environment)
            #expect(run.status == 0, "\(run.errors)")
            result = .success(try await body(environment))
        } catch {
            result = .failure(error)
        }
        try await PostgresSession.withSession(url: administrator, applicationName: "tests") {
            try await $0.script("drop database \(name) with (force)")
        }
        return try result.get()
    }

    private static let add = ["line", "add", "il", "--workspace", "acme", "--base-url", "http://127.0.0.1:1/api/v1"]

    @Test func theWholeLifeOfALine() async throws {
        try await Self.withInstall { environment in
            var all = ""
            func run(_ arguments: [String], _ status: Int32, input: String? = nil) async throws -> String {
                let run = try await Program.run(arguments, environment: environment, input: input)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                all += run.output + run.errors
                return run.output + run.errors
            }
            #expect(try await run(["line", "list"], 0).contains("no lines"))
            _ = try await run(Self.add + ["--token-env", "EZW_TOKEN"], 0)
            #expect(try await run(Self.add + ["--token-env", "EZW_TOKEN"], 3).contains("exists"))
            #expect(try await run(["line", "list"], 0).contains("wxyz"))
            _ = try await run(["line", "hold", "il", "--reason", "new phone", "--until", "1h"], 0)
            #expect(try await run(["line", "show", "il"], 0).contains("new phone"))
            _ = try await run(["line", "hold", "il", "--reason", "x", "--until", "2001-01-01T00:00:00Z"], 3)
            _ = try await run(["line", "hold", "il", "--reason", "x", "--until", "tomorrow"], 2)
            _ = try await run(["line", "resume", "il"], 0)
            #expect(
                try await run(["line", "set", "il", "--pace", "unlimited"], 0).contains(
                    "unlimited, 16 at once, 0 per person"
                )
            )
            #expect(
                try await run(["line", "set", "il", "--pace", "20/min"], 0).contains("1/3s, 1 at once, 10s per person")
            )
            _ = try await run(["line", "set", "il"], 2)
            _ = try await run(["line", "set", "il", "--pace", "often"], 3)
            // Nobody listens there: no answer about the line.
            #expect(try await run(["line", "preflight", "il"], 1).contains("no answer"))
            _ = try await run(["line", "set", "il", "--token-stdin"], 0, input: "ezw_line_OTHERSECRET_9876\n")
            let shown = try await run(["line", "show", "il", "--json"], 0)
            let document = try #require(try JSONSerialization.jsonObject(with: Data(shown.utf8)) as? [String: Any])
            #expect(document["tokenHint"] as? String == "…9876" && document["workspace"] as? String == "acme")
            _ = try await run(["line", "remove", "il"], 0)
            _ = try await run(["line", "show", "nobody"], 3)
            #expect(!all.contains("SECRET") && !all.contains(masterKey))
        }
    }

    @Test func aTokenNeedsTheMasterKeyUnlessItIsAReference() async throws {
        try await Self.withInstall { environment in
            var without = environment
            without["TRUNKLINE_MASTER_KEY"] = nil
            let refused = try await Program.run(Self.add + ["--token-env", "EZW_TOKEN"], environment: without)
            #expect(refused.status == 2 && refused.errors.contains("TRUNKLINE_MASTER_KEY"))
            let missing = try await Program.run(Self.add + ["--token-env", "NOT_THERE"], environment: environment)
            #expect(missing.status == 2 && missing.errors.contains("NOT_THERE"))
            let reference = try await Program.run(
                Self.add + ["--token-env", "EZW_TOKEN", "--by-reference"],
                environment: without
            )
            #expect(reference.status == 0, "\(reference.errors)")
            let shown = try await Program.run(["line", "show", "il"], environment: without)
            #expect(
                shown.output.contains("env:EZW_TOKEN") && shown.output.contains("wxyz")
                    && !shown.output.contains("SECRET")
            )
        }
    }

    /// Everybody on a machine can read `/proc/PID/cmdline`, and everybody with the account `/proc/PID/environ`.
    @Test func aTokenFromStandardInputIsNowhereToBeSeen() async throws {
        try await Self.withInstall { environment in
            var own = environment
            own["EZW_TOKEN"] = nil
            var seen = ""
            let run = try await Program.run(
                Self.add + ["--token-stdin"],
                environment: own,
                input: Self.token + "\n"
            ) { pid in
                // It waits for its standard input, which nobody has written yet. A moment passes until it is the program.
                let deadline = ContinuousClock.now + .seconds(10)
                while FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")?.isEmpty ?? true {
                    guard ContinuousClock.now < deadline else { break }
                    try await Task.sleep(for: .milliseconds(5))
                }
                for file in ["cmdline", "environ"] {
                    let data = FileManager.default.contents(atPath: "/proc/\(pid)/\(file)") ?? Data()
                    seen += String(decoding: data, as: UTF8.self)
                }
            }
            #expect(run.status == 0, "\(run.errors)")
            #expect(seen.contains("--token-stdin"), "the process was looked at")
            #expect(!seen.contains("TOPSECRET") && !(run.output + run.errors).contains("TOPSECRET"))
        }
    }

    @Test func aDryRunPrintsTheSQLAndChangesNothing() async throws {
        let administrator = try Program.variable("TRUNKLINE_TEST_DATABASE_URL")
        let name = "test_" + Program.random()
        guard let slash = administrator.lastIndex(of: "/") else {
            throw Program.Missing(description: "no database in the URL")
        }
        try await PostgresSession.withSession(url: administrator, applicationName: "tests") {
            try await $0.script("create database \(name)")
        }
        let environment = ["TRUNKLINE_DATABASE_URL": administrator[..<slash] + "/" + name]
        let dry = try await Program.run(["migrate", "--dry-run"], environment: environment)
        let after = try await Program.run(["line", "list"], environment: environment)
        try await PostgresSession.withSession(url: administrator, applicationName: "tests") {
            try await $0.script("drop database \(name) with (force)")
        }
        #expect(dry.status == 0 && dry.output.contains("create table trunkline.jobs"))
        #expect(after.status == 3 && after.errors.contains("run 'trunkline migrate'"))
    }
}
