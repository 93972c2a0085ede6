import Foundation
import Glibc
import PostgresDriver
import TestKit
import Testing

private let brokerNowhere = "amqp://someone:PASSWORD-IN-URL@127.0.0.1:\(refusingPort)/nothing"
private let masterKey = Program.masterKey

@Suite struct LineCommandTests {
    private static let token = "ezw_line_TOPSECRET_wxyz"

    private static func withInstall<R>(_ body: ([String: String]) async throws -> R) async throws -> R {
        try await TestDatabase.with { url in
            let environment = [
                "TRUNKLINE_DATABASE_URL": url, "TRUNKLINE_MASTER_KEY": masterKey, "EZW_TOKEN": token,
            ]
            let run = try await Program.run(["migrate", "--shards", "4"], environment: environment)
            #expect(run.status == 0, "\(run.errors)")
            return try await body(environment)
        }
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

    @Test func aLineHasADailyCap() async throws {
        try await Self.withInstall { environment in
            func run(_ arguments: [String], _ status: Int32) async throws -> String {
                let run = try await Program.run(arguments, environment: environment)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                return run.output + run.errors
            }
            let add = Self.add + ["--token-env", "EZW_TOKEN", "--daily-cap", "500", "--time-zone"]
            #expect(try await run(add + ["Asia/Nowhere"], 3).contains("no such time zone"))
            #expect(try await run(add + ["Asia/Jerusalem"], 0).contains("500 a day of Asia/Jerusalem"))
            #expect(try await run(["line", "list"], 0).contains("500 (Asia/Jerusalem)"))
            #expect(try await run(["line", "show", "il"], 0).contains("500 a day of Asia/Jerusalem, 0 used today"))
            #expect(try await run(["status"], 0).contains("0 (0 of 500)"))
            let shown = try await run(["line", "show", "il", "--json"], 0)
            let document = try #require(try JSONSerialization.jsonObject(with: Data(shown.utf8)) as? [String: Any])
            #expect(document["dailyCap"] as? Int == 500 && document["timeZone"] as? String == "Asia/Jerusalem")
            for cap in ["0", "1000001", "many"] {
                #expect(try await run(["line", "set", "il", "--daily-cap", cap], 3).contains("1 to 1000000"))
            }
            #expect(try await !run(["line", "set", "il", "--daily-cap", "none"], 0).contains("a day"))
            #expect(try await run(["line", "show", "il"], 0).contains("daily cap   none"))
        }
    }

    /// A server that answers every request with the same.
    private static func withAPI<R>(_ answer: String, _ body: (String) async throws -> R) async throws -> R {
        let server = RawServer { connection in
            if connection.readRequest() != nil { connection.write(answer) }
        }
        let result: Result<R, any Error>
        do { result = .success(try await body("http://127.0.0.1:\(server.port)")) } catch { result = .failure(error) }
        await offPool { server.stop() }
        return try result.get()
    }

    private static func answer(_ status: String, _ body: String = "{}", _ header: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\(header)Connection: close\r\n\r\n"
            + body
    }

    private static func health(_ sendable: Bool, _ state: String) -> String {
        answer(
            "200 OK",
            #"{"health":{"status":{"code":4,"text":"AUTH"}},"line":{"lifecycleState":"\#(state)","effectiveSendState":"\#(state)","sendable":\#(sendable)}}"#
        )
    }

    /// The line is stored whatever its API says, and what it says is told with the likely mend.
    @Test(
        arguments: [
            (answer("404 Not Found"), "", "try --base-url"),
            (answer("404 Not Found"), "/api/v1", "look at the base URL"),
            (answer("401 Unauthorized"), "/api/v1", "is it this line's token"),
            (answer("403 Forbidden"), "/api/v1", "look at the line and its account"),
            (
                answer("302 Found", "{}", "Location: https://elsewhere.example\r\n"), "/api/v1",
                "redirects are never followed"
            ),
            (answer("503 Service Unavailable"), "/api/v1", "workers ask again"),
            (answer("200 OK", "<html>"), "", "is this the Channel API?"),
            ("SSH-2.0-OpenSSH\r\n", "/api/v1", "does not speak HTTP"),
            (health(false, "qr_required"), "/api/v1", "linked again"),
            (health(false, "connecting"), "/api/v1", "by itself"),
        ] as [(String, String, String)]
    )
    func aLineThatIsWrongFromTheStartSaysSo(_ answer: String, _ path: String, _ mend: String) async throws {
        try await Self.withInstall { environment in
            try await Self.withAPI(answer) { origin in
                let add = [
                    "line", "add", "il", "--workspace", "acme", "--base-url", origin + path, "--token-env", "EZW_TOKEN",
                ]
                let run = try await Program.run(add, environment: environment)
                #expect(run.status == 0 && run.output.hasPrefix("added line il"), "\(run.errors)")
                #expect(run.errors.contains("warning: line il is stored") && run.errors.contains(mend), "\(run.errors)")
                #expect(!(run.output + run.errors).contains("TOPSECRET"))
                let pace = try await Program.run(["line", "set", "il", "--pace", "20/min"], environment: environment)
                #expect(pace.status == 0 && pace.errors.isEmpty, "what says nothing about the address asks nothing")
                let set = ["line", "set", "il", "--base-url", origin + path, "--token-env", "EZW_TOKEN"]
                let changed = try await Program.run(set + ["--json"], environment: environment)
                #expect(changed.status == 0 && changed.errors.contains(mend), "\(changed.errors)")
                #expect(changed.output.contains("\"sendable\" : false"), "\(changed.output)")
                let unasked = try await Program.run(set + ["--no-check"], environment: environment)
                #expect(unasked.status == 0 && unasked.errors.isEmpty)
            }
        }
    }

    @Test func aLineThatIsRightSaysSoToo() async throws {
        try await Self.withInstall { environment in
            try await Self.withAPI(Self.health(true, "sendable")) { origin in
                let run = try await Program.run(
                    [
                        "line", "add", "il", "--workspace", "acme", "--base-url", origin + "/api/v1", "--token-env",
                        "EZW_TOKEN",
                    ],
                    environment: environment
                )
                #expect(run.status == 0 && run.errors.isEmpty && run.output.contains("its API answers: sendable"))
            }
            // Where no worker's variables are, a reference cannot be looked behind.
            let reference = try await Program.run(
                ["line", "set", "il", "--token-env", "NOT_HERE", "--by-reference"],
                environment: environment
            )
            #expect(
                reference.status == 0 && reference.errors.contains("its health was not asked"),
                "\(reference.errors)"
            )
        }
    }

