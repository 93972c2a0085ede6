internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

struct DeliverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deliver",
        abstract: "Enqueue one event for a destination. The same key again is the same delivery."
    )

    @OptionGroup var options: GlobalOptions

    @Option(help: ArgumentHelp("Where it goes.", valueName: "id"))
    var destination: String

    @Option(help: ArgumentHelp("Names the event, once for ever: event:acme.1042.ready.", valueName: "key"))
    var key: String

    @Option(help: ArgumentHelp("What happened, in dotted words: order.ready.", valueName: "type"))
    var type: String

    @Option(
        help: ArgumentHelp(
            "File that holds what is to be said of it, a JSON object; - is standard input.",
            valueName: "file"
        )
    )
    var data: String

    @Option(
        help: ArgumentHelp(
            "When it happened, RFC 3339; default: now. A repeat of the same key may say another: the first one counts.",
            valueName: "time"
        )
    )
    var timestamp: String?

    @OptionGroup var timeOptions: TimeOptions

    @Option(
        help: ArgumentHelp(
            "Deliveries to one destination with the same key go out in order; default: each by itself.",
            valueName: "key"
        )
    )
    var orderingKey: String?

    @Flag(help: "Publish to the broker only, without the database; a worker takes it from there.")
    var direct = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let work = CarriedWork.deliver(try job())
            try await VerdictTeller(json: json).submit(work, direct: direct, settings)
        }
    }

    private func job() throws -> DeliverJob {
        let bytes = try InputText.bytes(of: data, longest: DeliverJob.maximumMessageBytes)
        // What was cut there would be called malformed.
        guard bytes.count <= DeliverJob.maximumMessageBytes else {
            throw Refusal(
                kind: .tooLarge,
                field: "data",
                reason: "the data has more than \(DeliverJob.maximumMessageBytes) bytes, which no message may have"
            )
        }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw Refusal(
                kind: .malformed,
                field: "data",
                reason: "the data is not well-formed JSON: \(error.sentence)"
            )
        }
        return try DeliverJob(
            destination: DestinationID(destination),
            key: IdempotencyKey(key),
            type: type,
            happenedAt: TimeOptions.moment(timestamp, "timestamp") ?? WallClock.now,
            data: value,
            notBefore: timeOptions.notBeforeMoment(),
            sendBefore: timeOptions.sendBeforeMoment(),
            supersedeKey: timeOptions.supersedeKey,
            factAt: timeOptions.factAtMoment(),
            orderingKey: orderingKey,
            tags: timeOptions.tags()
        )
    }
}
