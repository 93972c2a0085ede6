internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension SecretOptions {
    /// The secret of a destination of that kind, nil when none was given.
    func secret(_ settings: Settings, for carrier: any Carrier) throws -> LaneSecret? {
        try secret(settings) { bytes throws(Refusal) in try carrier.secretHint(bytes) }
    }
}

extension DestinationCommand {
    /// How fast it is delivered to.
    struct PaceOptions: ParsableArguments {
        @Option(help: ArgumentHelp("20/min, 1/3s or unlimited; default: what the kind usually has.", valueName: "pace"))
        var pace: String?

        @Option(help: "Deliveries in the air at once, 1 to 256; default: what the kind usually has.")
        var concurrency: Int?

        @Option(help: ArgumentHelp("Deliveries a day at most, or none; default none.", valueName: "number"))
        var dailyCap: String?

        @Option(
            help: ArgumentHelp("Whose midnight ends the day, like Asia/Jerusalem; default UTC.", valueName: "area/city")
        )
        var timeZone: String?

        func cap() throws(Refusal) -> DailyCap? {
            try dailyCap.map { text throws(Refusal) in try DailyCap(parsing: text) }
        }

        func change() throws(Refusal) -> PaceChange {
            PaceChange(
                interval: try pace.map { text throws(Refusal) in try Pace.interval(parsing: text) },
                concurrency: concurrency
            )
        }
    }
}
