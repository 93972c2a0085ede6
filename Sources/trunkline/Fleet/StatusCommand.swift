internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Lines, gates, backlog and workers."
    )

    @OptionGroup var options: GlobalOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    @Flag(help: "Print again every 2 s, until it is interrupted.")
    var watch = false

    func run() async throws {
        try await options.run { settings in
            guard watch else {
                let status = try await settings.operate(as: Self.name, mayTakeLong: true) { install in
                    try await install.fleetStatus()
                }
                return try show(status)
            }
            try await repeatedly(
                Operator(databaseURL: settings.databaseURL(), name: Self.name, mayTakeLong: true)
            )
        }
    }

    private static let name = "trunkline status"

    /// Goes on through a database that is away for a while: that is when one watches.
    private func repeatedly(_ install: Operator) async throws {
        while true {
            do {
                let status = try await install.fleetStatus()
                if !json, isatty(STDOUT_FILENO) == 1 { FileHandle.standardOutput.write(Data("\u{1B}[H\u{1B}[2J".utf8)) }
                try show(status)
            } catch {
                let explanation = Explanation(error)
                guard explanation.mayPass else { throw error }
                await install.close()
                Output.note("trunkline: " + explanation.words + "; trying again")
            }
            try await Task.sleep(for: .seconds(2))
        }
    }

    private func show(_ status: FleetStatus) throws {
        if json {
            try Output.json(StatusDocument(status))
            return
        }
        Output.table(
            [
                "LINE", "WORKSPACE", "HOLD", "GATE", "PACE", "UNFINISHED", "WAITING", "RETRYING", "SCHEDULED",
                "SENDING", "UNKNOWN",
                "PARKED",
                "SENT TODAY", "OLDEST",
            ],
            status.lines.map { line in
                func count(_ states: String...) -> Int64 { states.reduce(0) { $0 + (line.backlog[$1] ?? 0) } }
                return [
                    line.id, line.workspace, line.holdReason.map { "held: " + $0.prefix(30) } ?? "-", Self.gate(line),
                    Self.pace(line.pace), String(line.unfinished),
                    String(count("accepted", "waiting") - line.scheduled - line.retrying), String(line.retrying),
                    String(line.scheduled), String(count("sending")), String(count("unknown")), String(count("parked")),
                    String(line.sentToday)
                        + (line.dailyCap == .unlimited ? "" : " (\(line.capUsed) of \(line.dailyCap))"),
                    line.oldestWaiting.map(Self.span) ?? "-",
                ]
            }
        )
        let cannotSend = status.lines.filter { Self.isClosed($0) && $0.gateReason != nil && $0.unfinished > 0 }
        for line in cannotSend.prefix(20) {
            Output.line(
                "\(line.id) cannot send since \(Output.time(microseconds: line.gateSince?.microseconds)): "
                    + JobStory.words(forReason: line.gateReason)
                    + (line.gate == "held_human" ? "; somebody must mend it" : "; its health is asked again by itself")
            )
        }
        if cannotSend.count > 20 { Output.line("and \(cannotSend.count - 20) more lines cannot send") }
        Output.line()
        if status.workers.isEmpty {
            Output.line("no worker has ever registered: start one with 'trunkline worker'")
        } else {
            Output.table(
                ["WORKER", "PROCESS", "VERSION", "HEARTBEAT", "SHARDS", "BROKER", "STATE"],
                status.workers.map { worker in
                    [
                        worker.host, String(worker.pid), worker.version, Self.span(worker.heartbeatAge) + " ago",
                        String(worker.shards), worker.isBrokerConnected ? "connected" : "away",
                        !worker.isAlive ? "silent" : worker.isStopping ? "stopping" : "alive",
                    ]
                }
            )
        }
        Output.line()
        let backlog = status.backlog.filter { $0.value > 0 }.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        Output.line(
            "\(status.lines.count) lines, \(status.sentToday) sent today, unfinished: "
                + (backlog.isEmpty ? "none" : backlog.joined(separator: ", "))
        )
        for breaker in status.breakers {
            let lines = status.lines.count { $0.brokenOrigin == breaker.origin }
            let next =
                breaker.isBeingAsked
                ? "it is being asked"
                : "it is asked again at \(Output.time(microseconds: breaker.nextProbeAt?.microseconds))"
            Output.line(
                "nothing is sent to \(breaker.origin) (\(lines) lines) since \(Output.time(microseconds: breaker.since.microseconds)): "
                    + "\(breaker.reason); \(next)"
            )
        }
        if status.shardsWithoutOwner > 0 {
            Output.line("\(status.shardsWithoutOwner) of \(status.shards) shards have no live worker: their lines wait")
        }
        if status.refusalsToday > 0 {
            Output.line("\(status.refusalsToday) refusals in the last 24 hours: see 'trunkline refusals list'")
        }
    }

    private static func gate(_ line: FleetStatus.Line) -> String {
        guard line.isOwned else { return "no worker" }
        if line.brokenOrigin != nil { return "broken off" }
        if line.pausedUntil != nil { return "paused" }
        if line.isCapped, line.gate == "open" || line.gate == "ramping" || line.gate == "unknown" { return "daily cap" }
        if line.gate == "ramping", line.rampBegan == nil { return "open" }
        guard isClosed(line) else { return line.gate }
        // The whole reason stands below the table, where it has room.
        let code = line.gateReason.map { " (\($0.prefix { $0 != ":" }))" } ?? ""
        return "\(line.gate)\(code)" + (line.heldFor.map { " for \(span($0))" } ?? "")
    }

    private static func isClosed(_ line: FleetStatus.Line) -> Bool {
        ["held_transient", "held_human", "probing"].contains(line.gate)
    }

    static func pace(_ pace: Pace) -> String {
        guard !pace.isUnlimited else { return "unlimited" }
        return "1/" + span(pace.interval).filter { $0 != " " }
    }

    /// `1.5 s`, `3 min`, `2 h`, `5 d`.
    static func span(_ duration: Duration) -> String {
        let milliseconds = duration.components.seconds * 1_000 + duration.components.attoseconds / 1_000_000_000_000_000
        switch milliseconds {
        case ..<1_000: return "\(milliseconds) ms"
        case ..<10_000 where milliseconds % 1_000 >= 100: return "\(milliseconds / 1_000).\(milliseconds / 100 % 10) s"
        case ..<120_000: return "\(milliseconds / 1_000) s"
        case ..<7_200_000: return "\(milliseconds / 60_000) min"
        case ..<172_800_000: return "\(milliseconds / 3_600_000) h"
        default: return "\(milliseconds / 86_400_000) d"
        }
    }
}
