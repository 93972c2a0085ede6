internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// `/in/{token}`: where clients' systems post their events. Each is verified, named, stored and answered as its sender wants it;
/// nothing of it is run here.
struct Senders: Sendable {
    let desk: SharedDesk
    let directory: Directory
    let sources: SourceDirectory
    let runner: any EventRunner
    let forgeries: ForgeryNotebook
    /// Scheme, host and what stands before `/in`, without a slash at its end.
    let publicURL: String
    let now: @Sendable () -> Timestamp

    var routes: [Route] {
        [
            Route(.get, "/in/{token}", .everybody, style: .sender) { try await receive(.get, $0) },
            Route(
                .post,
                "/in/{token}",
                .everybody,
                style: .sender,
                body: .raw(longest: WebhookJob.maximumBodyBytes),
                // Whoever knows no token gets no room for a body.
                admit: { _ = try find($0["token"] ?? "") }
            ) {
                try await receive(.post, $0)
            },
        ]
    }

    private func receive(_ method: ReceivedRequest.Method, _ call: Call) async throws -> Answer {
        let text = call.path["token"] ?? ""
        let source = try find(text)
        let request = ReceivedRequest(
            method,
            url: publicURL + call.target,
            headers: call.headers.map { ($0.name.rawName, $0.value) },
            body: call.body
        )
        if let answer = source.reader.handshake(request, source.account) { return Answer(answer) }
        guard method == .post else {
            var problem = Problem(.methodNotAllowed, "events are posted here")
            problem.headers = [Answer.Header(.allow, "POST")]
            throw problem
        }
        let now = now()
        do throws(SourceRefusal) {
            try source.reader.verify(request, source.account, now: now)
        } catch {
            forgeries.note(source.id, error.reason)
            return Answer(source.reader.answer(to: error))
        }
        let events = try events(in: request, of: source, token: text, now)
        return try answer(try await give(events), of: events, source)
    }

    /// The source that takes what is posted there. Throws a ``Problem``.
    private func find(_ text: String) throws -> SourceDirectory.Entry {
        if let trouble = directory.trouble { throw Problem.away(trouble) }
        guard let token = try? SourceToken(text) else { throw Problem.noSource }
        switch sources.find(token) {
        case .open(let entry): return entry
        case .closed: throw Problem.away("this source takes nothing at this moment; the operator's log says why")
        case .removed: throw Problem(.gone, "this source was removed; nothing that is posted here is taken")
        case .nobody: throw Problem.noSource
        case .notRead: throw Problem.away("the sources have not been read from the database yet")
        }
    }

    /// What of a verified request is stored. Throws a ``Problem`` for what cannot be.
    private func events(
        in request: ReceivedRequest,
        of source: SourceDirectory.Entry,
        token: String,
        _ now: Timestamp
    ) throws -> [NamedEvent] {
        try source.reader.events(in: request, source.account, now: now).map { event in
            if source.reader.refusesUnreadable {
                do throws(Refusal) {
                    _ = try source.reader.read(event, source.account.settings)
                } catch {
                    throw Problem(.unreadable, error.reason, field: error.field)
                }
            }
            let job: WebhookJob
            do throws(Refusal) {
                job = try WebhookJob(
                    source: source.id,
                    // Of what stands between us and the sender, some say the address that was asked for: a secret.
                    headers: event.headers.filter { !$0.value.contains(token) },
                    body: event.body,
                    receivedAt: event.receivedAt
                )
            } catch {
                throw Problem(error)
            }
            let name = runner.name(ReceivedEvent(job), from: source.id, kind: source.reader.kind.value)
            return NamedEvent(job, name)
        }
    }

    private func give(_ events: [NamedEvent]) async throws -> [EventAcceptance] {
        do {
            let bytes = events.reduce(0) { $0 + $1.event.body.count + 1_024 }
            return try await desk.accept(events, bytes: bytes)
        } catch {
            throw Problem(.overloaded, "more arrives than can be stored; nothing of this was", retryAfter: 1)
        }
    }

    /// The one answer to all events of a request. Throws a ``Problem`` when not all of them are stored for good: whoever sends
    /// them again doubles nothing.
    private func answer(
        _ verdicts: [EventAcceptance],
        of events: [NamedEvent],
        _ source: SourceDirectory.Entry
    ) throws -> Answer {
        var told: Problem?
        for verdict in verdicts {
            switch verdict {
            case .stored, .confirmed: continue
            case .conflict(let contents):
                // Whoever cannot help it would send it again and again: it is kept as a refusal, for people.
                guard source.reader.refusesUnreadable else { continue }
                told = Problem(
                    .keyConflict,
                    "an event of this name was stored with other bytes; the same name must come with the same bytes"
                )
                told?.more = contents.members
            case .refused(let refusal):
                guard source.reader.refusesUnreadable else { continue }
                told = Problem(refusal)
            case .unknownLane: throw Problem.noSource
            case .removedLane:
                throw Problem(.gone, "this source was removed; nothing that is posted here is taken")
            case .notTaken:
                throw Problem.away("nobody surely has it; the same request again is safe")
            }
        }
        if let told { throw told }
        return Answer(source.reader.accepted)
    }
}

extension Problem {
    /// One that never was, and one whose token is another now.
    fileprivate static var noSource: Problem { Problem(.notFound, "no source takes what is posted here") }
}

extension Answer {
    init(_ answer: SourceAnswer) {
        self.init(status: answer.status, contentType: answer.contentType, body: answer.body)
    }
}
