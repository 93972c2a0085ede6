internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Prove that nothing was lost, doubled or changed; exit code 1 with the ids when it does not add up.",
        discussion: """
            Compares the ledger with jobs, finished rows (and the tallies of dropped days) and attempts, in one snapshot. Reads \
            only; safe at any time.
            """
    )

    @OptionGroup var options: GlobalOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let report = try await settings.operate(as: "trunkline check", mayTakeLong: true) { install in
                try await install.check(carriers: .standard)
            }
            if json { try Output.json(Document(report)) } else { Self.say(report) }
            if !report.addsUp { throw CommandError.silent(.failed) }
        }
    }

    private static func say(_ report: CheckReport) {
        func sum(_ value: (CheckReport.Lane) -> Int64) -> String { String(report.lanes.reduce(0) { $0 + value($1) }) }
        func other(_ lane: CheckReport.Lane) -> Int64 {
            lane.finishedCount - ["sent", "cancelled", "superseded"].reduce(0) { $0 + (lane.finished[$1] ?? 0) }
        }
        func cells(_ lane: CheckReport.Lane) -> [String] {
            [
                lane.lane.description, String(lane.ledger), String(lane.finished["sent"] ?? 0),
                String(lane.finished["cancelled"] ?? 0),
                String(lane.finished["superseded"] ?? 0), String(other(lane)), String(lane.tallied),
                String(lane.unfinishedCount), String(lane.unfinished["unknown"] ?? 0),
                String(lane.unfinished["parked"] ?? 0),
                String(lane.attempts), lane.addsUp ? "yes" : "NO",
            ]
        }
        Output.table(
            [
                report.lanes.allSatisfy { $0.lane.line != nil } ? "LINE" : "LANE", "ACCEPTED", "SENT",
                "CANCELLED", "SUPERSEDED", "ENDED OTHERWISE", "DROPPED", "UNFINISHED",
                "OF THEM UNKNOWN", "PARKED",
                "ATTEMPT ROWS",
                "ADDS UP",
            ],
            report.lanes.map(cells) + [
                [
                    "total", sum(\.ledger), sum { $0.finished["sent"] ?? 0 },
                    sum { $0.finished["cancelled"] ?? 0 }, sum { $0.finished["superseded"] ?? 0 }, sum(other),
                    sum(\.tallied), sum(\.unfinishedCount), sum { $0.unfinished["unknown"] ?? 0 },
                    sum { $0.unfinished["parked"] ?? 0 }, sum(\.attempts),
                    report.lanes.allSatisfy(\.addsUp) ? "yes" : "NO",
                ]
            ]
        )
        Output.line()
        if report.addsUp {
            Output.line(
                "It adds up: every accepted notice is in exactly one place, and every attempt is accounted for."
            )
            return
        }
        for kind in CheckReport.Kind.allCases {
            guard let count = report.counts[kind] else { continue }
            let findings = report.findings.filter { $0.kind == kind }
            Output.line("\(kind.rawValue): \(count)")
            for finding in findings {
                let job = finding.job.map { "job \($0)" } ?? "no single job"
                Output.line("  \(job)\(finding.lane.map { " on \($0)" } ?? ""): \(finding.detail)")
            }
            if count > Int64(findings.count) { Output.line("  and \(count - Int64(findings.count)) more") }
        }
        Output.line(
            "It does not add up: do not change anything by hand before you know why; 'trunkline why ID' tells of a job."
        )
    }

    private struct Document: Encodable {
        struct Lane: Encodable {
            /// One of the two; neither for what only a later version knows.
            let line: String?
            let destination: String?
            let accepted: Int64
            let finished: [String: Int64]
            let tallied: Int64
            let unfinished: [String: Int64]
            let attemptRows: Int64
            let addsUp: Bool
        }

        struct Finding: Encodable {
            let kind: String
            let job: String?
            let line: String?
            let destination: String?
            let detail: String
        }

        struct Totals: Encodable {
            let accepted: Int64
            let finished: Int64
            let sent: Int64
            let cancelled: Int64
            let superseded: Int64
            let tallied: Int64
            let unfinished: Int64
        }

        let readAt: String
        let addsUp: Bool
        let totals: Totals
        let lines: [Lane]
        let destinations: [Lane]
        let counts: [String: Int64]
        let findings: [Finding]

        init(_ report: CheckReport) {
            readAt = report.readAt.rfc3339
            addsUp = report.addsUp
            totals = Totals(
                accepted: report.lanes.reduce(0) { $0 + $1.ledger },
                finished: report.lanes.reduce(0) { $0 + $1.finishedCount },
                sent: report.lanes.reduce(0) { $0 + ($1.finished["sent"] ?? 0) },
                cancelled: report.lanes.reduce(0) { $0 + ($1.finished["cancelled"] ?? 0) },
                superseded: report.lanes.reduce(0) { $0 + ($1.finished["superseded"] ?? 0) },
                tallied: report.lanes.reduce(0) { $0 + $1.tallied },
                unfinished: report.lanes.reduce(0) { $0 + $1.unfinishedCount }
            )
            let lanes = report.lanes.map { lane in
                Lane(
                    line: lane.lane.line,
                    destination: lane.lane.destination,
                    accepted: lane.ledger,
                    finished: lane.finished,
                    tallied: lane.tallied,
                    unfinished: lane.unfinished,
                    attemptRows: lane.attempts,
                    addsUp: lane.addsUp
                )
            }
            lines = lanes.filter { $0.line != nil }
            destinations = lanes.filter { $0.line == nil }
            counts = Dictionary(uniqueKeysWithValues: report.counts.map { ($0.key.rawValue, $0.value) })
            findings = report.findings.map { finding in
                Finding(
                    kind: finding.kind.rawValue,
                    job: finding.job?.description,
                    line: finding.lane?.line,
                    destination: finding.lane?.destination,
                    detail: finding.detail
                )
            }
        }
    }
}
