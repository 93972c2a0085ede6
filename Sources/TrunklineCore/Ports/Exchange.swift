/// One attempt with an outside system, as a small state machine: an event in, the next step out. Without I/O and without a
/// clock; the engine makes the calls, and stops an exchange between any two of them when lease, gate or hold say so.
///
/// Ways through it: `begin` → any number of calls, health questions and looks for credentials → `done`. Every exchange ends,
/// whatever the answers: none makes more than ``longest`` steps.
package protocol Exchange: Sendable {
    /// The first event is ``ExchangeEvent/begin``; each further one is what came of the step before.
    mutating func next(_ event: ExchangeEvent) -> ExchangeStep
}

package enum ExchangeLimits {
    /// The most steps of an exchange, `done` included. A call that the attempt's lease does not cover is not made; the lease
    /// begins anew before the first one that may take effect of an attempt that began quietly.
    package static let longest = 8
}

package enum ExchangeEvent: Sendable {
    /// The attempt begins: `at` is the wall time, for what signs it.
    case begin(at: Timestamp)
    /// What came of a call.
    case called(CallResult, at: Timestamp)
    /// What came of ``ExchangeStep/askHealth``.
    case health(HealthVerdict)
    /// What came of ``ExchangeStep/needsCredentials``: nil when there are none for now, and the attempt is to be given back.
    case credentials(Credentials?)
}

package enum ExchangeStep: Sendable {
    /// Only a step that may take effect stamps the job: an exchange that ended before one is a plain retry.
    case call(OutsideCall, mayTakeEffect: Bool)
    /// The lane's own health question, whose answer is the gate's too.
    case askHealth
    /// Credentials that expire belong to the lane, and are refreshed by its owner once for the fleet
    /// (``CarrierAccount/refresh(_:)``). `refused`: the ones that the other side did not accept, so that they are not given again.
    case needsCredentials(refused: Credentials?)
    case done(Outcome, Evidence?)
}
