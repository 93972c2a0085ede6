internal import ArgumentParser

/// What worker and doctor are told about PostgreSQL's standbys.
struct StandbyOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Asynchronous standbys that are never promoted: their application names, with commas.",
            valueName: "names"
        )
    )
    var readReplicas: String?

    var overrides: [Settings.Key: String?] { [.readReplicas: readReplicas] }
}
