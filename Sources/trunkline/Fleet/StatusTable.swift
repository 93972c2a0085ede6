internal import TrunklineCore
internal import TrunklineEngine

/// The fleet as people read it.
enum StatusTable {
    static func print(_ status: FleetStatus) {
        lanes(.line, status.lines)
        for (kind, lanes) in [(Kind.destination, status.destinations), (.source, status.sources)] where !lanes.isEmpty {
            Output.line()
            Self.lanes(kind, lanes)
        }
        Output.line()
        workers(status)
        Output.line()
        sums(status)
    }

    private enum Kind: String {
        case line, destination, source

        /// What one of them does not do while its gate is closed, and what several do not.
        var cannot: (one: String, several: String) {
            switch self {
            case .line: ("cannot send", "cannot send")
            case .destination: ("takes nothing", "take nothing")
            case .source: ("is not run", "are not run")
            }
        }

        /// What ends that, where nobody has to.
        var again: String {
            switch self {
            case .line: "; its health is asked again by itself"
            case .destination: "; the next delivery is tried by itself"
            case .source: ""
            }
        }
    }

    private static func lanes(_ kind: Kind, _ lanes: [FleetStatus.Lane]) {
        Output.table(
            [
                kind.rawValue.uppercased(), "WORKSPACE", "HOLD", "GATE", "PACE", "UNFINISHED", "WAITING", "RETRYING",
                "SCHEDULED",
                "SENDING", "UNKNOWN",
                "PARKED",
                kind == .source ? "RUN TODAY" : "SENT TODAY", "OLDEST",
            ],
            lanes.map { line in
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
        let cannotSend = lanes.filter { $0.isClosed && $0.gateReason != nil && $0.unfinished > 0 }
        for line in cannotSend.prefix(20) {
            Output.line(
                "\(line.label) \(kind.cannot.one) since \(Output.time(line.gateSince)): "
                    + JobStory.words(forReason: line.gateReason)
                    + (line.gate == "held_human" ? "; somebody must mend it" : kind.again)
            )
        }
        if cannotSend.count > 20 {
            Output.line("and \(cannotSend.count - 20) more \(kind.rawValue)s \(kind.cannot.several)")
        }
    }

    private static func workers(_ status: FleetStatus) {
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
    }

    private static func sums(_ status: FleetStatus) {
        let backlog = status.backlog.filter { $0.value > 0 }.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        let destinations = status.destinations.isEmpty ? "" : "\(status.destinations.count) destinations, "
        let sources = status.sources.isEmpty ? "" : "\(status.sources.count) sources, "
        let events = status.sources.isEmpty ? "" : "\(status.eventsToday) events run today, "
        Output.line(
            "\(status.lines.count) lines, \(destinations)\(sources)\(status.sentToday) sent today, \(events)unfinished: "
                + (backlog.isEmpty ? "none" : backlog.joined(separator: ", "))
        )
        for breaker in status.breakers {
            let lines = status.lanes.count { $0.brokenOrigin == breaker.origin }
            let next =
                breaker.isBeingAsked
                ? "it is being asked"
                : "it is asked again at \(Output.time(breaker.nextProbeAt))"
            Output.line(
                "nothing is sent to \(breaker.origin) (\(lines) lines) since \(Output.time(breaker.since)): "
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

    private static func gate(_ line: FleetStatus.Lane) -> String {
        guard line.isOwned else { return "no worker" }
        if line.brokenOrigin != nil { return "broken off" }
        if line.pausedUntil != nil { return "paused" }
        if line.isCapped, line.gate == "open" || line.gate == "ramping" || line.gate == "unknown" { return "daily cap" }
        if line.gate == "ramping", line.rampBegan == nil { return "open" }
        guard line.isClosed else { return line.gate }
        // The whole reason stands below the table, where it has room.
        let code = line.gateReason.map { " (\($0.prefix { $0 != ":" }))" } ?? ""
        return "\(line.gate)\(code)" + (line.heldFor.map { " for \(span($0))" } ?? "")
    }

    private static func pace(_ pace: Pace) -> String {
        guard !pace.isUnlimited else { return "unlimited" }
        return "1/" + span(pace.interval).filter { $0 != " " }
    }

    /// `1.5 s`, `3 min`, `2 h`, `5 d`.
    private static func span(_ duration: Duration) -> String {
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
