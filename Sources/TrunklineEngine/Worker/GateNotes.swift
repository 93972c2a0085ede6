internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Writes gates down, for `trunkline status` and for the next owner, and says once that a lane has been held for long while
/// notices wait for it, whoever owns it meanwhile.
final class GateNotes {
    /// From when on a hold is worth a person's attention.
    private static let longHold: Duration = .seconds(15 * 60)
    private static let lookInterval: Duration = .seconds(10)

    private let here: Surroundings
    private let agenda: Agenda
    private let directory: LaneDirectory
    private let board: LaneBoard
    private let ledger: any OutcomeLedger
    private var lastLook: Instant?

    init(
        _ here: Surroundings,
        _ agenda: Agenda,
        _ directory: LaneDirectory,
        _ board: LaneBoard,
        _ ledger: any OutcomeLedger
    ) {
        self.here = here
        self.agenda = agenda
        self.directory = directory
        self.board = board
        self.ledger = ledger
    }

    /// Writes those that have changed.
    func write(at now: Instant) {
        guard ledger.isConnected else { return }
        var rows: [GateRow] = []
        agenda.takeGates { number in
            if let row = board.lane(number)?.gateToWrite(at: now) { rows.append(row) }
        }
        guard !rows.isEmpty else { return }
        here.telemetry.gateChanges += rows.count
        ledger.keepGates(rows) { [weak self] result in
            guard let self, case .failure = result else { return }
            for row in rows { board.lane(row.lane)?.gateWasNotWritten() }
        }
    }

    /// Twice a second; does something every 10 s.
    func lookAtLongHolds(at now: Instant) {
        guard ledger.isConnected, lastLook.map({ now - $0 >= Self.lookInterval }) ?? true else { return }
        lastLook = now
        var told: [Int32] = []
        for lane in board.lanesInOrder {
            guard let settings = directory[lane.number],
                let (hold, lasted) = lane.tellHold(longerThan: Self.longHold, at: now)
            else { continue }
            told.append(lane.number)
            here.log.warning(
                "\(settings.noun) held for long",
                metadata: settings.logged([
                    "minutes": "\(lasted.components.seconds / 60)", "reason": "\(hold.stored)",
                    "waiting": "\(lane.count)",
                ])
            )
        }
        guard !told.isEmpty else { return }
        // Lost with the connection, it is said once more by the next owner.
        ledger.holdTold(told) { _ in }
    }
}
