internal import TrunklineCore

/// An attempt of ours, from the commit of its claim to the commit of its settlement.
struct Call {
    let job: Int64
    let attempt: Int32
    let tries: Int32
    let lane: Int32
    let line: String
    let person: Int64
    let place: Int64
    let jobClass: JobClass
    let isStamped: Bool
    var isSuspect = false
    /// No call of it has left yet that may take effect, and the row says so.
    fileprivate(set) var isQuiet = false
    let key: IdempotencyKey
    let request: [UInt8]
    let sendBefore: Int64?
    /// Until when it may go on, as far as the gate knew when it began.
    var gateOpenUntil: Instant
    /// Taken before the claim was sent.
    let claimSent: Instant
    /// The same of the statement that ended its quiet part.
    fileprivate(set) var effectSent: Instant?
    /// From when its lease counts.
    var leaseBegan: Instant { effectSent ?? claimSent }
    fileprivate(set) var hasOutcome = false
}

/// This worker's attempts, by job: begun and not recorded. They outlive their lane's memory and their shard's ownership.
final class Attempts {
    private var calls: [Int64: Call] = [:]
    /// The one that was begun last for a job of a lost worker.
    private var lastSuspect: Int64?

    var count: Int { calls.count }
    var isEmpty: Bool { calls.isEmpty }
    /// Numbers of a few jobs, for people.
    var examples: String { calls.keys.prefix(20).map(String.init).joined(separator: ",") }
    subscript(job: Int64) -> Call? { calls[job] }
    func has(_ job: Int64) -> Bool { calls[job] != nil }

    /// Whether a job of a lost worker is in the air: only one such is, of a process.
    var hasSuspect: Bool { lastSuspect.map(has) ?? false }

    func began(_ call: Call) {
        calls[call.job] = call
        if call.isSuspect { lastSuspect = call.job }
    }

    /// It may take effect from now on, and has its lease anew.
    func effectBegan(_ attempt: JobAttempt, at sent: Instant) {
        guard calls[attempt.job]?.attempt == attempt.attempt else { return }
        calls[attempt.job]?.isQuiet = false
        calls[attempt.job]?.effectSent = sent
    }

    /// - Returns: the attempt; nil when it had its outcome already.
    func gotOutcome(_ job: Int64) -> Call? {
        guard let call = calls[job], !call.hasOutcome else { return nil }
        calls[job]?.hasOutcome = true
        return call
    }

    /// - Returns: the attempt; nil when that one is not ours.
    func recorded(_ job: Int64, _ attempt: Int32) -> Call? {
        guard let call = calls[job], call.attempt == attempt else { return nil }
        calls[job] = nil
        return call
    }

    /// What was known of the lane's health when its calls in the air began is worth nothing any more. For calls whose lane
    /// was given up: the others ask its gate.
    func closeGate(of line: String, at now: Instant) {
        for (job, call) in calls where call.line == line { calls[job]?.gateOpenUntil = now }
    }

    /// Persons of lanes whose calls are in the air.
    func persons(where isWanted: (_ lane: Int32) -> Bool) -> [LanePerson] {
        calls.values.filter { isWanted($0.lane) }.map { LanePerson(lane: $0.lane, person: $0.person) }
    }
}
