import Foundation
import TestKit
import Testing

/// A database that nobody listens for: what needs none must not care, what needs one must say that it cannot reach it.
private let nowhere = "postgresql://someone:PASSWORD-IN-URL@127.0.0.1:\(refusingPort)/nothing"
private let brokerNowhere = "amqp://someone:PASSWORD-IN-URL@127.0.0.1:\(refusingPort)/nothing"

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
        ["parked", "replay"], ["parked", "discard", "5", "--all"], ["parked", "resolve", "5"],
        ["refusals", "replay"], ["refusals", "replay", "--kind", "nothing"],
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
            (["retain"], ["TRUNKLINE_DATABASE_URL": nowhere]),
            (["retain", "--finished", "soon"], ["TRUNKLINE_DATABASE_URL": nowhere]),
            (["worker"], ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_RETAIN_FINISHED": "90"]),
        ] as [([String], [String: String])]
    )
    func anUnusableConfigurationIsTwoAndASentence(_ arguments: [String], _ environment: [String: String]) async throws {
        let run = try await Program.run(arguments, environment: environment)
        #expect(run.status == 2, "\(run.errors)")
        #expect(run.errors.hasPrefix("trunkline: ") && run.errors.split(separator: "\n").count == 1)
        for secret in ["PASSWORD-IN-URL", "SHORT-KEY"] { #expect(!(run.errors + run.output).contains(secret)) }
    }

    @Test(arguments: [["migrate"], ["line", "list"], ["topology", "check"], ["topology", "apply"], ["rehydrate"]])
    func whatIsNotThereIsFour(_ arguments: [String]) async throws {
        let run = try await Program.run(
            arguments,
            environment: ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_AMQP_URL": brokerNowhere]
        )
        #expect(run.status == 4, "\(run.errors)")
        #expect(!run.errors.contains("PASSWORD-IN-URL"))
    }

    /// What is not there is its finding, not its failure: it goes on and looks at the rest.
    @Test func doctorNamesWhatIsNotThere() async throws {
        let environment = ["TRUNKLINE_DATABASE_URL": nowhere, "TRUNKLINE_AMQP_URL": brokerNowhere]
        let run = try await Program.run(["doctor"], environment: environment)
        #expect(run.status == 1, "\(run.errors)")
        #expect(run.output.contains("FAILED  database: ") && run.output.contains("FAILED  broker: "))
        #expect(run.output.contains("What to do: "))
        let document = try await Program.run(["doctor", "--json"], environment: environment)
        #expect(document.status == 1)
        let json = try #require(
            try JSONSerialization.jsonObject(with: Data(document.output.utf8)) as? [String: Any]
        )
        let checks = try #require(json["checks"] as? [[String: Any]])
        #expect(json["failed"] as? Int == 2 && checks.count { $0["verdict"] as? String == "failed" } == 2)
        #expect(!(run.output + document.output).contains("PASSWORD-IN-URL"))
    }

    @Test func aPasswordOnTheCommandLineIsRefused() async throws {
        for (flag, url) in [
            ("--database-url", nowhere), ("--amqp-url", brokerNowhere),
            ("--database-url", "host=x password=PASSWORD-IN-URL"),
            ("--database-url", "host=x password = PASSWORD-IN-URL"),
            ("--database-url", "postgresql://x/d?pass%77ord=PASSWORD-IN-URL"),
            ("--database-url", "postgresql://u:PASSWORD-IN-URL@x/d?unknown=1"),
            ("--amqp-url", "amqp://u:PASSWORD-IN-URL/with-slash@x"),
        ] {
            let run = try await Program.run(["line", "list", flag, url])
            #expect(run.status == 2 && run.errors.contains(flag) && !run.errors.contains("PASSWORD-IN-URL"))
        }
    }

    @Test(
        arguments: [
            (
                ["line", "list"], "PostgreSQL is named by a flag",
                ["--database-url", "postgresql://someone@127.0.0.1:\(refusingPort)/x"]
            ),
            (["line", "list"], "PostgreSQL is named by the file", []),
        ] as [([String], String, [String])]
    )
    func flagsCountBeforeEnvironmentBeforeFile(_ arguments: [String], _ what: String, _ flags: [String]) async throws {
        try await Program.withFolder { folder in
            try Data("databaseURL: postgresql://someone@127.0.0.1:\(refusingPort)/x\nlogLevel: debug\n".utf8)
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
