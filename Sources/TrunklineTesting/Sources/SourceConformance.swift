package import TrunklineCore

/// What every source must do, whoever its sender is: each rule of the port that a test can hold it to. A source of the registry
/// that breaks one takes what nobody sent, loses or doubles what somebody did, or shows a secret.
package struct SourceConformance: Sendable {
    package enum Rule: String, Sendable, Hashable, CaseIterable {
        /// What the sender signed is accepted, with either secret of a rotation.
        case acceptsItsSender
        /// What was signed with another secret is refused.
        case refusesAnotherSecret
        /// A body of which one bit was changed is refused, where the bytes are signed.
        case refusesChangedBytes
        /// A proof that is missing, there twice, cut, or in another encoding is refused.
        case refusesWithoutProof
        /// A signed time outside the window is refused, in the past and in the future.
        case refusesOtherTimes
        /// No event is answered as if it were a handshake.
        case keepsEventsFromHandshakes
        /// The same event has the same key, also after it was stored; other events have others.
        case namesEventsTheSame
        /// What a sender sends again is the same event to the byte, whatever it counts up at each try: else it is a conflict.
        case knowsATryAgain
        /// A reading depends on the stored event alone, and is the one that the sample expects.
        case readsTheSame
        /// Ids come through digit by digit.
        case keepsIDs
        /// Facts have keys that are keys, and no two facts of an event have the same.
        case givesEachFactAKey
        /// Bytes that nobody sends are refused or ignored: no trap, no key that is too long.
        case survivesAnyBytes
        /// A name that is there twice is not read as either.
        case refusesNamesGivenTwice
        /// A setting that nobody knows is refused.
        case refusesUnknownSettings
        /// No description, dump, refusal or stored event holds a secret.
        case showsNoSecret
        /// What was stored is answered with 2xx, what was refused with 4xx.
        case answersAsSendersExpect
    }

    package struct Violation: Sendable, Hashable, CustomStringConvertible {
        package let rule: Rule
        package let detail: String
        package var description: String { "\(rule.rawValue): \(detail)" }
    }

    /// One event, as its sender writes it.
    package struct Fixture: Sendable {
        package enum Expected: Sendable, Hashable {
            /// The words of the facts, in their order: `order paid`.
            case facts([String])
            case fetch(String)
            case ignored(IgnoredEvent)
            case refused(PolicyAsk)
        }

        package let headers: [ReceivedRequest.Header]
        package let body: [UInt8]
        let expected: [Expected]
        let id: String?
        let again: [UInt8]?

        /// - Parameters:
        ///   - expected: of each event that the request is taken apart into.
        ///   - id: which the first fact or the record to fetch has.
        ///   - again: the body of a second try, where its sender writes another.
        package init(
            headers: [ReceivedRequest.Header] = [("Content-Type", "application/json")],
            _ body: String,
            expects expected: Expected...,
            id: String? = nil,
            again: String? = nil
        ) {
            self.headers = headers
            self.body = Array(body.utf8)
            self.expected = expected
            self.id = id
            self.again = again.map { Array($0.utf8) }
        }

        private init(trying fixture: Fixture, _ body: [UInt8]) {
            headers = fixture.headers
            self.body = body
            expected = fixture.expected
            id = fixture.id
            again = nil
        }

        /// The second try.
        var secondTry: Fixture? { again.map { Fixture(trying: self, $0) } }
    }

    /// What proves the sender.
    package enum Proof: Sendable, Hashable {
        /// A signature over the body in that header (lower case); whether a time is signed along.
        case signature(header: String, isTimed: Bool)
        /// A secret in that header.
        case token(header: String)
        /// A secret in the body.
        case inBody
        /// Only the address.
        case none
    }

    /// What the suite must know of a source to try it.
    package struct Sample: Sendable {
        package typealias Sign = @Sendable (_ fixture: Fixture, _ secret: String, _ time: Timestamp) -> ReceivedRequest

        let secret: String
        let otherSecret: String
        let settings: [String: String]
        let proof: Proof
        let fixtures: [Fixture]
        package let sign: Sign

        /// - Parameter sign: the request that a sender with that secret makes at that time.
        package init(
            secret: String,
            otherSecret: String,
            settings: [String: String] = [:],
            proof: Proof,
            _ fixtures: [Fixture],
            sign: @escaping Sign
        ) {
            self.secret = secret
            self.otherSecret = otherSecret
            self.settings = settings
            self.proof = proof
            self.fixtures = fixtures
            self.sign = sign
        }
    }

    /// When everything is signed and received: 2026-12-01T18:00:00Z.
    package static let now = Timestamp(microseconds: 1_796_148_000_000_000)

    let source: any Source
    let sample: Sample

    package init(_ source: any Source, _ sample: Sample) {
        self.source = source
        self.sample = sample
    }

    /// Every rule that the source breaks, each with one example.
    ///
    /// - Parameter seed: decides where bytes are changed.
    package func violations(seed: UInt64) throws -> [Violation] {
        var found: [Rule: String] = [:]
        func broken(_ rule: Rule, _ detail: String) {
            if found[rule] == nil { found[rule] = detail }
        }
        let account = try account(sample.secret)
        try checkProof(account, seed: seed, broken)
        checkAnswers(account, broken)
        try checkReadings(account, broken)
        checkAnyBytes(account, seed: seed, broken)
        try checkSecrets(account, broken)
        return Rule.allCases.compactMap { rule in found[rule].map { Violation(rule: rule, detail: $0) } }
    }

    typealias Report = (Rule, String) -> Void

    func account(_ secret: String) throws(Refusal) -> SourceAccount {
        try source.account(secret: Array(secret.utf8), settings: sample.settings)
    }

    // MARK: Readings

    private func checkReadings(_ account: SourceAccount, _ broken: Report) throws {
        var keys: [EventKey: String] = [:]
        for (index, fixture) in sample.fixtures.enumerated() {
            let request = sample.sign(fixture, sample.secret, Self.now)
            let events = source.events(in: request, account, now: Self.now)
            if events.count != fixture.expected.count {
                broken(.readsTheSame, "fixture \(index): \(events.count) events, not \(fixture.expected.count)")
            }
            checkTry(fixture, events, account, "fixture \(index)", broken)
            let again = source.events(in: request, account, now: Self.now)
            for (number, event) in events.enumerated() {
                let place = "fixture \(index), event \(number)"
                let key = source.eventKey(of: event)
                let stored = ReceivedEvent(try Self.stored(event))
                if key.value.isEmpty || source.eventKey(of: stored) != key
                    || number < again.count && source.eventKey(of: again[number]) != key
                {
                    broken(.namesEventsTheSame, "\(place): it has another key at the second look")
                }
                if let other = keys.updateValue(place, forKey: key) {
                    broken(.namesEventsTheSame, "\(place) has the key of \(other)")
                }
                do throws(Refusal) {
                    let reading = try source.read(event, account.settings)
                    if try source.read(stored, account.settings) != reading {
                        broken(.readsTheSame, "\(place): another reading of the stored event")
                    }
                    let expected = number < fixture.expected.count ? fixture.expected[number] : nil
                    if Self.shape(of: reading) != expected {
                        broken(
                            .readsTheSame,
                            "\(place): \(Self.shape(of: reading)), not \(expected.map { "\($0)" } ?? "-")"
                        )
                    }
                    if number == 0, let id = fixture.id, Self.id(of: reading) != id { broken(.keepsIDs, place) }
                    checkKeys(reading, place, broken)
                } catch {
                    broken(.readsTheSame, "\(place) is refused: \(error)")
                }
            }
            if fixture.body.first == 0x7B { try checkDoubled(fixture, account, "fixture \(index)", broken) }
        }
    }

    private func checkTry(
        _ fixture: Fixture,
        _ first: [ReceivedEvent],
        _ account: SourceAccount,
        _ place: String,
        _ broken: Report
    ) {
        guard let again = fixture.secondTry else { return }
        let request = sample.sign(again, sample.secret, Self.now + .seconds(30))
        let second = source.events(in: request, account, now: Self.now + .seconds(30))
        let isSame =
            second.count == first.count
            && zip(first, second).allSatisfy {
                source.eventKey(of: $0) == source.eventKey(of: $1) && $0.body == $1.body
            }
        if !isSame { broken(.knowsATryAgain, place) }
    }

    /// Out to the queue and back.
    private static func stored(_ event: ReceivedEvent) throws(Refusal) -> WebhookJob {
        let job = try WebhookJob(
            source: SourceID("acme"),
            headers: event.headers,
            body: event.body,
            receivedAt: event.receivedAt
        )
        return try WebhookJob.decode(json: job.encode())
    }

    private static func shape(of reading: SourceReading) -> Fixture.Expected {
        switch reading {
        case .facts(let facts): .facts(facts.map(\.description))
        case .fetch(let record): .fetch(record.type)
        case .ignored(let reason): .ignored(reason)
        case .refused(let ask): .refused(ask)
        }
    }

    private static func id(of reading: SourceReading) -> String? {
        switch reading {
        case .facts(let facts): facts.first?.record.id
        case .fetch(let record): record.id
        case .ignored, .refused: nil
        }
    }

    private func checkKeys(_ reading: SourceReading, _ place: String, _ broken: Report) {
        guard case .facts(let facts) = reading else { return }
        var seen: Set<IdempotencyKey> = []
        do throws(Refusal) {
            let acme = try SourceID("acme")
            for fact in facts {
                guard let key = try fact.key(from: acme) else { continue }
                if !seen.insert(key).inserted { broken(.givesEachFactAKey, "\(place): two facts with one key") }
            }
        } catch {
            broken(.givesEachFactAKey, "\(place): \(error)")
        }
    }

    private func checkDoubled(_ fixture: Fixture, _ account: SourceAccount, _ place: String, _ broken: Report) throws {
        guard case .object(let members) = try JSONValue(parsing: fixture.body, maximumDepth: 64),
            let first = members.first
        else { return }
        let body = Array("{\"\(first.name)\":null,".utf8) + fixture.body.drop { $0 != 0x7B }.dropFirst()
        let doubled = ReceivedRequest(url: Self.url, headers: fixture.headers, body: body)
        for event in source.events(in: doubled, account, now: Self.now) {
            guard let reading = try? source.read(event, account.settings) else { continue }
            if case .facts = reading { broken(.refusesNamesGivenTwice, place) }
            if case .fetch = reading { broken(.refusesNamesGivenTwice, place) }
        }
    }

    static let url = "https://hooks.example.com/in/t_0123456789abcdef"

    // MARK: Answers and secrets

    private func checkAnswers(_ account: SourceAccount, _ broken: Report) {
        if !(200...299).contains(source.accepted.status) {
            broken(.answersAsSendersExpect, "accepted with \(source.accepted.status)")
        }
        for reason in SourceRefusal.Reason.allCases {
            let status = source.answer(to: SourceRefusal(reason)).status
            if !(400...499).contains(status) { broken(.answersAsSendersExpect, "\(reason) with \(status)") }
        }
        for (index, fixture) in sample.fixtures.enumerated()
        where source.handshake(sample.sign(fixture, sample.secret, Self.now), account) != nil {
            broken(.keepsEventsFromHandshakes, "fixture \(index)")
        }
        let unknown = sample.settings.merging(["no_such_setting": "x"]) { $1 }
        if (try? source.account(secret: Array(sample.secret.utf8), settings: unknown)) != nil {
            broken(.refusesUnknownSettings, "no_such_setting")
        }
    }

    private func checkSecrets(_ account: SourceAccount, _ broken: Report) throws {
        let secrets = sample.secret.split(separator: "\n").map(String.init).filter { !$0.isEmpty }
        func check(_ text: String, _ what: String) {
            for secret in secrets where text.contains(secret) { broken(.showsNoSecret, what) }
        }
        var dumped = ""
        dump(account, to: &dumped)
        check("\(account) \(account.secrets) \(account.secrets.hint ?? "") \(dumped)", "the account's description")
        for fixture in sample.fixtures {
            let request = sample.sign(fixture, sample.secret, Self.now)
            check("\(request)", "the request's description")
            for event in source.events(in: request, account, now: Self.now) {
                check(event.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n"), "a stored header")
                check(String(decoding: event.body, as: UTF8.self), "a stored body")
                check(source.eventKey(of: event).value, "an event's key")
            }
        }
        guard let secret = secrets.first else { return }
        for wrong in [secret + "\n" + secret, secret + "\n" + secret + "x\n" + secret + "y", secret + "\u{7}"] {
            do throws(Refusal) {
                _ = try self.account(wrong)
                broken(.showsNoSecret, "a secret that is none was accepted")
            } catch {
                check("\(error)", "a refusal")
            }
        }
    }
}
