internal import ArgumentParser
internal import Foundation
internal import PostgresDriver
internal import RabbitDriver
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct EnqueueCommand: AsyncParsableCommand, HandlesStopSignals {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Enqueue a file of notices, with a verdict for every row.",
        discussion: """
            NDJSON: one trunkline.send.v1 object per line. CSV: the first row names the columns, and --map says which column \
            or template becomes which field. Good rows go on whatever is wrong with others. The same file again sends nothing \
            twice. Exit code 0: every row is accepted, now or before; 3: some rows were refused.
            """
    )

    enum Format: String, ExpressibleByArgument, CaseIterable { case ndjson, csv }

    @OptionGroup var options: GlobalOptions

    @Argument(help: ArgumentHelp("The file, .ndjson or .csv; - is standard input.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("How a CSV row becomes a notice (YAML).", valueName: "file"))
    var map: String?

    @Option(help: "ndjson or csv; default: by the file's name, csv when there is a --map.")
    var format: Format?

    @Flag(help: "Publish to the broker only, without the database; workers take the notices from there.")
    var direct = false

    @Flag(help: "Print one JSON object per row, and one with the sums at the end.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            // Set once the input is open; before that nothing has begun.
            let told = Mutex<EnqueueReport?>(nil)
            StopSignals.handle { signal, _ in
                // With the code that a shell gives for the signal.
                told.withLock { report in
                    if let report { report.abandon() } else { Output.note(EnqueueReport.nothingBegan) }
                    _exit(128 + signal)
                }
            }
            let input = try Input(path: file)
            let format = format ?? (map != nil || file.lowercased().hasSuffix(".csv") ? .csv : .ndjson)
            if format == .ndjson, map != nil { throw CommandError(.usage, "--map is for CSV files") }
            let fieldMap = try map.map { path in
                let text = try Self.text(ofFile: path)
                do throws(FieldMapError) {
                    return try FieldMap(yaml: text)
                } catch {
                    throw CommandError(.usage, "\(path): \(error.description)")
                }
            }
            let report = EnqueueReport(json: json, totalBytes: input.size)
            told.withLock { $0 = report }
            let sink: any EnqueueSink =
                direct ? try await DirectSink.open(settings) : try await RowSink.open(settings) { report.warn($0) }
            do {
                var rows: any RowSource = format == .csv ? CSVRows(map: fieldMap) : NDJSONRows()
                try await Self.pump(input, &rows, sink, report)
            } catch {
                await sink.close()
                report.abandon()
                throw error
            }
            await sink.close()
            StopSignals.release()
            try report.finish()
        }
    }

    /// Reads the input chunk by chunk; memory stays bounded by a chunk, a batch and the longest row.
    private static func pump(
        _ input: Input,
        _ rows: inout any RowSource,
        _ sink: any EnqueueSink,
        _ report: EnqueueReport
    ) async throws {
        var batch: [EnqueueRow] = []
        // Said together with the batch, so that rows are told in their order.
        var refused: [EnqueueVerdict] = []
        var bytes = 0
        func flush() async throws {
            let given = batch.isEmpty ? [] : try await sink.take(batch)
            report.add((given + refused).sorted { $0.row < $1.row })
            batch.removeAll(keepingCapacity: true)
            refused.removeAll(keepingCapacity: true)
            bytes = 0
        }
        func add(_ read: [ReadRow]) async throws {
            for row in read {
                switch row.content {
                case .success(let job):
                    batch.append(EnqueueRow(number: row.number, job: job))
                    bytes += job.body.utf8.count + 512
                case .failure(let refusal):
                    refused.append(EnqueueVerdict(row: row.number, job: nil, outcome: .refused(refusal)))
                }
                if batch.count >= TakeBatch.usualLimit || bytes > 4 << 20 || refused.count >= TakeBatch.usualLimit {
                    try await flush()
                }
            }
        }
        while let chunk = try input.next() {
            try await add(try rows.push(chunk))
            report.progress(bytes: input.offset)
        }
        try await add(try rows.finish())
        try await flush()
        report.add(try await sink.finish())
    }

    private static func text(ofFile path: String) throws(CommandError) -> String {
        guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.read(upToCount: (1 << 20) + 1)
        else {
            throw CommandError(.usage, "the map \(path) cannot be read")
        }
        guard data.count <= 1 << 20 else { throw CommandError(.usage, "the map \(path) is larger than 1 MiB") }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandError(.usage, "the map \(path) is not UTF-8")
        }
        return text
    }
}

