package import TrunklineCore

extension EZWhatsApp {
    /// What the answer to a send means. Decided on the status alone; the body only yields an id.
    ///
    /// - Parameters:
    ///   - body: at most 64 KiB are looked into; may be cut, empty or HTML.
    ///   - retryAfter: the raw `Retry-After` header.
    ///   - now: the time of the answer, for a `Retry-After` that is a date.
    ///   - stamped: whether an earlier attempt of this job may have sent.
    ///   - attempt: the number of this one.
    package static func outcome(
        status: Int,
        body: [UInt8],
        retryAfter: String? = nil,
        now: Timestamp,
        stamped: Bool,
        attempt: Int32
    ) -> Outcome {
        switch status {
        case 200, 201, 202:
            return .sent(remoteID: remoteID(in: body), note: nil)
        case 203...299:
            return .sent(remoteID: remoteID(in: body), note: "accepted with the unusual status \(status)")
        case 300...399:
            return .park(reason: .redirected)
        case 400, 413, 415, 422:
            return .park(reason: .messageRefused)
        case 401:
            return .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human))
        case 402, 403:
            return .laneUnhealthy(reason: .lineRefused, trouble: .hold(.human))
        case 404, 405, 410:
            return .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.human))
        case 408:
            return .unknown(reason: .serverTimeout)
        case 409:
            guard stamped else { return .recheckHealth(reason: .conflict) }
            // A person may have the message, or the API is still at work on our own earlier call. The same key with the same
            // bytes tells, a little later; what goes on saying no is for a person.
            return attempt < conflictAttempts ? .unknown(reason: .conflict) : .park(reason: .conflict)
        case 423:
            return .laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient))
        case 425:
            return .unknown(reason: .tooEarly)
        case 429:
            let pause = RetryAfter.pause(retryAfter, now: now)
            return .laneUnhealthy(reason: .slowDown, trouble: .pause(for: pause))
        case 400...499:
            return .park(reason: .unexpectedStatus)
        case 500...599:
            return .unknown(reason: .serverError)
        default:
            // 1xx is no final answer, and nothing above 599 is HTTP: it tells nothing about the message.
            return .unknown(reason: .unexpectedStatus)
        }
    }

    /// The attempt of a job that may have been sent from which on a 409 parks it: some two minutes after the first.
    package static let conflictAttempts: Int32 = 7

    /// What a 409 means once the line's health is known: of a line that is not sendable, the line's state; else a conflict
    /// of the key, for a person. Where health gives no answer, the line is held and the job stays as it is.
    package static func outcome(ofConflict health: HealthVerdict) -> Outcome {
        switch health {
        case .open: .park(reason: .conflict)
        case .held(let kind, _, _): .laneUnhealthy(reason: .conflict, trouble: .hold(kind))
        case .keepLast: .laneUnhealthy(reason: .conflict, trouble: .hold(.transient))
        }
    }

    /// What is kept of an answer: the status and 2 KiB of the body, in which the token cannot be, even when the answer
    /// repeats the request's headers.
    package static func evidence(status: Int?, body: [UInt8], failure: String? = nil, token: Token) -> Evidence {
        Evidence(status: status, body: body, failure: failure, hiding: [.init(token.value.utf8, as: "[token]")])
    }

    // MARK: The id in the answer

    private static let idNames: [StaticString] = [
        "attemptId", "sendAttemptId", "queuedId", "messageId", "message_id", "id",
    ]
    private static let wrappers: [StaticString] = ["message", "data", "attempt"]

    /// The first id found: the known names at the top, then inside `message`, `data` and `attempt`; a number becomes text.
    /// Nil for anything that holds none. A body that breaks off still gives the ids before the break.
    package static func remoteID(in body: [UInt8]) -> String? {
        var best: (rank: Int, id: String)?
        var reader = JSONReader(body.count > maximumAnswerBytes ? Array(body.prefix(maximumAnswerBytes)) : body)
        // The status has already decided; an unreadable body is only a missing id.
        do throws(JSONError) {
            try readIDs(&reader, base: 0, isTop: true, &best)
        } catch {
            return best?.id
        }
        return best?.id
    }

    private static func readIDs(
        _ reader: inout JSONReader,
        base: Int,
        isTop: Bool,
        _ best: inout (rank: Int, id: String)?
    ) throws(JSONError) {
        guard try reader.peek() == .object else { return }
        try reader.beginObject()
        var first = true
        while let name = try reader.nextName(first: &first) {
            let kind = try reader.peek()
            if let index = idNames.firstIndex(where: { reader.name(name, is: $0) }), kind == .string || kind == .number
            {
                let text = kind == .string ? try reader.string() : try reader.number()
                let rank = base + index
                if isUsable(text), rank < best?.rank ?? .max { best = (rank, text) }
            } else if isTop, kind == .object, let index = wrappers.firstIndex(where: { reader.name(name, is: $0) }) {
                try readIDs(&reader, base: (index + 1) * idNames.count, isTop: false, &best)
            } else {
                try reader.skip()
            }
        }
    }

    /// An id is opaque but not a document: 1 to 256 bytes without control characters.
    private static func isUsable(_ id: String) -> Bool {
        (1...256).contains(id.utf8.count) && id.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
