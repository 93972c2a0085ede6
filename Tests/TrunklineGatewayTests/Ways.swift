import Foundation
import Synchronization
import TestKit
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// A notice as a caller writes it.
func notice(
    _ key: String?,
    line: String = "line-01",
    to: String = "+972501234567",
    body: String = "Your order is ready.",
    more: String = ""
) -> String {
    let key = key.map { #""key":"\#($0)","# } ?? ""
    return #"{"line":"\#(line)",\#(key)"to":"\#(to)","body":"\#(body)","purpose":"pickup"\#(more)}"#
}

/// The kind of a problem document: the end of its type.
func kind(_ answer: HTTPAnswer) -> String? { answer.member("type").map { String($0.split(separator: ":").last ?? "") } }

/// The results of a batch.
func results(_ answer: HTTPAnswer) -> [[String: Any]] {
    let object = (try? JSONSerialization.jsonObject(with: Data(answer.body))) as? [String: Any]
    return object?["results"] as? [[String: Any]] ?? []
}

extension TestInstall {
    /// A line of another workspace.
    func addForeignLine(_ id: String = "foreign", workspace: String = "other") async throws {
        try await addLine(id, workspace: workspace, token: "ezw_line_\(id)", pace: "unlimited")
    }

    /// How many jobs there are, finished or not.
    func jobs() async throws -> Int64 {
        try await number("select (select count(*) from trunkline.jobs) + (select count(*) from trunkline.finished)")
    }

    func addDestination(_ id: String, workspace: String) async throws {
        try await trunkline(
            [
                "destination", "add", id, "--kind", "webhook", "--workspace", workspace, "--url",
                simulator.hook(id).url,
                "--allow-private-network", "--secret-env", "TEST_SECRET",
            ],
            environment: ["TEST_SECRET": simulator.hook(id).secret]
        ).requireSuccess()
    }
}

/// What several clients together asked, and which of it was answered well.
final class Tally: Sendable {
    private let state = Mutex((asked: 0, names: Set<String>()))

    func asked() { state.withLock { $0.asked += 1 } }
    func answered(_ name: String) { state.withLock { _ = $0.names.insert(name) } }
    var askedSoFar: Int { state.withLock { $0.asked } }
    var names: Set<String> { state.withLock { $0.names } }
}
