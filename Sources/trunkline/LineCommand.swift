internal import ArgumentParser
internal import Foundation
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct LineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "line",
        abstract: "WhatsApp lines: add, look, pace, hold, resume, remove, ask.",
        subcommands: [Add.self, List.self, Show.self, Set.self, Hold.self, Resume.self, Remove.self, AskHealth.self]
    )

    /// Where a token comes from. Never the command line itself, which others can read.
    struct TokenOptions: ParsableArguments {
        @Option(help: ArgumentHelp("Read the token from this environment variable, now.", valueName: "name"))
        var tokenEnv: String?

        @Option(help: ArgumentHelp("Read the token from this file, now.", valueName: "file"))
        var tokenFile: String?

        @Flag(help: "Read the token from standard input.")
        var tokenStdin = false

        @Flag(
            help:
                "Store where the token is (env:NAME or file:/path) instead of the token, sealed like it; every worker reads it there."
        )
        var byReference = false

        func validate() throws {
            let given = [tokenEnv != nil, tokenFile != nil, tokenStdin].filter { $0 }.count
            guard given <= 1 else { throw ValidationError("Give one of --token-env, --token-file and --token-stdin.") }
            guard !byReference || tokenEnv != nil || tokenFile != nil else {
                throw ValidationError("--by-reference needs --token-env or --token-file.")
            }
        }

        /// The token as the operator gave it, nil when none was given. Needs the master key, also for a reference.
        func token(_ settings: Settings) throws -> LineToken? {
            var reference: SecretReference?
            do throws(SecretReferenceError) {
                if let tokenEnv {
                    reference = try SecretReference("env:" + tokenEnv)
                } else if let tokenFile {
                    // A path means the folder of whoever types it, and a worker's may be another.
                    let folder = tokenFile.hasPrefix("/") ? "" : FileManager.default.currentDirectoryPath + "/"
                    reference = try SecretReference("file:" + folder + tokenFile)
                }
            } catch {
                throw CommandError(.usage, error.description)
            }
            guard reference != nil || tokenStdin else { return nil }
            guard let key = try settings.masterKey() else {
                throw CommandError(
                    .usage,
                    "storing a token, or where it is, needs TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE), 32 bytes in base64"
                )
            }
            guard let reference else { return .sealed(try Self.token(try Self.standardInput()), key) }
            var bytes: [UInt8]?
            do throws(SecretReferenceError) {
                bytes = try reference.resolve(ownFiles: settings.ownFiles)
            } catch  where byReference && !error.isRefusal {
                // The workers' environment may have what this one has not.
            } catch {
                throw CommandError(.usage, error.description)
            }
            // What is here must be a token.
            let token = try bytes.map { try Self.token($0) }
            if !byReference, let token { return .sealed(token, key) }
            return .reference(reference, current: token, key)
        }

        private static func token(_ bytes: [UInt8]) throws(Refusal) -> EZWhatsApp.Token {
            try EZWhatsApp.Token(String(decoding: bytes, as: UTF8.self))
        }

        private static func standardInput() throws -> [UInt8] {
            let limit = SecretReference.fileLimit
            let data = try FileHandle.standardInput.read(upToCount: limit + 1) ?? Data()
            guard data.count <= limit else { throw CommandError(.refused, "standard input is too big for a token") }
            let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            guard !text.isEmpty else { throw CommandError(.refused, "standard input holds no token") }
            return Array(text.utf8)
        }
    }

    /// How fast a line sends.
    struct PaceOptions: ParsableArguments {
        @Option(help: ArgumentHelp("20/min, 1/3s or unlimited; default 1/3s.", valueName: "pace"))
        var pace: String?

        @Option(help: "Sends in the air at once, 1 to 256; default 1, or 16 when unlimited.")
        var concurrency: Int?

        @Option(
            help: ArgumentHelp(
                "Between two messages to one person; default 10s, or 0 when unlimited.",
                valueName: "span"
            )
        )
        var recipientGap: String?

        @Option(help: ArgumentHelp("Sends a day at most, or none; default none.", valueName: "number"))
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
                concurrency: concurrency,
                recipientGap: try recipientGap.map { text throws(Refusal) in
                    try Pace.span(parsing: text, field: "recipient-gap")
                }
            )
        }
    }

    /// The one question that follows a change.
    struct CheckOptions: ParsableArguments {
        @Flag(help: "Do not ask the line's health after the change.")
        var noCheck = false

        @Option(
            help: ArgumentHelp(
                "PEM file of authorities to trust instead of the system's, for this question.",
                valueName: "file"
            )
        )
        var caFile: String?

        func validate() throws {
            if let caFile, !FileManager.default.isReadableFile(atPath: caFile) {
                throw ValidationError("--ca-file: '\(caFile)' cannot be read")
            }
        }

        /// What the line's API says now; nil when it is not to be asked.
        fileprivate func ask(_ id: LineID, _ settings: Settings, _ session: PostgresSession) async throws
            -> HealthAnswer?
        {
            guard !noCheck else { return nil }
            let (base, token): (EZWhatsApp.BaseURL, EZWhatsApp.Token)
            do {
                let masterKey = try settings.masterKey()
                (base, token) = try await session.access(to: id, masterKey: masterKey, ownFiles: settings.ownFiles)
            } catch let error as SecretReferenceError where !error.isRefusal {
                return HealthAnswer(
                    notAsked: "its token is not to be had here (\(error.description))",
                    advice: "every worker must find it; --no-check asks nothing"
                )
            }
            return HealthAnswer(await Preflight.ask(base: base, token: token, certificateAuthorities: caFile))
        }
    }

    /// Runs `body` on the database once its schema is known to be right.
    private static func withDatabase<R>(
        _ settings: Settings,
        _ body: (PostgresSession) async throws -> R
    ) async throws -> R {
        let url = try settings.databaseURL()
        return try await PostgresSession.withSession(url: url, applicationName: "trunkline line") { session in
            try await Migrations.requireCurrent(session)
            return try await body(session)
        }
    }

    /// A token under another key than the others' is stored all the same (keys are changed line by line), with a word.
    private static func warnOfOtherKey(_ settings: Settings, _ session: PostgresSession) async throws {
        guard let key = try settings.masterKey() else { return }
        do {
            try await session.requireMasterKey(key)
        } catch let error as LineTokenError {
            Output.note("warning: \(error.description); workers need one key for all lines")
        }
    }

    private static func say(_ line: Line, health: HealthAnswer? = nil, json: Bool, _ done: String) throws {
        if json { try Output.json(LineDocument(line, health: health)) } else { Output.line(done) }
        guard let health else { return }
        if health.sendable {
            if !json { Output.line("its API answers: \(health.sentence)") }
        } else {
            Output.note(
                "warning: line \(line.id) is stored, and nothing can be sent into it yet: \(health.sentence)"
                    + (health.advice.map { ". What to do: \($0)" } ?? "")
            )
        }
    }

    // MARK: - Changing

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add",
            abstract: "Add a line. Its id belongs to the workspace for ever.",
            discussion: """
                The token is read now and stored encrypted under TRUNKLINE_MASTER_KEY, for this line and this address's \
                host only: another host needs the token again. A removed line of the same workspace comes back with its keys.

                Afterwards the line's API is asked once whether it can send, which sends and wakes nothing. Whatever it says, \
                the line is stored and the exit code is 0; trouble is a warning with its likely mend. --no-check asks nothing; \
                'trunkline line preflight' asks at any time and exits 1 when the line cannot send.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var tokenOptions: TokenOptions
        @OptionGroup var paceOptions: PaceOptions
        @OptionGroup var checkOptions: CheckOptions

        @Argument(help: "The line's id, unique in the install: A-Z a-z 0-9 . _ -, at most 64.")
        var id: String

        @Option(help: "The workspace (client) that owns the line.")
        var workspace: String

        @Option(help: ArgumentHelp("Where the line's API lives.", valueName: "url"))
        var baseURL: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let (id, workspace) = (try LineID(id), try WorkspaceID(workspace))
                let base = try EZWhatsApp.BaseURL(baseURL)
                let pace = try paceOptions.change().applied(to: .standard)
                guard let token = try tokenOptions.token(settings) else {
                    throw CommandError(.usage, "give the token with --token-env, --token-file or --token-stdin")
                }
                try await withDatabase(settings) { session in
                    try await warnOfOtherKey(settings, session)
                    let line = try await session.addLine(
                        id,
                        workspace: workspace,
                        baseURL: base,
                        token: token,
                        pace: pace,
                        dailyCap: try paceOptions.cap() ?? .unlimited,
                        timeZone: paceOptions.timeZone ?? "UTC"
                    )
                    try say(
                        line,
                        health: try await checkOptions.ask(id, settings, session),
                        json: json,
                        "added line \(line.id) of workspace \(line.workspace), \(describe(line.pace))\(describeCap(line))"
                    )
                }
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Change a line's pace, address or token; workers follow within a second.",
            discussion: """
                Another host needs the token again. After a new address or token the line's API is asked once whether it can \
                send; trouble is a warning, and the exit code 0. --no-check asks nothing.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var tokenOptions: TokenOptions
        @OptionGroup var paceOptions: PaceOptions
        @OptionGroup var checkOptions: CheckOptions

        @Argument(help: "The line's id.")
        var id: String

        @Option(help: ArgumentHelp("Where the line's API lives.", valueName: "url"))
        var baseURL: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let changes = LineChanges(
                    baseURL: try baseURL.map { try EZWhatsApp.BaseURL($0) },
                    token: try tokenOptions.token(settings),
                    pace: try paceOptions.change(),
                    dailyCap: try paceOptions.cap(),
                    timeZone: paceOptions.timeZone
                )
                guard !changes.isEmpty else {
                    throw CommandError(
                        .usage,
                        "say what to change: --pace, --concurrency, --recipient-gap, --daily-cap, --time-zone, --base-url or a token"
                    )
                }
                try await withDatabase(settings) { session in
                    if changes.token != nil { try await warnOfOtherKey(settings, session) }
                    let line = try await session.changeLine(id, changes)
                    let isOther = changes.baseURL != nil || changes.token != nil
                    try say(
                        line,
                        health: isOther ? try await checkOptions.ask(id, settings, session) : nil,
                        json: json,
                        "changed line \(line.id): \(describe(line.pace))\(describeCap(line)), \(line.baseURL), token \(describeToken(line))"
                    )
                }
            }
        }
    }

    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hold",
            abstract:
                "Hold a line: no send of it begins until it is resumed. Its jobs wait in order and use no attempts."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Option(help: "Why, for whoever asks at night.")
        var reason: String

        @Option(
            help: ArgumentHelp(
                "When the hold ends by itself: a time like 2026-12-01T18:00:00Z, or a span like 2h.",
                valueName: "time"
            )
        )
        var until: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let end = try until.map { try Self.end($0) }
                try await withDatabase(settings) { session in
                    let line = try await session.holdLine(id, reason: reason, until: end)
                    let until = line.hold?.until.map { " until \(Output.time(microseconds: $0.microseconds))" } ?? ""
                    try say(line, json: json, "line \(line.id) is held\(until)")
                }
            }
        }

        private static func end(_ text: String) throws -> Timestamp {
            if let time = Timestamp(rfc3339: text) { return time }
            guard let span = try? Pace.span(parsing: text, field: "until"), span > .zero else {
                throw CommandError(
                    .usage,
                    "--until takes a time with its offset, like 2026-12-01T18:00:00Z, or a span of at most a day, like 2h"
                )
            }
            return Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) + span
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "resume", abstract: "End the hold of a line.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await withDatabase(settings) { session in
                    let line = try await session.resumeLine(id)
                    try say(line, json: json, "line \(line.id) is not held by anybody; its own gate is \(line.gate)")
                }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove a line that has no unfinished jobs. Its id, its keys and its history stay."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await withDatabase(settings) { session in
                    let line = try await session.removeLine(id)
                    try say(line, json: json, "removed line \(line.id)")
                }
            }
        }
    }

    // MARK: - Looking

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "List the lines.")

        @OptionGroup var options: GlobalOptions

        @Option(help: "Only this workspace's.")
        var workspace: String?

        @Flag(help: "Removed ones too.")
        var all = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let workspace = try workspace.map { try WorkspaceID($0) }
                try await withDatabase(settings) { session in
                    let lines = try await session.allLines(workspace: workspace, withRemoved: all)
                    if json {
                        try Output.json(["lines": lines.map { LineDocument($0) }])
                        return
                    }
                    guard !lines.isEmpty else {
                        Output.note("There are no lines; 'trunkline line add' adds one.")
                        return
                    }
                    Output.table(
                        ["LINE", "WORKSPACE", "STATE", "PACE", "DAILY CAP", "TOKEN", "UNFINISHED", "PARKED"],
                        lines.map { line in
                            [
                                line.id.value, line.workspace.value, describeState(line), describe(line.pace),
                                line.dailyCap == .unlimited ? "-" : "\(line.dailyCap) (\(line.timeZone))",
                                describeToken(line), String(line.unfinished.values.reduce(0, +)),
                                String(line.unfinished["parked"] ?? 0),
                            ]
                        }
                    )
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Show all about one line.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await withDatabase(settings) { session in
                    let line = try await session.line(id)
                    if json {
                        try Output.json(LineDocument(line))
                        return
                    }
                    var facts = [
                        ("line", line.id.value), ("workspace", line.workspace.value), ("state", describeState(line)),
                        (
                            "gate",
                            line.gate + (line.gateReason.map { " (\($0))" } ?? "") + " since "
                                + Output.time(microseconds: line.gateSince.microseconds)
                                + (line.nextProbeAt.map {
                                    ", asked again at \(Output.time(microseconds: $0.microseconds)) while it has work"
                                } ?? "")
                        ),
                    ]
                    if let hold = line.hold, line.isHeld(at: line.readAt) {
                        let until = hold.until.map { ", until \(Output.time(microseconds: $0.microseconds))" } ?? ""
                        facts.append(
                            (
                                "held",
                                "\(hold.reason), since \(Output.time(microseconds: hold.since.microseconds))\(until)"
                            )
                        )
                    }
                    facts += [
                        ("base URL", line.baseURL), ("token", describeToken(line)), ("pace", describe(line.pace)),
                        (
                            "daily cap",
                            line.dailyCap == .unlimited
                                ? "none"
                                : "\(line.dailyCap) a day of \(line.timeZone), \(line.capUsed) used today"
                        ),
                        ("added", Output.time(microseconds: line.createdAt.microseconds)),
                    ]
                    if let removed = line.removedAt {
                        facts.append(("removed", Output.time(microseconds: removed.microseconds)))
                    }
                    let jobs = line.unfinished.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
                    facts.append(("unfinished", jobs.isEmpty ? "none" : jobs.joined(separator: ", ")))
                    Output.facts(facts)
                }
            }
        }
    }

    struct AskHealth: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "preflight",
            abstract: "Ask a line's API once whether it can send. Sends nothing and wakes nothing.",
            discussion: "Exit 0 when the line is sendable, else 1."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Option(help: ArgumentHelp("PEM file of authorities to trust instead of the system's.", valueName: "file"))
        var caFile: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let masterKey = try settings.masterKey()
                let (base, token) = try await withDatabase(settings) { session in
                    try await session.access(to: id, masterKey: masterKey, ownFiles: settings.ownFiles)
                }
                let answer = HealthAnswer(
                    await Preflight.ask(base: base, token: token, certificateAuthorities: caFile),
                    line: id
                )
                if json {
                    try Output.json(answer)
                } else {
                    Output.line("line \(id): \(answer.sentence)" + (answer.advice.map { ". What to do: \($0)" } ?? ""))
                }
                if !answer.sendable { throw CommandError.silent(.failed) }
            }
        }
    }

    // MARK: - Words

    /// `1/3s, 1 at once, 10s per person`.
    private static func describe(_ pace: Pace) -> String {
        let interval = pace.interval / .milliseconds(1)
        let rate = pace.isUnlimited ? "unlimited" : "1/" + span(interval)
        return "\(rate), \(pace.concurrency) at once, \(span(pace.recipientGap / .milliseconds(1))) per person"
    }

    /// `, 500 a day of Asia/Jerusalem`, or nothing.
    private static func describeCap(_ line: Line) -> String {
        line.dailyCap == .unlimited ? "" : ", \(line.dailyCap) a day of \(line.timeZone)"
    }

    private static func span(_ milliseconds: Double) -> String {
        let whole = Int64(milliseconds)
        if whole == 0 { return "0" }
        if whole % 3_600_000 == 0 { return "\(whole / 3_600_000)h" }
        if whole % 60_000 == 0 { return "\(whole / 60_000)min" }
        return whole % 1_000 == 0 ? "\(whole / 1_000)s" : "\(whole)ms"
    }

    private static func describeToken(_ line: Line) -> String {
        switch line.tokenPlace {
        case .sealed: line.tokenHint
        case .reference(let reference): reference + (line.tokenHint.isEmpty ? "" : " (\(line.tokenHint))")
        }
    }

    private static func describeState(_ line: Line) -> String {
        if line.removedAt != nil { return "removed" }
        if line.isHeld(at: line.readAt) { return "held by hand" }
        return line.gate
    }
}

