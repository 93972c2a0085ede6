internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Lines that have been held for long while notices wait for them: said once, whoever owns them meanwhile.
extension Worker {
    /// From when on a hold is worth a person's attention.
    private static let longHold: Duration = .seconds(15 * 60)
    private static let lookInterval: Duration = .seconds(10)

    /// Notes the beginning and the end of a hold, as the row does (`OutcomeLedger.keepGates`): asking again is no end.
    func noteHold(of lane: Lane, at now: Instant) {
        if lane.gate.hold != nil {
            lane.heldSince = lane.heldSince ?? now
        } else if lane.gate.isOpen(at: now) {
            lane.heldSince = nil
            lane.isHoldTold = false
        }
    }

    func lookAtLongHolds(_ now: Instant) {
        guard settler.isConnected, mayAct(at: now), lastHoldLook.map({ now - $0 >= Self.lookInterval }) ?? true else {
            return
        }
        lastHoldLook = now
        var told: [Int32] = []
        for lane in lanes.values.sorted(by: { $0.number < $1.number }) {
            guard !lane.isHoldTold, let hold = lane.gate.hold, let since = lane.heldSince, now - since >= Self.longHold,
                lane.queue.count > 0, let line = lineOfLane[lane.number]
            else { continue }
            lane.isHoldTold = true
            told.append(lane.number)
            log.warning(
                "line held for long",
                metadata: [
                    "line": "\(line)", "minutes": "\((now - since).components.seconds / 60)",
                    "reason": "\(hold.stored)",
                    "waiting": "\(lane.queue.count)",
                ]
            )
        }
        guard !told.isEmpty else { return }
        // Lost with the connection, it is said once more by the next owner.
        settler.holdTold(told) { _ in }
    }
}

extension Gate.Hold {
    /// `code` or `code: detail`, as `lane_state` has it.
    var stored: String { [reason.code, detail].compactMap { $0 }.joined(separator: ": ") }
}
