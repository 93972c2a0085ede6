internal import FoundationEssentials
internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// What became of messages, and what can still be changed: `/v1/messages/{message}` and below it.
struct Stories: Sendable {
    let desk: SharedDesk
    let operators: OperatorPool

    var routes: [Route] {
        [
            Route(.get, "/v1/messages/{message}", .key(.read), parameters: ["by"], story),
            Route(.post, "/v1/messages/{message}/cancel", .key(.operate), parameters: ["by"], cancel),
            Route(
                .post,
                "/v1/messages/{message}/reschedule",
                .key(.operate),
                parameters: ["by"],
                body: .json(longest: 1_024),
                reschedule
            ),
        ]
    }

    private func story(_ call: Call) async throws -> Answer {
        let story = try await onJob(call) { install, job in try await install.story(of: job) }
        guard let story else { throw Problem.unknownMessage() }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Answer(status: 200, body: Array(try encoder.encode(JobStoryDocument(story))))
    }

    private func cancel(_ call: Call) async throws -> Answer {
        guard call.body.isEmpty else { throw Problem(.malformed, "a cancel has no body") }
        let (job, report) = try await onJob(call) { install, job in
            (job, try await install.cancel(KeyPattern(job.key.value), in: job.owner) { _ in })
        }
        if report.mayHaveBeenSent > 0 {
            throw Problem(.tooLate, "job \(job.id) may have been sent; what becomes of it is told by its story")
        }
        let verdict: String
        if report.inTheAir > 0 {
            verdict = "in_the_air"
        } else if report.cancelled > 0 || report.ended["cancelled"] != nil {
            verdict = "cancelled"
        } else if let state = report.ended.keys.first {
            throw Problem(.tooLate, "job \(job.id) ended as \(state)")
        } else {
            throw Problem.unknownMessage()
        }
        return Answer.json(verdict == "cancelled" ? 200 : 202) { json in
            json.member("id", job.id.description)
            json.member("key", job.key.value)
            json.member("verdict", verdict)
        }
    }

    private func reschedule(_ call: Call) async throws -> Answer {
        let time = try Self.notBefore(call.body)
        let changed: RescheduledJob
        do {
            changed = try await onJob(call) { install, job in
                try await install.reschedule(job.key, of: job.owner, to: time)
            }
        } catch let error as RescheduleError {
            switch error {
            case .unknownKey: throw Problem.unknownMessage()
            case .begun, .ended: throw Problem(.tooLate, error.description)
            case .afterSendBefore: throw Problem.field("notBefore", error.description)
            }
        }
        return Answer.json(200) { json in
            json.member("id", changed.job.description)
            json.member("key", changed.key.value)
            json.member("notBefore", changed.notBefore.rfc3339)
            json.name("scheduled")
            json.bool(changed.isScheduled)
        }
    }

    /// Runs `body` with the job that the path names, of the caller's workspace. Throws a ``Problem`` without one.
    private func onJob<R>(_ call: Call, _ body: (Operator, WorkspaceJob) async throws -> R) async throws -> R {
        let caller = try call.caller()
        var naming: JobNaming?
        if let by = call.query["by"] {
            naming = JobNaming(rawValue: by)
            if naming == nil { throw Problem(.unknownParameter, "by is id or key", field: "by") }
        }
        if desk.troubles.database != nil { throw Problem.away("this needs the database, which is away") }
        return try await operators.with { install in
            do {
                guard
                    let job = try await install.job(named: call.path["message"] ?? "", by: naming, in: caller.workspace)
                else { throw Problem.unknownMessage() }
                return try await body(install, job)
            } catch let error as AmbiguousJobError {
                throw Problem(.ambiguous, error.description + ": say which one is meant with ?by=id or ?by=key")
            }
        }
    }

    /// `{"notBefore": time}`; nil for null, which is now.
    private static func notBefore(_ body: [UInt8]) throws -> Timestamp? {
        let document: JSONValue
        do throws(JSONError) {
            document = try JSONValue(parsing: body, maximumDepth: 4)
        } catch {
            throw Problem(.malformed, "not a well-formed request: \(error.sentence)")
        }
        guard case .object(let members) = document, members.map(\.name) == ["notBefore"] else {
            throw Problem.field(
                "notBefore",
                "the body is an object with notBefore, a time or null for now, and nothing else"
            )
        }
        if members[0].value == .null { return nil }
        guard let time = members[0].value.text.flatMap({ Timestamp(rfc3339: $0) }) else {
            throw Problem.field(
                "notBefore",
                "notBefore is not an RFC 3339 time with its offset, such as 2026-12-01T18:00:00Z, nor null for now"
            )
        }
        try Messages.refusing { () throws(Refusal) in try SendJob.checkYear(ofNotBefore: time) }
        return time
    }
}