// MARK: Reading

/// A file or standard input, in chunks.
private final class Input {
    private static let chunk = 64 << 10

    private let handle: FileHandle
    private let name: String
    /// Nil for a pipe.
    let size: Int64?
    private(set) var offset: Int64 = 0

    init(path: String) throws(CommandError) {
        name = path == "-" ? "standard input" : path
        if path == "-" {
            handle = .standardInput
            size = nil
            return
        }
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue,
            let handle = FileHandle(forReadingAtPath: path)
        else { throw CommandError(.usage, "the file \(path) cannot be read") }
        self.handle = handle
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        let size = (attributes?[.size] as? NSNumber)?.int64Value
        self.size = size == 0 ? nil : size
    }

    func next() throws(CommandError) -> [UInt8]? {
        do {
            guard let data = try handle.read(upToCount: Self.chunk), !data.isEmpty else { return nil }
            offset += Int64(data.count)
            return Array(data)
        } catch {
            throw CommandError(
                .failed,
                "\(name) cannot be read any further after \(offset) bytes; what was accepted stays accepted"
            )
        }
    }
}

private struct ReadRow {
    let number: Int
    let content: Result<SendJob, Refusal>

    /// A row's job after the rules that need a clock.
    static func job(_ number: Int, _ make: () throws(Refusal) -> SendJob) -> ReadRow {
        do throws(Refusal) {
            let job = try make()
            try job.validate(now: Clock.now)
            return ReadRow(number: number, content: .success(job))
        } catch {
            return ReadRow(number: number, content: .failure(error))
        }
    }
}

private enum Clock {
    static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }
}

private protocol RowSource {
    mutating func push(_ chunk: [UInt8]) throws -> [ReadRow]
    mutating func finish() throws -> [ReadRow]
}

private struct NDJSONRows: RowSource {
    private var lines = LineReader()

    mutating func push(_ chunk: [UInt8]) -> [ReadRow] { lines.push(chunk).map(Self.row) }
    mutating func finish() -> [ReadRow] { lines.finish().map(Self.row) }

    private static func row(_ line: LineReader.Line) -> ReadRow {
        switch line.content {
        case .tooLong(let bytes):
            let reason = "the line has \(bytes) bytes, at most \(SendJob.maximumMessageBytes) are allowed"
            return ReadRow(number: line.number, content: .failure(Refusal(kind: .tooLarge, reason: reason)))
        case .bytes(let bytes):
            return ReadRow.job(line.number) { () throws(Refusal) in
                let job = try SendJob.decode(json: bytes)
                guard PhoneNumbers.isPossible(e164: job.to.value) else {
                    throw Refusal(
                        kind: .invalid,
                        field: "to",
                        reason: "to is not a possible phone number of any country"
                    )
                }
                return job
            }
        }
    }
}

private struct CSVRows: RowSource {
    private var reader: CSVReader
    private let map: FieldMap?
    private var bound: BoundFieldMap?

    init(map: FieldMap?) {
        self.map = map
        reader = CSVReader(separator: map?.separator)
    }

    mutating func push(_ chunk: [UInt8]) throws -> [ReadRow] {
        try rows(usable { r throws(Refusal) in try r.push(chunk) })
    }
    mutating func finish() throws -> [ReadRow] { try rows(usable { r throws(Refusal) in try r.finish() }) }

