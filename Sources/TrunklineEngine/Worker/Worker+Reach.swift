internal import CurlDriver
internal import Logging
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// A worker whose own network is broken: it reaches the database and the broker, and not the API. Its shards belong to those
/// that are answered (`Reach`, decision 7).
extension Worker {
    /// Makes a call and notes whether it is answered. `isQuestion`: it is asked to find that out.
    func call(
        _ request: HTTPRequest,
        of line: Line,
        isQuestion: Bool = false,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) {
        guard let origin = line.base?.origin else { return http.send(request, mayLeave: mayLeave, done: done) }
        let began = loop.present
        if isQuestion { reaches[origin, default: Reach()].asked(at: began) }
        reaches[origin, default: Reach()].began(at: began)
        http.send(request, mayLeave: mayLeave) { [weak self] result in
            self?.noteReach(origin, result, isQuestion: isQuestion)
            done(result)
        }
    }

    private func noteReach(_ origin: String, _ result: Result<HTTPResponse, HTTPFailure>, isQuestion: Bool) {
        let now = loop.present
        let before = reaches[origin]?.word(at: now)
        switch result {
        case .success: reaches[origin]?.answered(at: now)
        case .failure(let failure):
            switch failure.cause {
            case .held, .cancelled, .refused: reaches[origin]?.withdrawn()
            // The head of an answer was read.
            case _ where failure.status != nil: reaches[origin]?.answered(at: now)
            default: reaches[origin]?.failed(at: now, isQuestion: isQuestion)
            }
        }
        let after = reaches[origin]?.word(at: now)
        guard before != after, before == .silent || after == .silent || isQuestion else { return }
        if after == .silent {
            log.warning(
                "the API answers nothing; if it answers others, they get the shards",
                metadata: ["origin": "\(origin)"]
            )
        }
        // The others need not wait for the next heartbeat.
        if !renewalUnderWay, !lacksSessions(at: now) { renew(now) }
    }

    /// Twice a second: asks where there is doubt, and for the sake of another worker that is silent.
    func lookAtReach(_ now: Instant) {
        guard mayAct(at: now), !isDraining, !isOff(.reach) else { return }
        var origins = reaches.filter { $0.value.wantsQuestion(at: now) }.keys.sorted()
        for (other, words) in reachWords where other.bytes != boot && !fleet.isDead(other, at: now) {
            for (origin, word) in words where word == .silent {
                if reaches[origin, default: Reach()].canTestify(at: now) { origins.append(origin) }
            }
        }
        for origin in Set(origins).sorted() where !openBreakers.contains(origin) {
            let lines = lines.values.filter { $0.base?.origin == origin && $0.token != nil && !$0.isRemoved }
            guard let line = lines.min(by: { $0.lane < $1.lane }), http.freeSlots > 0 else { continue }
            askHealth(of: line, isQuestion: true) { _ in }
        }
    }

    /// What this worker tells the others.
    func wordsOfReach(_ now: Instant) -> [String: Reach.Word] {
        isOff(.reach) ? [:] : reaches.compactMapValues { $0.word(at: now) }
    }

    /// Workers that cannot reach the API although others can, by what the living ones said.
    func cutOffWorkers(_ now: Instant) -> Set<BootID> {
        cutOff = Reach.cutOff(reachWords.filter { !fleet.isDead($0.key, at: now) }, before: cutOff)
        return cutOff
    }
}
