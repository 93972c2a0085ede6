package import TrunklineCore

/// Why a line, a destination or a source cannot be made or changed.
package enum LaneError: ExplainedError, Hashable {
    case unknown(LaneName)
    case exists(LaneName)
    case ofAnotherWorkspace(LaneName)
    case ofAnotherKind(LaneName, kind: String)
    case kindUnknownHere(LaneName, kind: String)
    case removed(LaneName)
    case unfinishedJobs(LaneName, count: Int64)
    case holdWithoutReason
    case holdIsOver
    case holdTooLong
    case unknownTimeZone
    case secretOfAnotherAddress(LaneName)
    case addressNotProven(LaneName, origin: String)

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .unknown(let lane): "there is no \(lane)"
        case .exists(let lane):
            "the \(lane) exists already; change it with 'trunkline \(lane.noun) set \(lane.id)'"
        case .ofAnotherWorkspace(let lane):
            "the id \(lane.id) belongs to another workspace for ever, because its keys do; take another id"
        case .ofAnotherKind(let lane, let kind):
            "the \(lane) was of kind \(kind), and what its jobs were made for stays so; take another id"
        case .kindUnknownHere(let lane, let kind):
            "the \(lane) is of kind \(kind), which this program does not know"
        case .removed(let lane): "the \(lane) was removed; 'trunkline \(lane.noun) add \(lane.id)' brings it back"
        case .unfinishedJobs(let lane, let count):
            "the \(lane) has \(count) unfinished \(count == 1 ? "job" : "jobs"); a \(lane.noun) is removed when its jobs have ended"
        case .holdWithoutReason:
            "a hold needs a reason of 1 to 200 characters without control characters: somebody will read it at night"
        case .holdIsOver: "the end of the hold has passed already"
        case .unknownTimeZone: "there is no such time zone; they are written like Europe/Madrid, Asia/Jerusalem or UTC"
        case .secretOfAnotherAddress(let lane):
            "the \(lane.secretWord) of \(lane) is for its present address only and does not follow it elsewhere: give the "
                + "\(lane.secretWord) again, with \(lane.secretOption)-file or another of \(lane.secretOption)-…"
        case .addressNotProven(let lane, let origin):
            "the row of \(lane) says \(origin), which the stored \(lane.secretWord) does not confirm (another master key, or the "
                + "row was changed by something else than 'trunkline \(lane.noun)'): say the \(lane.noun)'s address too, with "
                + (lane.addressOption ?? "its address")
        case .holdTooLong: "a hold ends within a year; without --until it lasts until it is resumed"
        }
    }
}
