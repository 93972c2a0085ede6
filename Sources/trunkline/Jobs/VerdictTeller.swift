internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

/// Gives one job at the desk and says what became of it: `send` and `deliver`.
struct VerdictTeller {
    let json: Bool

    /// Throws what the rules that need a clock refuse, and the exit code when the job was not taken.
    ///
    /// - Parameter direct: to the broker only.
    func submit(_ work: CarriedWork, direct: Bool, _ settings: Settings) async throws {
        try work.validate(now: WallClock.now)
        let size = work.encode().count
        guard size <= SendJob.maximumMessageBytes else {
            throw Refusal(
                kind: .tooLarge,
                reason: "the message has \(size) bytes, at most \(SendJob.maximumMessageBytes) are allowed"
            )
        }
        let desk = try await AcceptDesk.open(
            direct
                ? .brokerFirst(amqpURL: settings.amqpURL(), databaseURL: try? settings.databaseURL())
                : .rowFirst(databaseURL: settings.databaseURL(), amqpURL: settings.amqpURLIfAny(), .single),
            name: "trunkline enqueue",
            carriers: .standard,
            lint: direct
                ? nil
                : LintNotebook(databaseURL: settings.databaseURL(), name: "trunkline enqueue", texts: 2) {
                    Output.note("warning: " + $0)
                }
        ) { Output.note("warning: " + $0) }
        let verdict: AcceptVerdict?
        do {
            verdict = try await desk.accept([work]).first
        } catch {
            await desk.close()
            throw error
        }
        await desk.close()
        guard let verdict else { throw CommandError(.failed, "there is no verdict") }
        try say(verdict, of: work)
    }

    private func say(_ verdict: AcceptVerdict, of work: CarriedWork) throws {
        switch verdict {
        case .new(let id):
            try say(Document(verdict: "new", job: id.description), "accepted as job \(id)")
        case .repeat(let id, _, let finalState):
            try say(
                Document(verdict: "repeat", job: id.description, finalState: finalState),
                "accepted before as job \(id)\(finalState.map { ", which ended as \($0)" } ?? ""); nothing is sent twice"
            )
        case .confirmed:
            try say(
                Document(verdict: "confirmed"),
                "the broker has it; a worker takes it from there, and 'trunkline why \(work.key)' tells of it then"
            )
        default:
            let complaint = verdict.complaint(about: work)
            let exit: CommandError.Exit =
                switch verdict {
                case .notSent, .unknown: .unreachable
                case .unroutable, .rejected: .failed
                default: .refused
                }
            if json {
                var document = Document(verdict: verdict.word, field: complaint?.field, reason: complaint?.reason)
                if case .conflict(_, _, let contents) = verdict {
                    document.storedContent = contents.stored
                    document.givenContent = contents.given
                }
                try Output.json(document)
                throw CommandError.silent(exit)
            }
            throw CommandError(
                exit,
                complaint.map { c in c.field.map { "\($0): \(c.reason)" } ?? c.reason } ?? "refused"
            )
        }
    }

    private func say(_ document: Document, _ sentence: String) throws {
        if json { try Output.json(document) } else { Output.line(sentence) }
    }

    private struct Document: Encodable {
        var verdict: String
        var job: String?
        var finalState: String?
        var field: String?
        var reason: String?
        /// Of a conflict: the digests of the two contents (`AcceptVerdict.Contents`).
        var storedContent: String?
        var givenContent: String?
    }
}
