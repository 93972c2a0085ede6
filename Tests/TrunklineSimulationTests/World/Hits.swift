/// Every kind of thing that goes wrong in a simulated run, and the ways out of it that must have been taken somewhere.
enum Fault: String, CaseIterable {
    // Workers.
    case crashAccepted = "crash:accepted"
    case crashTaken = "crash:taken"
    case crashClaimed = "crash:claimed"
    case crashCarried = "crash:carried"
    case crashAnswered = "crash:answered"
    case crashSettled = "crash:settled"
    case crashAcked = "crash:acked"
    case kill = "worker:kill"
    case freeze = "worker:freeze"
    case freezeAtStep = "worker:freeze_at_step"
    case thaw = "worker:thaw"
    case drain = "worker:drain"
    case join = "worker:join"
    // Database.
    case breakBefore = "database:lost_before_effect"
    case lostReply = "database:lost_reply"
    case lateEffect = "database:effect_after_loss"
    case databaseCrash = "database:crash"
    case clockJump = "database:clock_jumps"
    case databaseStall = "database:stall"
    case statementError = "database:statement_error"
    case frozenLocks = "database:frozen_client_holds_locks"
    case wireDead = "database:wire_dead"
    case terminated = "database:sessions_terminated"
    // Broker.
    case brokerCrash = "broker:crash"
    case brokerBreak = "broker:connection_lost"
    case channelLost = "broker:channel_lost"
    case redelivered = "broker:redelivered"
    case wakeLost = "broker:wake_up_lost"
    case wakeByTier = "broker:wake_up_by_tier"
    // API.
    case connectFailed = "api:no_connection"
    case refused = "api:4xx"
    case tokenRefused = "api:401"
    case slowDown = "api:429"
    case conflict = "api:409"
    case serverError = "api:5xx_not_accepted"
    case serverErrorAccepted = "api:5xx_accepted"
    case timeout = "api:no_answer_not_accepted"
    case lostAnswer = "api:no_answer_accepted"
    case reset = "api:reset_accepted"
    case keyRemembered = "api:key_remembered"
    case acceptedTwice = "api:accepted_again_after_ambiguity"
    case providerOutage = "api:away"
    case notSendable = "api:line_not_sendable"
    case strangeWords = "api:unknown_words"
    case healthUnclear = "api:health_no_answer"
    // People and producers.
    case hold = "people:hold"
    case cancel = "people:cancel"
    case reschedule = "people:reschedule"
    case repeatedKey = "producer:repeat"
    case keyConflict = "producer:conflict"
    case refusal = "producer:refused_message"
    // What the database said about it.
    case fenceLost = "verdict:lost"
    case overtaken = "verdict:overtaken"
    case heldByPeople = "verdict:held"
    case busy = "verdict:busy"
    case gone = "verdict:gone"
    case expired = "verdict:expired"
    case superseded = "verdict:superseded"
    case cancelled = "verdict:cancelled"
    case stale = "verdict:stale"
    case lateSent = "verdict:late_sent"
    case givenBack = "verdict:given_back"
    case unknown = "verdict:unknown"
    case parked = "verdict:parked"
    case abandoned = "verdict:abandoned"
    case adopted = "verdict:adopted"
    case placedDue = "verdict:placed_when_due"
    case fastPath = "verdict:begun_by_take"
    case breakerOpened = "verdict:breaker_opened"
    case breakerClosed = "verdict:breaker_closed"
    case suspectMessage = "verdict:suspect_message"
    case takeover = "verdict:shard_taken_over"
    case handover = "verdict:shard_handed_over"
}

/// How often each was met.
final class Hits {
    private var counts = [Int](repeating: 0, count: Fault.allCases.count)
    private static let index = Dictionary(uniqueKeysWithValues: Fault.allCases.enumerated().map { ($1, $0) })

    subscript(fault: Fault) -> Int {
        get { counts[Self.index[fault]!] }
        set { counts[Self.index[fault]!] = newValue }
    }

    var all: [Int] { counts }
}
