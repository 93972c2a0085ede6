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
                try Output.json(stories.map(JobStoryDocument.init))
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
        if let origin = story.origin {
            facts.append(("event", "\(origin.event) of source \(origin.source)"))
            facts.append(("rule", origin.rule + (origin.rules.map { ", rules of revision \($0)" } ?? "")))
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
}