/// What a line's API said of it, as people and programs read it.
private struct HealthAnswer: Encodable {
    let line: String?
    let sendable: Bool
    /// open, held, no_answer or not_asked.
    let gate: String
    let needsPerson: Bool
    let reason: String?
    let detail: String?
    let advice: String?

    init(_ answer: Preflight, line: LineID? = nil) {
        self.line = line?.value
        advice = answer.advice
        switch answer.verdict {
        case .open(let note):
            (sendable, gate, needsPerson, reason, detail) = (true, "open", false, nil, note)
        case .held(let kind, let reason, let detail):
            (sendable, gate, needsPerson, self.reason, self.detail) = (
                false, "held", kind == .human, reason.rawValue, detail
            )
        case .keepLast(let reason):
            (sendable, gate, needsPerson, self.reason, detail) = (false, "no_answer", false, reason.rawValue, nil)
        }
    }

    init(notAsked why: String, advice: String) {
        (line, sendable, gate, needsPerson, reason, detail) = (nil, false, "not_asked", false, nil, why)
        self.advice = advice
    }

    var sentence: String {
        let words = reason.map { JobStory.words(forReason: $0) } ?? ""
        let detail = detail.map { " (\($0))" } ?? ""
        switch gate {
        case "open": return "sendable\(detail)"
        case "held":
            return "not sendable: \(words)\(detail)"
                + (needsPerson ? "; a person must look at it" : "; it may clear by itself")
        case "not_asked": return "its health was not asked\(detail)"
        // What else the reason says is about sends.
        default: return "no answer about the line: \(words.prefix { $0 != ";" })"
        }
    }
}

