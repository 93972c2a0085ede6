internal import TestKit
internal import TrunklineCore

extension CarrierConformance {
    /// How an exchange went.
    private struct Course {
        /// Of the calls that may take effect.
        var effects: [CallResult] = []
        /// Whether a call that takes no effect has said something: that it is there already.
        var hasFound = false
        /// Whether the first of all calls is one; nil: there was none.
        var firstMayTakeEffect: Bool?
        var steps = 0
        var ending: (outcome: Outcome, evidence: Evidence?)?
    }

    /// What the other side and the engine answer, step by step.
    private struct Replies {
        let name: String
        let result: () -> CallResult
        let health: () -> HealthVerdict
        let credentials: () -> Credentials?
    }

    func checkExchanges(seed: UInt64, _ broken: Report) throws {
        guard let work = Self.works(of: sample.role).first, let request = try? carrier.render(work) else { return }
        let key = try IdempotencyKey("order:acme.1042:ready")
        for mayBePrivate in [false, true] {
            let account = try account(mayBePrivate: mayBePrivate)
            for isStamped in [false, true] {
                for number in [1, 2, 7, 20, .max] as [Int32] {
                    let attempt = CarriedAttempt(key: key, request: request, number: number, isStamped: isStamped)
                    checkShown(Self.appearances(of: account.exchange(attempt)), "exchange", broken)
                    // Every status for early and late attempts; the rest is left to the dice.
                    for replies in mayBePrivate || ![1, 7].contains(number) ? [] : uniform() {
                        let course = course(of: account, attempt, replies, looks: false, broken)
                        check(course, replies.name, broken)
                    }
                    for replies in mixed(seed: seed &+ UInt64(number) &+ (isStamped ? 1 << 40 : 0)) {
                        check(course(of: account, attempt, replies, looks: true, broken), replies.name, broken)
                    }
                }
            }
        }
    }

    // MARK: Replies

    private static let verdicts: [HealthVerdict] = [
        .open(note: nil), .open(note: "odd"), .held(.transient, reason: .lineNotSendable, detail: nil),
        .held(.human, reason: .lineNeedsPerson, detail: nil), .keepLast(reason: .timedOut),
        .keepLast(reason: .localShortage),
    ]

    private static let causes: [OutsideFailure.Cause] = [
        .refused, .withdrawn, .shortage, .unresolved, .unreachable, .untrusted, .timedOut, .broken,
    ]

    private static func failures(telling text: String) -> [OutsideFailure] {
        causes.flatMap { cause in
            [(true, nil), (true, 202), (true, 500), (false, nil)].map { (mayHaveLeft: Bool, status: Int?) in
                OutsideFailure(cause: cause, mayHaveLeft: mayHaveLeft, status: status, reason: "why \(text)")
            }
        }
    }

    /// Bodies that repeat what nobody may keep, also where a cut goes through it.
    private var bodies: [[UInt8]] {
        let secrets = sample.mustNotShow.joined(separator: " ")
        let page = "<html>\(String(repeating: "x", count: 2_030))\(secrets)"
        return ["", "{}", "{\"error\":\"\(secrets)\"}", page].map { Array($0.utf8) }
    }

    /// The same reply to every step: each status and each failure.
    private func uniform() -> [Replies] {
        let bodies = bodies
        var all: [Replies] = []
        for status in 100...999 {
            let answer = OutsideAnswer(
                status: status,
                body: bodies[status % bodies.count],
                headers: status % 2 == 0 ? [] : [.init("Retry-After", "soon")]
            )
            let verdict = Self.verdicts[status % Self.verdicts.count]
            let credentials = status % 3 == 0 ? nil : Credentials(accessToken: "access")
            all.append(
                Replies(
                    name: "status \(status)",
                    result: { .success(answer) },
                    health: { verdict },
                    credentials: { credentials }
                )
            )
        }
        for failure in Self.failures(telling: sample.mustNotShow.joined(separator: " ")) {
            for verdict in Self.verdicts {
                all.append(
                    Replies(
                        name: "\(failure.cause), may have left \(failure.mayHaveLeft)",
                        result: { .failure(failure) },
                        health: { verdict },
                        credentials: { nil }
                    )
                )
            }
        }
        return all
    }

