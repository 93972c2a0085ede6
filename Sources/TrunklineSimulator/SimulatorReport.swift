import Glibc

/// What the journal adds up to: the other half of every proof that is made with the simulator.
package struct SimulatorReport: Sendable, Hashable {
    /// The figures of one line, or of all together.
    package struct Counts: Sendable, Hashable {
        /// Requests to `/messages/…` (and to paths that do not exist).
        package var requests = 0
        /// Messages accepted: what customers would have received.
        package var messages = 0
        /// Same key, same bytes.
        package var replays = 0
        /// Same key, other bytes.
        package var conflicts = 0
        /// Requests that were refused for any other reason.
        package var refused = 0
        /// Answers that left.
        package var answers = 0
        /// Requests that got no answer.
        package var noAnswers = 0
        /// Messages accepted although the line was not sendable (profile A).
        package var acceptedWhileNotSendable = 0
        /// Health questions with `wakeup=true`, which may wake the line.
        package var healthWakeupTrue = 0
        /// Health questions with `wakeup=false`.
        package var healthWakeupFalse = 0
        /// Health questions without `wakeup`, which the API takes for true.
        package var healthWakeupAbsent = 0
    }

    /// The figures of one receiver of signed webhooks.
    package struct HookCounts: Sendable, Hashable {
        /// Requests, whatever was wrong about them.
        package var requests = 0
        /// Different ids that came with a good signature.
        package var deliveries = 0
        /// The same id and bytes again.
        package var repeats = 0
        /// Of those, the ones that came although an answer of the 200s had left. Must be 0.
        package var repeatsAfterAnswer = 0
        /// The same id with other bytes. Must be 0.
        package var conflicts = 0
        /// Requests that were refused for any other reason, faults included.
        package var refused = 0
        /// Answers that left.
        package var answers = 0
        /// Requests that got no answer.
        package var noAnswers = 0
    }

    /// All lines together.
    package var total = Counts()
    /// Each line that was asked for anything.
    package var lines: [String: Counts] = [:]
    /// Pairs of workspace and key that have at least one message.
    package var distinctKeys = 0
    /// Pairs of workspace and key with more than one message. Must be 0.
    package var sentTwice = 0
    /// Messages that repeat a key whose answer had left: the sender could have known.
    package var sentTwiceAfterAnswer = 0
    /// Messages that repeat a key while another call with it was in the air: the sender could have known.
    package var sentTwiceOverlapping = 0
    /// Messages that repeat a key whose answer was lost: with no key memory nobody can know.
    package var sentTwiceAfterLostAnswer = 0
    /// Keys for which a request came although an answer of the 200s had left.
    package var askedAgainAfterAnswer = 0
    /// The keys behind `sentTwice` as `workspace key`, sorted, at most 100.
    package var sentTwiceKeys: [String] = []
    /// The keys behind `askedAgainAfterAnswer` as `workspace key`, sorted, at most 100.
    package var askedAgainKeys: [String] = []
    /// Health answers that left.
    package var healthAnswers = 0
    /// Health questions without an answer.
    package var healthNoAnswers = 0
    /// How many answers left with each status, health included.
    package var statuses: [Int: Int] = [:]
    /// How many requests each kind of fault hit.
    package var faults: [String: Int] = [:]
    /// Tries to deliver webhooks, by outcome.
    package var webhooks: [String: Int] = [:]
    /// What came to each hook.
    package var hooks: [String: HookCounts] = [:]
    /// Wall clock of the first and the last message, microseconds since 1970.
    package var firstMessage: Int64?
    package var lastMessage: Int64?
    /// Number of the last record that is counted.
    package var sequence: Int64 = 0

    /// Reads a journal file, also while a simulator writes to it, and adds it up. A torn last line is left out.
    ///
    /// - Throws: `SimulatorError` (`journal`).
    package init(journal path: String) throws(SimulatorError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw SimulatorError(.journal, "cannot open the journal \(path): \(errorText(errno))")
        }
        defer { close(descriptor) }
        var tally = Tally()
        _ = try JournalReader.read(descriptor, name: path) { tally.apply($0) }
        // A mistyped path must not look like a clean proof.
        guard tally.lastSequence > 0 else { throw SimulatorError(.journal, "\(path) is no journal: it has no records") }
        self.init(tally)
    }

    init(_ tally: Tally) {
        func counts(_ line: Tally.PerLine) -> Counts {
            Counts(
                requests: line.requests,
                messages: line.messages,
                replays: line.replays,
                conflicts: line.conflicts,
                refused: line.refused,
                answers: line.answers,
                noAnswers: line.noAnswers,
                acceptedWhileNotSendable: line.whileNotSendable,
                healthWakeupTrue: line.wakeupTrue,
                healthWakeupFalse: line.wakeupFalse,
                healthWakeupAbsent: line.wakeupAbsent
            )
        }
        total = counts(tally.total)
        lines = tally.lines.mapValues(counts)
        var twice: [String] = []
        var again: [String] = []
        for (id, entry) in tally.keys {
            if entry.effects > 0 { distinctKeys += 1 }
            if entry.effects > 1 { twice.append("\(id.workspace) \(id.key)") }
            if entry.askedAgain { again.append("\(id.workspace) \(id.key)") }
        }
        sentTwice = twice.count
        askedAgainAfterAnswer = again.count
        sentTwiceKeys = Array(twice.sorted().prefix(100))
        askedAgainKeys = Array(again.sorted().prefix(100))
        sentTwiceAfterAnswer = tally.sentTwiceAfterAnswer
        sentTwiceOverlapping = tally.sentTwiceOverlapping
        sentTwiceAfterLostAnswer = tally.sentTwiceAfterLostAnswer
        healthAnswers = tally.healthAnswers
        healthNoAnswers = tally.healthNoAnswers
        statuses = tally.statuses
        faults = tally.faults
        webhooks = tally.webhooks
        hooks = tally.hooks.mapValues(\.counts)
        firstMessage = tally.firstMessage
        lastMessage = tally.lastMessage
        sequence = tally.lastSequence
    }

    /// The report as `GET /__sim/report` answers it.
    package var json: String { String(decoding: bytes, as: UTF8.self) }

    var bytes: [UInt8] {
        JSONWriter.object { writer in
            Self.write(total, to: &writer)
            writer.member("distinctKeys", distinctKeys)
            writer.member("sentTwice", sentTwice)
            writer.member("sentTwiceAfterAnswer", sentTwiceAfterAnswer)
            writer.member("sentTwiceOverlapping", sentTwiceOverlapping)
            writer.member("sentTwiceAfterLostAnswer", sentTwiceAfterLostAnswer)
            writer.member("askedAgainAfterAnswer", askedAgainAfterAnswer)
            writer.strings("sentTwiceKeys", sentTwiceKeys)
            writer.strings("askedAgainKeys", askedAgainKeys)
            writer.member("healthAnswers", healthAnswers)
            writer.member("healthNoAnswers", healthNoAnswers)
            writer.object("statuses") { writer in
                for (status, count) in statuses.sorted(by: { $0.key < $1.key }) { writer.member("\(status)", count) }
            }
            writer.object("faults") { writer in
                for (name, count) in faults.sorted(by: { $0.key < $1.key }) { writer.member(name, count) }
            }
            writer.object("webhooks") { writer in
                for (name, count) in webhooks.sorted(by: { $0.key < $1.key }) { writer.member(name, count) }
            }
            writer.object("hooks") { writer in
                for (name, counts) in hooks.sorted(by: { $0.key < $1.key }) {
                    writer.object(name) { counts.write(to: &$0) }
                }
            }
            writer.optional("firstMessage", firstMessage)
            writer.optional("lastMessage", lastMessage)
            writer.member("seq", sequence)
            writer.object("lines") { writer in
                for (line, counts) in lines.sorted(by: { $0.key < $1.key }) {
                    writer.object(line) { Self.write(counts, to: &$0) }
                }
            }
        }
    }

    private static func write(_ counts: Counts, to writer: inout JSONWriter) {
        writer.member("requests", counts.requests)
        writer.member("messages", counts.messages)
        writer.member("replays", counts.replays)
        writer.member("conflicts", counts.conflicts)
        writer.member("refused", counts.refused)
        writer.member("answers", counts.answers)
        writer.member("noAnswers", counts.noAnswers)
        writer.member("acceptedWhileNotSendable", counts.acceptedWhileNotSendable)
        writer.object("health") { writer in
            writer.member("wakeupTrue", counts.healthWakeupTrue)
            writer.member("wakeupFalse", counts.healthWakeupFalse)
            writer.member("wakeupAbsent", counts.healthWakeupAbsent)
        }
    }
}
