internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklinePhones

/// Accepts for callers with API keys: what stands between a route and the desk.
struct Accepting: Sendable {
    /// A job that is in.
    struct Accepted: Sendable, Hashable {
        /// Nil while only the broker has it.
        let id: JobID?
        let key: IdempotencyKey
        /// Where it is: where its first request put it.
        let lane: LaneName
        /// An earlier request brought it in.
        let isReplay: Bool
        /// Habits of the caller that make a retry another notice.
        var warnings: [CallerLint.Rule] = []
    }

    enum Verdict: Sendable, Hashable {
        case accepted(Accepted)
        case refused(Problem)
    }

    let desk: SharedDesk
    let directory: Directory
    let operators: OperatorPool
    let carriers: CarrierRegistry
    let lint: LintNotebook
    let now: @Sendable () -> Timestamp

    /// Accepts one job. Throws a ``Problem``.
    func accept(_ work: CarriedWork, bytes: Int, for caller: APIKey) async throws -> Accepted {
        switch try await accept([.success(work)], bytes: bytes, for: caller)[0] {
        case .accepted(let accepted): return accepted
        case .refused(let problem): throw problem
        }
    }

    /// Accepts jobs, in order, and gives one verdict for each in the same order. Throws a ``Problem`` when nothing was taken.
    func accept(
        _ items: [Result<CarriedWork, Problem>],
        bytes: Int,
        for caller: APIKey
    ) async throws -> [Verdict] {
        var verdicts: [Verdict?] = []
        var given: [CarriedWork] = []
        for item in items {
            do {
                let work = try item.get()
                if let first = try await check(work, for: caller) {
                    verdicts.append(.accepted(first))
                } else {
                    given.append(work)
                    verdicts.append(nil)
                }
            } catch let problem as Problem {
                verdicts.append(.refused(problem))
            }
        }
        let answers: [AcceptVerdict]
        do {
            answers = try await desk.accept(given, bytes: bytes)
        } catch {
            throw Problem(.overloaded, "more arrives than can be accepted; nothing of this was", retryAfter: 1)
        }
        var rest = zip(given, answers).makeIterator()
        var all: [Verdict] = []
        for verdict in verdicts {
            if let verdict {
                all.append(verdict)
            } else if let (work, answer) = rest.next() {
                all.append(try await self.verdict(answer, work, caller))
            }
        }
        return all
    }

    /// Whether a job may be given to the desk: throws a ``Problem`` when not, and says what the first request was answered
    /// where only that still counts.
    private func check(_ work: CarriedWork, for caller: APIKey) async throws -> Accepted? {
        let lane = try directory.lane(work.lane, of: caller)
        try Self.checkBinding(work, caller)
        if lane.isRemoved {
            return try await earlier(work, caller, or: Problem.unknown(work.lane))
        }
        do throws(Refusal) {
            try PhoneNumbers.check(work)
            try work.validate(now: now())
            // What the broker has is rendered by a worker, and what cannot be rendered would be refused behind our back.
            if desk.troubles.database != nil { _ = try carriers[lane.carrier]?.render(work) }
        } catch {
            guard error.kind == .late else { throw Problem(error) }
            return try await earlier(work, caller, or: Problem(error))
        }
        return nil
    }

    /// A key that is bound to a line or a purpose is for nothing else.
    private static func checkBinding(_ work: CarriedWork, _ caller: APIKey) throws {
        guard let binding = caller.binding else { return }
        guard work.lane == .line(binding.line) else {
            throw Problem(.forbidden, "this key is for the line \(binding.line) only", field: work.lane.noun)
        }
        if case .send(let job) = work, job.purpose != binding.purpose {
            throw Problem(.forbidden, "this key is for the purpose \(binding.purpose.rawValue) only", field: "purpose")
        }
    }