    private mutating func usable(
        _ read: (inout CSVReader) throws(Refusal) -> [CSVReader.Row]
    ) throws(CommandError) -> [CSVReader.Row] {
        do throws(Refusal) {
            return try read(&reader)
        } catch {
            throw CommandError(.refused, error.reason)
        }
    }

    private mutating func rows(_ rows: [CSVReader.Row]) throws -> [ReadRow] {
        if bound == nil, let header = reader.header {
            do throws(FieldMapError) {
                let map = if let map { map } else { try FieldMap(columnsNamedLikeFields: header) }
                bound = try map.bound(to: header)
            } catch {
                throw CommandError(.usage, error.description)
            }
        }
        guard let bound else { return [] }
        return rows.map { row in
            switch row.content {
            case .broken(let refusal): ReadRow(number: row.number, content: .failure(refusal))
            case .fields(let fields): ReadRow.job(row.number) { () throws(Refusal) in try bound.job(fields) }
            }
        }
    }
}

// MARK: Giving

struct EnqueueRow {
    let number: Int
    let job: SendJob
}

/// What became of one row.
struct EnqueueVerdict {
    enum Outcome {
        case new(JobID)
        case `repeat`(JobID, finalState: String?)
        case conflict(Refusal)
        case refused(Refusal)
        case confirmed
        case unroutable
        case rejected
        case notSent(String)
        case unknown(String)
    }

    let row: Int
    let job: SendJob?
    let outcome: Outcome

    var word: String {
        switch outcome {
        case .new: "new"
        case .repeat: "repeat"
        case .conflict: "conflict"
        case .refused: "refused"
        case .confirmed: "confirmed"
        case .unroutable: "unroutable"
        case .rejected: "rejected"
        case .notSent: "not_sent"
        case .unknown: "unknown"
        }
    }

    /// Field and reason of what did not go well.
    var complaint: (field: String?, reason: String)? {
        switch outcome {
        case .new, .repeat, .confirmed: nil
        case .conflict(let refusal), .refused(let refusal): (refusal.field, refusal.reason)
        case .unroutable: (nil, "the broker has no queue for it: run 'trunkline topology apply'")
        case .rejected: (nil, "the broker refused it, for example because a queue is full")
        case .notSent(let reason): (nil, "it did not reach the broker: \(reason)")
        case .unknown(let reason):
            (nil, "the broker may have it or not (\(reason)); the same row again is the same notice")
        }
    }
}

protocol EnqueueSink {
    /// Gives rows, in order. The verdicts may come with a later call.
    func take(_ rows: [EnqueueRow]) async throws -> [EnqueueVerdict]
    /// The verdicts that are still out.
    func finish() async throws -> [EnqueueVerdict]
    func close() async
}

/// Row first: the verdict is committed when it is said.
final class RowSink: EnqueueSink {
    private let acceptor: Acceptor
    private let wakes: WakeSender?

    private init(acceptor: Acceptor, wakes: WakeSender?) {
        self.acceptor = acceptor
        self.wakes = wakes
    }

    static func open(
        _ settings: Settings,
        jobClass: JobClass = .bulk,
        warn: @escaping @Sendable (String) -> Void
    ) async throws -> RowSink {
        let url = try settings.databaseURL()
        let shards = try await PostgresSession.withSession(url: url, applicationName: "trunkline enqueue") { session in
            try await Migrations.requireCurrent(session)
            return try await Install.shards(session)
        }
        var wakes: WakeSender?
        if settings.hasBroker {
            let broker = try RabbitConfiguration(url: try settings.amqpURL(), connectionName: "trunkline enqueue")
            wakes = WakeSender(configuration: broker, shards: shards, warn: warn)
        }
        let configuration = Acceptor.Configuration(
            databaseURL: url,
            applicationName: "trunkline enqueue",
            jobClass: jobClass
        )
        return RowSink(acceptor: Acceptor(configuration: configuration, wakes: wakes), wakes: wakes)
    }

