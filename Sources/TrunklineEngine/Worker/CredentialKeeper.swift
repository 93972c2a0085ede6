internal import CurlDriver
internal import Logging
internal import PostgresDriver
internal import TrunklineCore

/// Credentials of lanes that expire: reads what the fleet keeps, asks for the next ones when they are needed, one question at a
/// time for a lane, and commits what comes before anything uses it.
final class CredentialKeeper {
    enum Answer {
        case have(Credentials)
        /// Not now.
        case none
        /// The other side says that it never will: a person must act.
        case refused
    }

    /// What is known of one lane's, and who waits for them.
    private final class Entry {
        let settings: LaneSettings
        let owner: SealedCredentials.Owner
        let account: any CarrierAccount
        var generation: Int64 = 0
        var kept: (credentials: LaneCredentials, until: Instant)?
        /// They are being read or asked for.
        var isBusy = false
        /// Came, and are not committed yet.
        var unwritten: (end: RefreshEnd, credentials: LaneCredentials, came: Instant)?
        var waiting: [(refused: Credentials?, done: (Answer) -> Void)] = []

        init(_ settings: LaneSettings, _ owner: SealedCredentials.Owner, _ account: any CarrierAccount) {
            self.settings = settings
            self.owner = owner
            self.account = account
        }
    }

    private let here: Surroundings
    private let membership: Membership
    private let shards: Shards
    private let origins: Origins
    private let caller: Caller
    private let ledger: any OutcomeLedger
    private var entries: [Int32: Entry] = [:]
    /// Entries with something that is not committed; they outlive a change of their lane.
    private var unwritten: [Entry] = []

    init(
        _ here: Surroundings,
        _ membership: Membership,
        _ shards: Shards,
        _ origins: Origins,
        _ caller: Caller,
        _ ledger: any OutcomeLedger
    ) {
        self.here = here
        self.membership = membership
        self.shards = shards
        self.origins = origins
        self.caller = caller
        self.ledger = ledger
    }

    /// Whether nothing that came is lost when this process ends.
    var isDone: Bool { unwritten.isEmpty }

    /// Credentials for a call that is made now. `refused`: the ones that the other side did not accept.
    func need(_ settings: LaneSettings, refused: Credentials?, _ done: @escaping (Answer) -> Void) {
        guard let owner = settings.credentialOwner, let account = settings.account else { return done(.none) }
        var entry = entries[settings.lane]
        if entry?.owner != owner {
            // Another address or another secret: nothing of what is kept is theirs.
            entry = Entry(settings, owner, account)
            entries[settings.lane] = entry
        }
        guard let entry, entry.unwritten == nil else { return done(.none) }
        if let good = good(entry, unless: refused) { return done(.have(good)) }
        entry.waiting.append((refused, done))
        if !entry.isBusy { read(entry) }
    }

    /// Those that are kept, if they last for a call that begins now.
    private func good(_ entry: Entry, unless refused: Credentials?) -> Credentials? {
        guard let kept = entry.kept, kept.credentials.credentials != refused,
            kept.until - here.now > here.timing.callTimeout + here.timing.leaseMargin
        else { return nil }
        return kept.credentials.credentials
    }

    /// Once for all who wait: what they lead to may ask again.
    private func answer(_ entry: Entry, _ answer: (Credentials?) -> Answer) {
        entry.isBusy = false
        let waiting = entry.waiting
        entry.waiting = []
        for one in waiting { one.done(answer(one.refused)) }
    }

    // MARK: Reading and asking

    /// Another worker may have got new ones since.
    private func read(_ entry: Entry) {
        guard ledger.isConnected else { return answer(entry) { _ in .none } }
        entry.isBusy = true
        let asked = here.now
        ledger.credentials(entry.settings.lane) { [weak self] result in
            guard let self else { return }
            guard case .success(let row) = result else { return answer(entry) { _ in .none } }
            know(entry, row, asked)
            let waiting = entry.waiting
            entry.waiting = waiting.filter { self.good(entry, unless: $0.refused) == nil }
            if entry.waiting.isEmpty { entry.isBusy = false } else { begin(entry) }
            for one in waiting {
                if let good = good(entry, unless: one.refused) { one.done(.have(good)) }
            }
        }
    }

    private func know(_ entry: Entry, _ row: StoredCredentials?, _ asked: Instant) {
        entry.generation = row?.generation ?? 0
        entry.kept = nil
        guard let row, let key = here.configuration.masterKey,
            let opened = row.sealed.open(as: entry.owner, generation: row.generation, lifetime: row.lastsFor, key)
        else { return }
        entry.kept = (opened, asked + row.lastsFor)
    }