/// A line as programs read it.
private struct LineDocument: Encodable {
    struct Held: Encodable {
        let reason: String
        let since: String
        let until: String?
    }

    let id: String
    let workspace: String
    let baseURL: String
    let tokenHint: String
    let tokenReference: String?
    let paceIntervalMilliseconds: Int
    let concurrency: Int
    let recipientGapMilliseconds: Int
    let dailyCap: Int?
    let timeZone: String
    let dailyCapUsed: Int
    let held: Held?
    let gate: String
    let gateReason: String?
    let gateSince: String
    let nextProbeAt: String?
    let createdAt: String
    let removedAt: String?
    let unfinished: [String: Int64]
    /// After a change: what its API said.
    let health: HealthAnswer?

    init(_ line: Line, health: HealthAnswer? = nil) {
        self.health = health
        id = line.id.value
        workspace = line.workspace.value
        baseURL = line.baseURL
        tokenHint = line.tokenHint
        if case .reference(let reference) = line.tokenPlace {
            tokenReference = reference
        } else {
            tokenReference = nil
        }
        paceIntervalMilliseconds = Int(line.pace.interval / .milliseconds(1))
        concurrency = line.pace.concurrency
        recipientGapMilliseconds = Int(line.pace.recipientGap / .milliseconds(1))
        dailyCap = line.dailyCap.number
        timeZone = line.timeZone
        dailyCapUsed = line.capUsed
        held =
            line.isHeld(at: line.readAt)
            ? line.hold.map { Held(reason: $0.reason, since: $0.since.rfc3339, until: $0.until?.rfc3339) } : nil
        gate = line.gate
        gateReason = line.gateReason
        gateSince = line.gateSince.rfc3339
        nextProbeAt = line.nextProbeAt?.rfc3339
        createdAt = line.createdAt.rfc3339
        removedAt = line.removedAt?.rfc3339
        unfinished = line.unfinished
    }
}