    func take(_ rows: [EnqueueRow]) async throws -> [EnqueueVerdict] {
        let verdicts = try await acceptor.accept(rows.map(\.job))
        return zip(rows, verdicts).map { row, verdict in
            let outcome: EnqueueVerdict.Outcome =
                switch verdict {
                case .new(let id): .new(id)
                case .repeat(let id, _, let finalState): .repeat(id, finalState: finalState)
                case .conflict, .unknownLine, .removedLine, .refused:
                    Self.refused(verdict, row.job)
                }
            return EnqueueVerdict(row: row.number, job: row.job, outcome: outcome)
        }
    }

    private static func refused(_ verdict: AcceptVerdict, _ job: SendJob) -> EnqueueVerdict.Outcome {
        let refusal = verdict.refusal(of: job) ?? Refusal(kind: .invalid, reason: "it was refused")
        if case .conflict = verdict { return .conflict(refusal) }
        return .refused(refusal)
    }

    func finish() async throws -> [EnqueueVerdict] { [] }

    func close() async {
        await acceptor.close()
        await wakes?.shutdown()
    }
}

/// Broker first: confirmed by RabbitMQ, taken by a worker.
private final class DirectSink: EnqueueSink {
    /// Batches on the way; enough that a round trip does not set the pace.
    private static let inFlight = 4

    private struct Pending {
        let rows: [EnqueueRow]
        let outcomes: AsyncStream<[PublishOutcome]>
    }

    private let publisher: RabbitPublisher
    private let shards: Int?
    private var pending: [Pending] = []

    private init(publisher: RabbitPublisher, shards: Int?) {
        self.publisher = publisher
        self.shards = shards
    }

    static func open(_ settings: Settings) async throws -> DirectSink {
        let broker = try RabbitConfiguration(url: try settings.amqpURL(), connectionName: "trunkline enqueue")
        var shards: Int?
        if let url = try? settings.databaseURL() {
            // Only for the shortest way: without it everything goes through the queue for imports, and is as right.
            shards = try? await PostgresSession.withSession(url: url, applicationName: "trunkline enqueue") { session in
                try await Install.shards(session)
            }
        }
        var limits = RabbitPublisher.Limits()
        limits.deadline = .seconds(30)
        return DirectSink(publisher: RabbitPublisher(configuration: broker, limits: limits), shards: shards)
    }

    func take(_ rows: [EnqueueRow]) async throws -> [EnqueueVerdict] {
        let messages = rows.map { row in
            RabbitMessage(
                exchange: Route.exchange,
                routingKey: shards.map { Route.shard(shard(ofLane: row.job.laneName, of: $0)) } ?? Route.bulk,
                properties: RabbitProperties(messageID: row.job.key.value),
                body: row.job.encode()
            )
        }
        let (outcomes, continuation) = AsyncStream<[PublishOutcome]>.makeStream()
        publisher.publish(messages) { outcomes in
            continuation.yield(outcomes)
            continuation.finish()
        }
        pending.append(Pending(rows: rows, outcomes: outcomes))
        return pending.count < Self.inFlight ? [] : await settle()
    }

    func finish() async throws -> [EnqueueVerdict] {
        var verdicts: [EnqueueVerdict] = []
        while !pending.isEmpty { verdicts += await settle() }
        return verdicts
    }

    func close() async { await publisher.shutdown() }

    private func settle() async -> [EnqueueVerdict] {
        let first = pending.removeFirst()
        for await outcomes in first.outcomes {
            return zip(first.rows, outcomes).map { row, outcome in
                let said: EnqueueVerdict.Outcome =
                    switch outcome {
                    case .confirmed: .confirmed
                    case .returned: .unroutable
                    case .refused: .rejected
                    case .notSent(let error): .notSent(error.message)
                    case .unknown(let error): .unknown(error.message)
                    }
                return EnqueueVerdict(row: row.number, job: row.job, outcome: said)
            }
        }
        return first.rows.map { EnqueueVerdict(row: $0.number, job: $0.job, outcome: .unknown("the publisher ended")) }
    }
}