    private func verdict(_ answer: AcceptVerdict, _ work: CarriedWork, _ caller: APIKey) async throws -> Verdict {
        switch answer {
        case .new(let id):
            let warnings = lint.note(work, caller: caller.id.value, now: now())
            return .accepted(
                Accepted(id: id, key: work.key, lane: work.lane, isReplay: false, warnings: warnings)
            )
        case .repeat(let id, let lane, _):
            return .accepted(Accepted(id: id, key: work.key, lane: lane ?? work.lane, isReplay: true))
        case .confirmed: return .accepted(Accepted(id: nil, key: work.key, lane: work.lane, isReplay: false))
        case .conflict(let id, let lane, let contents): return .refused(Self.conflict(work, id, lane, contents))
        case .unknownLane: return .refused(.unknown(work.lane))
        case .removedLane:
            do {
                return .accepted(try await earlier(work, caller, or: .unknown(work.lane)))
            } catch let problem as Problem {
                return .refused(problem)
            }
        case .refused(let refusal): return .refused(Problem(refusal))
        case .notSent(let reason): return .refused(.away("it was not taken: \(reason); the same request again is safe"))
        case .unroutable, .rejected, .unknown:
            return .refused(.away("neither the database nor the broker takes it; the same request again is safe"))
        }
    }

    // MARK: What is known of a key

    /// What the first request with the same key and content was answered; throws `problem` when there was none.
    private func earlier(_ work: CarriedWork, _ caller: APIKey, or problem: Problem) async throws -> Accepted {
        if desk.troubles.database != nil {
            throw Problem.away("whether this was accepted before can only be told by the database, which is away")
        }
        guard let known = try await known(work, caller) else { throw problem }
        guard known.contentDigest == work.contentDigest else {
            let contents = AcceptVerdict.Contents(stored: known.contentDigest, given: work.contentDigest)
            throw Self.conflict(work, known.job, known.lane, contents)
        }
        return Accepted(id: known.job, key: work.key, lane: known.lane ?? work.lane, isReplay: true)
    }

    private func known(_ work: CarriedWork, _ caller: APIKey) async throws -> KnownKey? {
        try await operators.with { try await $0.known(work.key, of: work.owner(in: caller.workspace)) }
    }

    private static func conflict(
        _ work: CarriedWork,
        _ job: JobID,
        _ lane: LaneName?,
        _ contents: AcceptVerdict.Contents
    ) -> Problem {
        var problem = Problem(
            .keyConflict,
            "the key \(work.key) is another \(work.noun) already; the same key must come with the same content",
            field: "key"
        )
        problem.more = contents.members + [JSONValue.Member("job", .string(job.description))]
        if let lane { problem.more.append(JSONValue.Member(lane.noun, .string(lane.id))) }
        return problem
    }
}

extension AcceptVerdict.Contents {
    /// As members of a problem.
    var members: [JSONValue.Member] {
        [
            JSONValue.Member("storedContent", .string(stored)), JSONValue.Member("givenContent", .string(given)),
        ]
    }
}

extension CarriedWork {
    /// Within what its key is unique.
    func owner(in workspace: WorkspaceID) -> KeyOwner {
        switch self {
        case .send: .workspace(workspace)
        case .deliver(let job): .destination(job.destination)
        }
    }
}

extension Accepting.Accepted {
    /// Verified, or only confirmed by the broker.
    var state: String { id == nil ? "queued_unverified" : "accepted" }

    /// Where its story is told; nil for a delivery that has no number yet: keys there are those of notices.
    var location: String? {
        if id == nil, lane.destination != nil { return nil }
        return "/v1/messages/" + (id?.description ?? key.value)
    }

    /// The same in every answer to the same request, for ever: nothing in it changes with time.
    func write(to json: inout JSONWriter) {
        json.member("id", id?.description)
        json.member("key", key.value)
        json.member(lane.noun, lane.id)
        json.member("state", state)
    }

    var answer: Answer {
        var answer = Answer.json(202) { write(to: &$0) }
        if let location { answer.headers.append(Answer.Header(.location, location)) }
        answer.headers += headers
        return answer
    }

    /// What is said beside the message.
    var headers: [Answer.Header] {
        var headers: [Answer.Header] = []
        if isReplay { headers.append(Answer.Header(.idempotencyReplayed, "true")) }
        if !warnings.isEmpty {
            headers.append(Answer.Header(.trunklineWarning, warnings.map(\.rawValue).joined(separator: ", ")))
        }
        return headers
    }
}
