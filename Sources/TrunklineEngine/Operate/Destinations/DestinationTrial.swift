package import TrunklineCore

/// What a destination said to one test event, which is no job: nothing of it is recorded, and nothing is tried again.
package struct DestinationTrial: Sendable {
    /// Whether the destination took it.
    package let isTaken: Bool
    /// Of its answer; nil when none came.
    package let status: Int?
    /// Why it was not taken.
    package let reason: Reason?
    /// What a person would do about it; nil when nothing is to be done.
    package let advice: String?

    /// The type of the event, by which a receiver can tell it from a real one.
    package static let eventType = "trunkline.test"

    package var sentence: String {
        let answer = status.map { " (status \($0))" } ?? ""
        if isTaken { return "took a test event\(answer)" }
        // What else the reason says is about events that matter.
        let words = reason.map { JobStory.words(forReason: $0.rawValue).prefix { $0 != ";" } } ?? "no answer"
        return "did not take a test event: \(words)\(answer)"
    }
}

extension Operator {
    /// Delivers one test event, at once and beside the queue, whatever the destination's gate or hold. Throws when its secret
    /// cannot be opened.
    ///
    /// - Parameters:
    ///   - ownFiles: paths of the program's own secrets, which no reference may name.
    ///   - certificateAuthorities: a PEM file of authorities to trust instead of the system's.
    ///   - now: the time that the event and its signature bear.
    package func tryDestination(
        _ id: DestinationID,
        carriers: CarrierRegistry,
        masterKey: MasterKey?,
        ownFiles: Set<String>,
        certificateAuthorities: String?,
        at now: Timestamp
    ) async throws -> DestinationTrial {
        let name = LaneName.destination(id)
        let record = try await lane(name)
        guard let carrier = carriers[record.carrier] else {
            throw LaneError.kindUnknownHere(name, kind: record.carrier)
        }
        let (address, secret) = try await access(toLane: name, masterKey: masterKey, ownFiles: ownFiles)
        let account = try carrier.account(
            at: carrier.address(address, mayBePrivate: record.mayBePrivate),
            secret: secret
        )
        let event = try DeliverJob(
            destination: id,
            // Another one each time: a receiver that knows the last one would say nothing of itself.
            key: IdempotencyKey("test:\(String(UInt64.random(in: 0...UInt64.max), radix: 36))"),
            type: DestinationTrial.eventType,
            happenedAt: now,
            data: .object([
                .init("destination", .string(id.value)),
                .init("message", .string("A test event. Nothing has happened.")),
            ])
        )
        let attempt = CarriedAttempt(
            key: event.key,
            request: try carrier.render(.deliver(event)),
            number: 1,
            isStamped: false
        )
        return await Self.exchange(account, attempt, certificateAuthorities, at: now)
    }

    private static func exchange(
        _ account: any CarrierAccount,
        _ attempt: CarriedAttempt,
        _ certificateAuthorities: String?,
        at now: Timestamp
    ) async -> DestinationTrial {
        var exchange = account.exchange(attempt)
        var event = ExchangeEvent.begin(at: now)
        var last: CallResult?
        for _ in 0..<ExchangeLimits.longest {
            switch exchange.next(event) {
            case .call(let call, _):
                let result = await SingleCall.make(call, certificateAuthorities: certificateAuthorities)
                last = result
                event = .called(result, at: now)
            case .askHealth: event = .health(.keepLast(reason: .unreachable))
            case .needsCredentials: event = .credentials(nil)
            case .done(let outcome, let evidence):
                var isTaken = false
                if case .sent = outcome { isTaken = true }
                return DestinationTrial(
                    isTaken: isTaken,
                    status: evidence?.status,
                    reason: outcome.reason,
                    advice: last.flatMap { account.advice(on: $0) }
                )
            }
        }
        return DestinationTrial(isTaken: false, status: nil, reason: .unexpectedStatus, advice: nil)
    }
}