    /// Sequences in which one step has this reply and the next another.
    private func mixed(seed: UInt64) -> [Replies] {
        final class Dice {
            var random: SeededGenerator
            init(_ seed: UInt64) { random = SeededGenerator(seed: seed) }
        }
        let bodies = bodies
        let failures = Self.failures(telling: "")
        let likely = [200, 201, 202, 204, 400, 401, 403, 404, 408, 409, 410, 422, 423, 425, 429, 500, 502, 503, 504]
        return (0..<50).map { index in
            let dice = Dice(seed &* 1_000 &+ UInt64(index))
            return Replies(
                name: "seed \(seed), sequence \(index)",
                result: {
                    if Int.random(in: 0..<4, using: &dice.random) == 0 {
                        return .failure(failures.randomElement(using: &dice.random)!)
                    }
                    return .success(
                        OutsideAnswer(
                            status: likely.randomElement(using: &dice.random)!,
                            body: bodies.randomElement(using: &dice.random)!
                        )
                    )
                },
                health: { Self.verdicts.randomElement(using: &dice.random)! },
                credentials: {
                    Bool.random(using: &dice.random) ? nil : Credentials(accessToken: "access")
                }
            )
        }
    }

    // MARK: One exchange

    private func course(
        of account: any CarrierAccount,
        _ attempt: CarriedAttempt,
        _ replies: Replies,
        looks: Bool,
        _ broken: Report
    ) -> Course {
        let now = Timestamp(microseconds: 1_796_148_000_000_000)
        var course = Course()
        var exchange = account.exchange(attempt)
        var event = ExchangeEvent.begin(at: now)
        while course.steps < ExchangeLimits.longest {
            course.steps += 1
            switch exchange.next(event) {
            case .call(let call, let mayTakeEffect):
                check(call, of: account, looks: looks, broken)
                let result = replies.result()
                course.firstMayTakeEffect = course.firstMayTakeEffect ?? mayTakeEffect
                if mayTakeEffect { course.effects.append(result) }
                if !mayTakeEffect, case .success(let answer) = result, (200...299).contains(answer.status) {
                    course.hasFound = true
                }
                event = .called(result, at: now)
            case .askHealth:
                event = .health(replies.health())
            case .needsCredentials:
                if account.refresh(nil) == nil { broken(.knowsHowToRefresh, replies.name) }
                event = .credentials(replies.credentials())
            case .done(let outcome, let evidence):
                course.ending = (outcome, evidence)
                return course
            }
        }
        return course
    }

    private func check(_ course: Course, _ name: String, _ broken: Report) {
        guard let (outcome, evidence) = course.ending else {
            return broken(.endsEveryExchange, "\(name): no end after \(course.steps) steps")
        }
        if course.firstMayTakeEffect == false, !carrier.policy.beginsQuietly {
            broken(.beginsAsItsPolicySays, "\(name): the first call takes no effect")
        }
        if case .recheckHealth = outcome { broken(.endsEveryExchange, "\(name): an outcome that cannot be settled") }
        let isSent = if case .sent = outcome { true } else { false }
        if course.effects.contains(where: Self.isLost), !isSent, !outcome.mayHaveSent {
            broken(.neverForgetsALostAnswer, "\(name): \(outcome.code)")
        }
        if course.effects.allSatisfy(Self.neverLeft), isSent && !course.hasFound || outcome.mayHaveSent {
            broken(.neverCountsWhatNeverLeft, "\(name): \(outcome.code)")
        }
        guard let evidence else { return }
        let texts = [evidence.bodyText, evidence.failure ?? "", evidence.description]
        for text in texts where leaks(text) {
            broken(.keepsNoSecretInEvidence, name)
        }
    }

    /// Nobody said whether it took effect: no answer, or one that does not tell (design D6).
    private static func isLost(_ result: CallResult) -> Bool {
        switch result {
        case .success(let answer): [408, 425].contains(answer.status) || (500...599).contains(answer.status)
        case .failure(let failure): failure.mayHaveLeft
        }
    }

    private static func neverLeft(_ result: CallResult) -> Bool {
        if case .failure(let failure) = result { !failure.mayHaveLeft } else { false }
    }
}
