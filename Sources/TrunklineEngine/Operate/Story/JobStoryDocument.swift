internal import TrunklineCore

/// A story as programs read it: one JSON object.
package struct JobStoryDocument: Encodable, Sendable {
    /// An attempt that has a row of its own.
    package struct Attempt: Encodable, Sendable {
        let number: Int32
        let startedAt: String
        let endedAt: String
        let outcome: String
        let reason: String?
        let status: Int32?

        package init(_ attempt: JobStory.Attempt) {
            number = attempt.number
            startedAt = attempt.startedAt.rfc3339
            endedAt = attempt.endedAt.rfc3339
            outcome = attempt.outcome
            reason = attempt.reason
            status = attempt.status
        }
    }

    struct Action: Encodable, Sendable {
        let at: String
        let action: String
        let by: String
        let why: String?
    }

    let job: String
    let sentence: String
    let key: String?
    let line: String?
    let destination: String?
    let to: String?
    let purpose: String?
    let state: String
    let reason: String?
    let acceptedAt: String?
    let endedAt: String?
    let dueAt: String?
    let sendBefore: String?
    /// Whether it waits for its own time.
    let scheduled: Bool
    /// A cancel came too late for an attempt.
    let cancelWanted: Bool
    let supersededBy: String?
    /// A job of the same person that comes first.
    let behind: String?
    let attempt: Int32
    let tries: Int32
    let maybeSentSince: String?
    let remoteId: String?
    let attempts: [Attempt]
    /// What people decided about it.
    let actions: [Action]

    package init(_ story: JobStory) {
        job = story.id.description
        sentence = story.sentence
        key = story.key
        line = story.lane.label.line
        destination = story.lane.label.destination
        to = story.recipient
        purpose = story.purpose
        state = story.state
        reason = story.reason
        acceptedAt = story.acceptedAt?.rfc3339
        endedAt = story.endedAt?.rfc3339
        dueAt = story.dueAt?.rfc3339
        sendBefore = story.sendBefore?.rfc3339
        scheduled = story.isScheduled
        cancelWanted = story.isCancelWanted
        supersededBy = story.replacement?.job.description
        behind = story.ahead?.job.description
        attempt = story.attempt
        tries = story.tries
        maybeSentSince = story.maybeSentSince?.rfc3339
        remoteId = story.remoteID
        attempts = story.attempts.map(Attempt.init)
        actions = story.actions.map { Action(at: $0.at.rfc3339, action: $0.action, by: $0.by, why: $0.why) }
    }
}
