import Foundation
import TestKit
import Testing

@Suite struct DestinationCommandTests {
    private static let secret = "whsec_" + Data(Array("TOPSECRET-TOPSECRET-wxyz".utf8)).base64EncodedString()

    private static let add = [
        "destination", "add", "crm", "--kind", "webhook", "--workspace", "acme", "--url",
        "https://hooks.example/services/PATHSECRET",
    ]

    private static func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func theWholeLifeOfADestination() async throws {
        try await Program.withInstall(["HOOK": Self.secret]) { run in
            var all = ""
            func say(_ arguments: [String], _ status: Int32 = 0, input: String? = nil) async throws -> String {
                let said = try await run(arguments, status, input)
                all += said
                return said
            }
            #expect(try await say(["destination", "list"]).contains("no destinations"))
            _ = try await say(Self.add, 2)
            _ = try await say(Self.add + ["--secret-env", "NOBODY"], 2)
            _ = try await say(Self.add + ["--secret-stdin"], 3, input: "ezw_line_no_such_secret")
            let added = try await say(Self.add + ["--secret-env", "HOOK"])
            #expect(added.contains("added destination crm of workspace acme, webhook https://hooks.example/…"))
            #expect(try await say(Self.add + ["--secret-env", "HOOK"], 3).contains("exists"))
            #expect(try await say(["destination", "list"]).contains("crm"))
            _ = try await say(["destination", "hold", "crm", "--reason", "they move", "--until", "1h"])
            #expect(try await say(["destination", "show", "crm"]).contains("they move"))
            #expect(try await say(["status"]).contains("held: they move"))
            _ = try await say(["destination", "resume", "crm"])
            let paced = ["destination", "set", "crm", "--pace", "20/min", "--concurrency", "2"]
            #expect(try await say(paced).contains("1/3s, 2 at once"))
            _ = try await say(["destination", "set", "crm"], 2)
            _ = try await say(["destination", "set", "crm", "--url", "https://other.example/x"], 3)
            let moved = [
                "destination", "set", "crm", "--url", "https://other.example/PATHSECRET", "--secret-env", "HOOK",
            ]
            #expect(try await say(moved).contains("https://other.example/…"))
            let shown = try Self.object(try await say(["destination", "show", "crm", "--json"]))
            #expect(shown["url"] as? String == "https://other.example/…" && shown["kind"] as? String == "webhook")
            #expect(shown["paceIntervalMilliseconds"] as? Int == 3_000 && shown["concurrency"] as? Int == 2)
            #expect(shown["unknownHorizonSeconds"] as? Int == 86_400 && shown["privateNetwork"] as? Bool == false)
            _ = try await say(["destination", "add", "x", "--kind", "fax"] + Self.add.dropFirst(5), 2)
            _ = try await say(["destination", "remove", "crm"])
            _ = try await say(["destination", "remove", "crm"], 3)
            #expect(!all.contains("PATHSECRET") && !all.contains("TOPSECRET") && !all.contains(Self.secret))
        }
    }

    @Test func anEventIsEnqueuedOnce() async throws {
        try await Program.withInstall(["HOOK": Self.secret]) { run in
            _ = try await run(Self.add + ["--secret-env", "HOOK"], 0, nil)
            func deliver(_ data: String, _ status: Int32, more: [String] = []) async throws -> String {
                let arguments = [
                    "deliver", "--destination", "crm", "--key", "event:1", "--type", "order.ready", "--timestamp",
                    "2026-12-01T09:00:00Z", "--data", "-",
                ]
                return try await run(arguments + more, status, data)
            }
            #expect(try await deliver(#"{"order":1}"#, 0).contains("accepted as job"))
            #expect(try await deliver(#"{ "order" : 1 }"#, 0).contains("accepted before"))
            #expect(try await deliver(#"{"order":2}"#, 3).contains("another delivery already"))
            #expect(try await deliver(#"{"order":"#, 3).contains("not well-formed"))
            #expect(try await deliver("[1]", 3).contains("not an object"))
            let long = #"{"a":""# + String(repeating: "a", count: 70_000) + #""}"#
            #expect(try await deliver(long, 3).contains("more than 65536 bytes"))
            let nobody = try await deliver("{}", 3, more: ["--destination", "nobody", "--json"])
            #expect(try Self.object(nobody)["reason"] as? String == "there is no destination nobody")

            let rows = """
                {"schema":"trunkline.deliver.v1","destination":"crm","key":"event:2","type":"a","timestamp":"2026-12-01T09:00:00Z","data":{}}
                {"schema":"trunkline.deliver.v1","destination":"nobody","key":"event:2","type":"a","timestamp":"2026-12-01T09:00:00Z","data":{}}
                """
            let enqueued = try await run(["enqueue", "-", "--json"], 3, rows)
            #expect(enqueued.contains(#""verdict":"new","destination":"crm""#), "\(enqueued)")
            #expect(enqueued.contains(#""kind":"unknown_destination""#), "\(enqueued)")

            #expect(try await run(["why", "event:2"], 0, nil).contains("destination  crm"))
            let listed = try await run(["refusals", "list", "--destination", "nobody", "--json"], 0, nil)
            #expect(listed.contains(#""destination" : "nobody""#), "\(listed)")
            #expect(try await run(["check"], 0, nil).contains("destination crm"))
            let cancelled = try await run(["cancel", "event:*", "--destination", "crm"], 0, nil)
            #expect(cancelled.contains("2 cancelled") && cancelled.contains("on destination crm"), "\(cancelled)")
        }
    }
}
