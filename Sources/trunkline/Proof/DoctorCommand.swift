internal import ArgumentParser
internal import EventLoop
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look at database, broker, limits, clocks and every line's health, and say what to do.",
        discussion: """
            One line per check: ok, warning or FAILED. Changes nothing and sends nothing; bindings of the broker, which nobody \
            can ask for, are made again, and one message goes into a queue that only this command sees. Exit code 1 when \
            something failed.
            """
    )

    @OptionGroup var options: GlobalOptions
    @OptionGroup var standbys: StandbyOptions

    @Option(
        help: ArgumentHelp(
            "PEM file of authorities to trust instead of the system's, for the lines' HTTPS.",
            valueName: "file"
        )
    )
    var caFile: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await options.run(overrides: standbys.overrides) { settings in
            var configuration = Doctor.Configuration(
                databaseURL: try settings.databaseURL(),
                amqpURL: try settings.amqpURLIfAny(),
                masterKey: try settings.masterKey(),
                carriers: .standard
            )
            configuration.readReplicas = settings.readReplicas
            configuration.certificateAuthorities = caFile
            configuration.ownFiles = settings.ownFiles
            // As a worker does at its start.
            configuration.openFiles = DescriptorLimit.raise()
            let findings = Mutex<[Doctor.Finding]>([])
            let json = json
            await Doctor.examine(
                configuration,
                now: { WallClock.now },
                { finding in
                    findings.withLock { $0.append(finding) }
                    if !json { Self.say(finding) }
                }
            )
            let all = findings.withLock { $0 }
            func count(_ verdict: Doctor.Finding.Verdict) -> Int { all.count { $0.verdict == verdict } }
            if json {
                try Output.json(
                    Document(
                        checks: all.map(Document.Check.init),
                        ok: count(.ok),
                        warnings: count(.warning),
                        failed: count(.failed)
                    )
                )
            } else {
                Output.line()
                Output.line("\(all.count) checks: \(count(.failed)) failed, \(count(.warning)) warnings")
            }
            if count(.failed) > 0 { throw CommandError.silent(.failed) }
        }
    }

    private static func say(_ finding: Doctor.Finding) {
        let verdict =
            switch finding.verdict {
            case .ok: "ok      "
            case .warning: "warning "
            case .failed: "FAILED  "
            }
        // Several objects of the broker may differ: still one line per check.
        let words = finding.words.replacing("\n", with: "; ")
        Output.line("\(verdict)\(finding.check): \(words)" + (finding.advice.map { ". What to do: \($0)" } ?? ""))
    }

    private struct Document: Encodable {
        struct Check: Encodable {
            let check: String
            let verdict: String
            let words: String
            let advice: String?

            init(_ finding: Doctor.Finding) {
                check = finding.check
                verdict = finding.verdict.rawValue
                words = finding.words
                advice = finding.advice
            }
        }
        let checks: [Check]
        let ok: Int
        let warnings: Int
        let failed: Int
    }
}