    private func begin(_ entry: Entry) {
        guard let refresh = entry.account.refresh(entry.kept?.credentials) else {
            here.log.error(
                "a carrier asks for credentials and does not say how they are got",
                metadata: entry.settings.logged(["carrier": "\(entry.settings.carrier)"])
            )
            return answer(entry) { _ in .none }
        }
        let sent = here.now
        let request = RefreshRequest(
            lane: entry.settings.lane,
            generation: entry.generation,
            owner: shards.owner,
            lease: here.timing.lease
        )
        ledger.beginRefresh(request) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(.begun): ask(entry, refresh, begun: sent)
            case .success(.behind): read(entry)
            case .success(.unheard(let word)):
                here.unheard(word, of: "begin_refresh")
                answer(entry) { _ in .none }
            case .success(.lost), .success(.busy), .failure: answer(entry) { _ in .none }
            }
        }
    }

    private func ask(_ entry: Entry, _ refresh: CredentialRefresh, begun: Instant) {
        guard caller.canCall, !here.isStopped else { return gaveNothing(entry, .none) }
        var request = HTTPRequest(refresh.call)
        request.connectTimeout = here.timing.connectTimeout
        request.totalTimeout = here.timing.callTimeout
        caller.call(request, of: entry.settings) { [weak self] in
            self?.mayLeave(entry.settings, begun) ?? false
        } done: { [weak self] result in
            guard let self else { return }
            switch refresh.read(CallResult(result), here.loop.wallTime) {
            case .renewed(let credentials): keep(credentials, entry)
            case .refused: gaveNothing(entry, .refused)
            case .failed: gaveNothing(entry, .none)
            }
        }
    }

    /// Right before the bytes leave: nobody else asks, and the lane may be called at all.
    private func mayLeave(_ settings: LaneSettings, _ begun: Instant) -> Bool {
        let now = here.now
        guard begun + here.timing.lease - now > here.timing.callTimeout + here.timing.leaseMargin,
            membership.mayAct(at: now), !settings.isOnHold(at: now), !origins.isBroken(settings)
        else { return false }
        here.reached(.asked)
        return true
    }

    // MARK: What came

    /// The next one may ask. Whoever was refused although another generation is in force by now has asked with an old one.
    private func gaveNothing(_ entry: Entry, _ word: Answer) {
        let end = RefreshEnd(lane: entry.settings.lane, generation: entry.generation, renewed: nil)
        ledger.endRefresh(end, by: here.boot) { [weak self] result in
            guard let self else { return }
            if case .success(false) = result { return read(entry) }
            if case .refused = word {
                here.log.warning(
                    "credentials refused",
                    metadata: entry.settings.logged(["advice": "give it a new secret"])
                )
            }
            answer(entry) { _ in word }
        }
    }

    private func keep(_ credentials: LaneCredentials, _ entry: Entry) {
        let came = here.now
        guard let key = here.configuration.masterKey,
            let sealed = try? SealedCredentials(
                credentials,
                of: entry.owner,
                generation: entry.generation + 1,
                key
            )
        else { return gaveNothing(entry, .none) }
        let end = RefreshEnd(
            lane: entry.settings.lane,
            generation: entry.generation,
            renewed: sealed,
            lastsFor: credentials.lifetime
        )
        entry.unwritten = (end, credentials, came)
        unwritten.append(entry)
        write(entry)
    }

    /// Until it is committed: what they were asked for with may be worth nothing any more.
    private func write(_ entry: Entry) {
        guard let (end, credentials, came) = entry.unwritten, !here.isStopped else { return }
        func again() {
            // Nobody's lease waits for it.
            answer(entry) { _ in .none }
            here.loop.after(.milliseconds(200)) { [weak self] in self?.write(entry) }
        }
        guard ledger.isConnected else { return again() }
        ledger.endRefresh(end, by: here.boot) { [weak self] result in
            guard let self else { return }
            guard case .success(let isKept) = result else { return again() }
            entry.unwritten = nil
            unwritten.removeAll { $0 === entry }
            // Somebody was faster; or we were, and never heard of it.
            guard isKept else { return read(entry) }
            here.reached(.refreshed)
            entry.generation = end.generation + 1
            entry.kept = (credentials, came + credentials.lifetime)
            answer(entry) { $0 == credentials.credentials ? .none : .have(credentials.credentials) }
        }
    }
}