    /// Whatever a file or a stored row holds, nothing of it steers the terminal.
    @Test func foreignWordsDoNotReachTheTerminalAsTheyAre() async throws {
        try await Self.withInstall { environment in
            _ = try await Program.run(Self.add + ["--token-env", "EZW_TOKEN", "--no-check"], environment: environment)
            let harmful = "\u{1B}]0;owned\u{07}\u{9B}31m\u{202E}\u{2066}\u{2028}"
            try await Program.withFolder { folder in
                let map = folder.appending(path: "map.yaml")
                try Data("line: il\nkey: a.{{ID}}\nto: \"{{Phone}}\"\nbody: Hello\npurpose: order\n".utf8).write(
                    to: map
                )
                let file = folder.appending(path: "orders.csv")
                try Data("ID,Phone,\(harmful)x\n1,none,a\n2,1,\"broken\" quote\n".utf8).write(to: file)
                for arguments in [
                    ["enqueue", file.path, "--map", map.path], ["enqueue", file.path, "--map", map.path, "--json"],
                    ["enqueue", harmful], ["line", "show", harmful], ["why", harmful], [harmful],
                ] {
                    let run = try await Program.run(arguments, environment: environment)
                    let harmless = (run.output + run.errors).unicodeScalars.allSatisfy { scalar in
                        scalar == "\n"
                            || scalar.properties.generalCategory != .control
                                && scalar.properties.generalCategory != .format && scalar != "\u{2028}"
                    }
                    #expect(harmless, "\(arguments): \(run.output.debugDescription)\(run.errors.debugDescription)")
                }
            }
            try await PostgresSession.withSession(
                url: environment["TRUNKLINE_DATABASE_URL"] ?? "",
                applicationName: "tests"
            ) { session in
                try await session.query(
                    "update trunkline.lane_state set gate = 'held_human', gate_since = now() - interval '3 hours', gate_reason = $1",
                    [.text("line_needs_person: " + harmful)]
                )
                try await session.query(
                    "update trunkline.lanes set secret_reference = $1",
                    [.text(harmful)]
                )
            }
            for arguments in [
                ["status"], ["line", "list"], ["line", "show", "il"], ["status", "--json"], ["doctor"],
            ] {
                let run = try await Program.run(arguments, environment: environment)
                for scalar in (run.output + run.errors).unicodeScalars where scalar != "\n" {
                    #expect(
                        scalar.properties.generalCategory != .control && scalar.properties.generalCategory != .format,
                        "\(arguments): \(run.output.debugDescription)"
                    )
                }
                if arguments == ["line", "show", "il"] {
                    #expect(run.output.contains("held_human (line_needs_person: "))
                }
            }
        }
    }

    @Test func noticesAreCancelledAndMoved() async throws {
        try await Self.withInstall { environment in
            func run(_ arguments: [String], _ status: Int32, input: String? = nil) async throws -> Command.Outcome {
                let run = try await Program.run(arguments, environment: environment, input: input)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                #expect(!(run.output + run.errors).contains("5012345"))
                return run
            }
            _ = try await run(Self.add + ["--token-env", "EZW_TOKEN"], 0)
            let rows = (1...4).map {
                #"{"schema":"trunkline.send.v1","line":"il","key":"order:a.\#($0)","to":"+97250123450\#($0)","body":"x","purpose":"order"}"#
            }
            _ = try await run(["enqueue", "-"], 0, input: rows.joined(separator: "\n"))

            // Everything needs a word; a look does not.
            #expect(try await run(["cancel", "*"], 2).errors.contains("--yes"))
            #expect(try await run(["cancel", "*", "--dry-run"], 0).output.contains("4 would be cancelled"))
            #expect(try await run(["cancel", "order:%"], 3).errors.contains("a pattern is a key with *"))
            #expect(
                try await run(["cancel", "order:a.*", "--workspace", "nobody"], 3).errors.contains(
                    "no workspace nobody"
                )
            )
            #expect(
                try await run(["cancel", "nobody:*"], 0).output.contains("no notice in the database has such a key")
            )
            #expect(try await run(["cancel", "nobody"], 1).errors.contains("no notice has the key nobody"))

            let one = try await run(["cancel", "order:a.1"], 0)
            #expect(one.output.contains("order:a.1 (job 1 on il): cancelled") && one.output.contains("1 cancelled"))
            #expect(one.errors.contains("nobody can say what still waits in the broker (no broker is configured here)"))
            #expect(try await run(["cancel", "order:a.1"], 0).output.contains("had ended before as cancelled"))
            #expect(try await run(["why", "order:a.1"], 0).output.contains("because somebody cancelled it"))

            var broken = environment
            broken["TRUNKLINE_AMQP_URL"] = brokerNowhere
            let json = try await Program.run(
                ["cancel", "order:a.*", "--json", "--workspace", "acme"],
                environment: broken
            )
            #expect(json.status == 0, "\(json.errors)")
            let document = try #require(
                try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
            )
            let jobs = try #require(document["jobs"] as? [[String: Any]])
            #expect(jobs.count == 4 && jobs.filter { $0["verdict"] as? String == "cancelled" }.count == 3)
            #expect(jobs.last?["verdict"] as? String == "ended" && jobs.last?["state"] as? String == "cancelled")
            let summary = try #require(document["summary"] as? [String: Any])
            #expect(summary["cancelled"] as? Int == 3 && summary["workspace"] as? String == "acme")
            #expect(summary["brokerUnknown"] is String && summary["waitingInBroker"] == nil)
            #expect(!json.output.contains("PASSWORD-IN-URL"))
            let empty = try await run(["cancel", "nobody:*", "--json"], 0)
            _ = try #require(try JSONSerialization.jsonObject(with: Data(empty.output.utf8)) as? [String: Any])

            let later = rows[0].replacing("order:a.1", with: "order:b.1")
            _ = try await run(["enqueue", "-"], 0, input: later)
            let moved = try await run(["reschedule", "order:b.1", "--not-before", "2099-12-01T18:00:00Z"], 0)
            #expect(moved.output.contains("is scheduled for 2099-12-01T18:00:00Z"))
            #expect(try await run(["why", "order:b.1"], 0).output.contains("It is scheduled for 2099-12-01T18:00:00Z"))
            let now = try await run(["reschedule", "order:b.1", "--not-before", "now", "--json"], 0)
            #expect(now.output.contains("\"scheduled\" : false"))
            _ = try await run(["reschedule", "order:b.1", "--not-before", "2001-01-01T00:00:00Z"], 0)
            _ = try await run(["reschedule", "order:b.1", "--not-before", "1970-01-01T00:00:00Z"], 3)
            _ = try await run(["reschedule", "order:b.1", "--not-before", "tomorrow"], 2)
            _ = try await run(["reschedule", "order:b.1"], 2)
            _ = try await run(["reschedule", "nobody", "--not-before", "now"], 1)
            let ended = try await run(["reschedule", "order:a.1", "--not-before", "now"], 3)
            #expect(ended.errors.contains("too late: job 1 ended as cancelled"))
            _ = try await run(["check"], 0)
        }
    }

    @Test func anInterruptedEnqueueSaysHowFarItCame() async throws {
        /// It has a handler of its own for SIGINT.
        func catches(_ pid: Int32) -> Bool {
            let line = text(of: "/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("SigCgt:") }
            let mask = UInt64(line?.dropFirst(7).trimmingCharacters(in: .whitespaces) ?? "", radix: 16) ?? 0
            return mask & 2 != 0
        }
        try await Self.withInstall { environment in
            _ = try await Program.run(Self.add + ["--token-env", "EZW_TOKEN"], environment: environment)
            // Standard input stays open: the command waits for more when it is interrupted.
            let run = try await Program.run(["enqueue", "-"], environment: environment) { pid in
                let deadline = ContinuousClock.now + .seconds(60)
                func isRunning() -> Bool {
                    let stat = text(of: "/proc/\(pid)/stat")
                    return !stat.isEmpty && !stat.contains(") Z ")
                }
                while isRunning(), ContinuousClock.now < deadline {
                    if catches(pid) { kill(pid, SIGINT) }
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            #expect(run.status == 128 + SIGINT, "\(run.status) \(run.errors)")
            #expect(run.errors.contains("the same file again is safe"), "\(run.errors)")
        }
    }

    @Test func aTokenAndAReferenceNeedTheMasterKey() async throws {
        try await Self.withInstall { environment in
            var without = environment
            without["TRUNKLINE_MASTER_KEY"] = nil
            for kind in [[], ["--by-reference"]] {
                let refused = try await Program.run(
                    Self.add + ["--token-env", "EZW_TOKEN"] + kind,
                    environment: without
                )
                #expect(refused.status == 2 && refused.errors.contains("TRUNKLINE_MASTER_KEY"))
            }
            let missing = try await Program.run(Self.add + ["--token-env", "NOT_THERE"], environment: environment)
            #expect(missing.status == 2 && missing.errors.contains("NOT_THERE"))
            let reference = try await Program.run(
                Self.add + ["--token-env", "EZW_TOKEN", "--by-reference"],
                environment: environment
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
                let program = try TestEnvironment.program()
                try await eventually("the program") { text(of: "/proc/\(pid)/cmdline").hasPrefix(program) }
                for file in ["cmdline", "environ"] { seen += text(of: "/proc/\(pid)/\(file)") }
            }
            #expect(run.status == 0, "\(run.errors)")
            #expect(seen.contains("--token-stdin"), "the process was looked at")
            #expect(!seen.contains("TOPSECRET") && !(run.output + run.errors).contains("TOPSECRET"))
        }
    }

    @Test func aDryRunPrintsTheSQLAndChangesNothing() async throws {
        let (dry, after) = try await TestDatabase.with { url in
            let environment = ["TRUNKLINE_DATABASE_URL": url]
            return (
                try await Program.run(["migrate", "--dry-run"], environment: environment),
                try await Program.run(["line", "list"], environment: environment)
            )
        }
        #expect(dry.status == 0 && dry.output.contains("create table trunkline.jobs"))
        #expect(after.status == 3 && after.errors.contains("run 'trunkline migrate'"))
    }
}
