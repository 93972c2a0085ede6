internal import CurlDriver
internal import DequeModule
internal import TrunklineCore

/// The one door to the outside: makes calls, and knows how many more may be made.
final class Caller {
    private let here: Surroundings
    private let agenda: Agenda
    private let http: any HTTPCaller
    private let origins: Origins
    private var shares: SlotShares<String>
    /// Call slots that claims under way will use.
    private var promised = 0
    /// Claimed calls that found no free slot.
    private var waiting: Deque<Int64> = []

    init(_ here: Surroundings, _ agenda: Agenda, _ http: any HTTPCaller, _ origins: Origins) {
        self.here = here
        self.agenda = agenda
        self.http = http
        self.origins = origins
        let reserved = here.configuration.carriers.all.map { ($0.kind.value, $0.policy.reservedSlots) }
        shares = SlotShares(
            slots: http.freeSlots,
            reserved: Dictionary(uniqueKeysWithValues: reserved),
            onceSeen: true
        )
    }

    // MARK: Slots

    /// Call slots that are free, without those that were promised to claims under way and to calls that wait for one.
    var freeSlots: Int { http.freeSlots - promised - waiting.count }

    /// Whether another call could begin.
    var hasFreeSlot: Bool { freeSlots > 0 }

    /// The same for a lane's kind of carrier: the others have a part that it cannot take.
    func freeSlots(for settings: LaneSettings) -> Int {
        shares.seen(settings.carrier)
        return shares.free(for: settings.carrier, of: freeSlots)
    }

    func hasFreeSlot(for settings: LaneSettings) -> Bool { freeSlots(for: settings) > 0 }

    /// Whether a call that must not wait can be made, at this very moment.
    var canCall: Bool { http.freeSlots > 0 }

    /// A claim that is sent now will use a slot.
    func promise(to carrier: String) {
        promised += 1
        shares.took(carrier)
    }

    /// The claim has been answered: what it began takes its slot itself.
    func promiseEnded(to carrier: String) {
        promised -= 1
        shares.gaveBack(carrier)
    }

    // MARK: Calls that wait

    /// The claimed call goes as soon as a slot is free, while its lease lasts.
    func wait(_ job: Int64) { waiting.append(job) }

    /// The call whose turn it is, if there is a slot for it.
    func nextWaiting() -> Int64? { canCall ? waiting.popFirst() : nil }

    // MARK: Calls

    /// Makes a call, for which there must be a slot, and notes whether it is answered. `isQuestion`: it is asked to find that
    /// out. `mayLeave` is asked right before the bytes leave.
    func call(
        _ request: HTTPRequest,
        of settings: LaneSettings,
        isQuestion: Bool = false,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) {
        let carrier = settings.carrier
        shares.took(carrier)
        guard let origin = settings.origin else {
            return http.send(request, mayLeave: mayLeave) { [weak self] result in
                self?.shares.gaveBack(carrier)
                done(result)
            }
        }
        origins.callBegan(origin, isQuestion: isQuestion, at: here.now)
        http.send(request, mayLeave: mayLeave) { [weak self] result in
            guard let self else { return done(result) }
            shares.gaveBack(carrier)
            if origins.callEnded(origin, result, isQuestion: isQuestion, at: here.now) { agenda.renew() }
            done(result)
        }
    }

    func close() {
        waiting = []
        http.close()
    }
}
