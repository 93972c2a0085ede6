internal import ArgumentParser
internal import TrunklineEngine

extension ParkedCommand {
    struct Resolve: AsyncParsableCommand {
        enum Answer: String, ExpressibleByArgument, CaseIterable {
            case sent
            case notSent = "not-sent"
        }

        static let configuration = CommandConfiguration(
            commandName: "resolve",
            abstract: "Say whether notices that may have been sent were sent.",
            discussion: """
                Look at the conversation in WhatsApp first. As sent: it ends as sent. As not-sent: it is in doubt no more and stays \
                parked; 'parked replay' sends it, 'parked discard' ends it. A worker that learns after all that it was sent is \
                believed.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var target: ParkedTarget
        @Option(name: .customLong("as"), help: "sent or not-sent.")
        var answer: Answer

        func run() async throws { try await target.run(answer == .sent ? .sent : .notSent, options) }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "discard",
            abstract: "End parked notices as discarded. Their keys stay taken."
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var target: ParkedTarget

        func run() async throws { try await target.run(.discard, options) }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay",
            abstract: "Send parked notices after all.",
            discussion: """
                Each gets all its tries again and a new place, behind what waits for the same person; the command says what was sent \
                to that person meanwhile. A notice that may have been sent is refused until it is resolved as not-sent; one \
                whose sendBefore has passed, or that a newer fact replaced, can only be discarded.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var target: ParkedTarget

        func run() async throws { try await target.run(.replay, options) }
    }
}
