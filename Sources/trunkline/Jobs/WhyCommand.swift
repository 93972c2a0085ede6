internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct WhyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "What state a notice is in, since when, why, and what releases it."
    )

    @OptionGroup var options: GlobalOptions

    @Argument(help: ArgumentHelp("The job's number or the notice's key.", valueName: "id|key"))
    var name: String

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let stories = try await settings.operate(as: "trunkline why") { try await $0.stories(name) }
            guard !stories.isEmpty else {
                throw CommandError(
                    .failed,
                    "no job has this number or key; input that was refused is in 'trunkline refusals list', and a notice that "
                        + "only the broker has is not known here yet"
                )
            }
            if json {
                try Output.json(stories.map(Document.init))
                return
            }
            for (index, story) in stories.enumerated() {
                if index > 0 { Output.line() }
                say(story)
            }
        }
    }

    private func say(_ story: JobStory) {
        Output.line(story.sentence)
        Output.line()
        var facts: [(String, String)] = [("job", story.id.description)]
        if let key = story.key { facts.append(("key", key)) }
        facts.append((story.lane.label.name?.noun ?? "lane", story.lane.label.name?.id ?? story.lane.label.stored))
        if let recipient = story.recipient { facts.append(("to", recipient)) }
        if let purpose = story.purpose { facts.append(("purpose", purpose)) }
        facts.append(("state", story.state))
        if let acceptedAt = story.acceptedAt {
            facts.append(("accepted", Output.time(acceptedAt)))
        }
        if let endedAt = story.endedAt { facts.append(("ended", Output.time(endedAt))) }
        if let sendBefore = story.sendBefore {
            facts.append(("send before", Output.time(sendBefore)))
        }
        if story.attempt > 0 { facts.append(("attempts", "\(story.attempt), of which \(story.tries) count as tries")) }
        if let remoteID = story.remoteID { facts.append(("id of the API", remoteID)) }
        Output.facts(facts)
        AttemptTable.print(story.attempts)
        if !story.actions.isEmpty {
            Output.line()
            Output.facts(story.actions.map { (Output.time($0.at), $0.words) })
        }
    }

    private struct Document: Encodable {
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
        let attempts: [AttemptTable.Document]
        /// What people decided about it.
        let actions: [Action]

        struct Action: Encodable {
            let at: String
            let action: String
            let by: String
            let why: String?
        }

        init(_ story: JobStory) {
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
            attempts = story.attempts.map(AttemptTable.Document.init)
            actions = story.actions.map { Action(at: $0.at.rfc3339, action: $0.action, by: $0.by, why: $0.why) }
        }
    }
}
