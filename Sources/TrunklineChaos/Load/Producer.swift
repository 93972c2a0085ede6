internal import Foundation
internal import RabbitDriver
internal import Synchronization
internal import TestKit

/// Gives every job of the plan to the system, by all ways in, and writes down what it was promised.
///
/// Broker first: four connections, each in the order of its plan, without waiting for confirms. Row first and `--direct`:
/// the program's own command, file after file. What is in doubt is given again with the same key until it is promised.
final class Producer: Sendable {
    let stage: Stage
    let book: Book
    let text: JobText
    private let begin: Int64
    private let publishers: [RabbitPublisher]
    private let brokerBoxes: [Mailbox]
    private let rowBoxes: [Mailbox]
    private let directBox: Mailbox
    let postBoxes: [Mailbox]
    private let foreignBox: Mailbox
    private let foreign: ForeignProducer
    private let files = Mutex(100)
    /// That are unanswered, by the number of the gateway.
    let requests = Mutex<[Int: Int]>([:])
    private let isOver = Mutex(false)

    init(_ stage: Stage) throws {
        self.stage = stage
        let begin = Moment.now
        self.begin = begin
        text = JobText(begin: Moment.wall)
        book = Book(jobs: stage.plan.jobs.count)
        var limits = RabbitPublisher.Limits()
        limits.deadline = .seconds(8)
        limits.confirmTimeout = .seconds(5)
        publishers = try (0..<LoadPlan.producers).map { number in
            RabbitPublisher(
                configuration: try RabbitConfiguration(
                    url: stage.servers.brokerURL(port: stage.producer.port),
                    connectionName: "chaos producer \(number)"
                ),
                limits: limits
            )
        }
        func gives(_ isMine: (LoadPlan.Job) -> Bool) -> [Give] {
            stage.plan.jobs.lazy.filter(isMine).map {
                Give(job: $0, way: $0.way, due: begin + Moment.seconds($0.at), isRepeat: false)
            }
        }
        brokerBoxes = (0..<LoadPlan.producers).map { number in
            Mailbox(gives { $0.producer == number && [.shard, .intake, .bulk].contains($0.way) })
        }
        rowBoxes = (0..<2).map { number in Mailbox(gives { $0.producer % 2 == number && $0.way == .row }) }
        directBox = Mailbox(gives { $0.way == .direct })
        postBoxes = (0..<2).map { number in Mailbox(gives { $0.producer % 2 == number && $0.way == .posted }) }
        foreignBox = Mailbox(gives { $0.way == .foreign })
        foreign = try ForeignProducer(stage)
    }

    /// Seconds since the load began.
    var elapsed: Double { Double(Moment.now - begin) / 1e9 }

    /// How many messages wait for their confirm.
    var unconfirmed: Int { publishers.reduce(0) { $0 + $1.status.outstanding } }

    /// Starts the foreign client, a process of its own.
    func start() throws { try foreign.start() }

    /// Sentences about processes that did not behave.
    var misbehaviour: [String] { foreign.misbehaviour }

    /// Works until every job is promised, or until ``end()``; after ``start()``.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for number in publishers.indices { group.addTask { await self.publishLoop(number) } }
            for box in rowBoxes { group.addTask { await self.fileLoop(box, .row) } }
            group.addTask { await self.fileLoop(self.directBox, .direct) }
            for number in postBoxes.indices { group.addTask { await self.postLoop(number) } }
            group.addTask { await self.foreignLoop() }
            group.addTask { await self.cancelLoop() }
        }
        await foreign.stop()
        for publisher in publishers { await publisher.shutdown() }
    }

    /// Gives nothing any more.
    func end() { isOver.withLock { $0 = true } }

    var isEnded: Bool { Task.isCancelled || isOver.withLock { $0 } }

    var isDone: Bool {
        book.isDone && book.onTheWire == 0
            && (brokerBoxes + rowBoxes + postBoxes + [directBox, foreignBox]).allSatisfy(\.isEmpty)
    }

    // MARK: Broker first

    private func publishLoop(_ number: Int) async {
        let index = Mutex(0)
        while !isEnded, !isDone {
            try? await Task.sleep(for: .milliseconds(100))
            guard book.mayPublish() else { continue }
            let due = brokerBoxes[number].due(at: Moment.now, atMost: 200)
            guard !due.isEmpty else {
                book.landed()
                continue
            }
            let first = index.withLock { index in
                defer { index += due.count }
                return index
            }
            let tries = noteTries(due, producer: number, from: first)
            publishers[number].publish(
                due.map { give in
                    RabbitMessage(
                        exchange: Routing.exchange,
                        routingKey: Routing.queue(give.way, give.job.lane),
                        body: Array(text.encode(give.job).utf8)
                    )
                },
                waitsForRoom: true
            ) { [self] outcomes in
                noteEnds(zip(tries, outcomes).map { End($0, Self.answer(to: $1)) }, due)
                book.landed()
            }
        }
    }

    private static func answer(to outcome: PublishOutcome) -> ProducerRecord.Answer {
        switch outcome {
        case .confirmed: .promised
        case .unknown: .unknown
        case .returned, .refused, .notSent: .notTaken
        }
    }

    // MARK: Files

    private func fileLoop(_ box: Mailbox, _ way: ProducerRecord.Way) async {
        while !isEnded, !isDone {
            try? await Task.sleep(for: .milliseconds(700))
            guard way == .row || book.mayPublish() else { continue }
            let due = box.due(at: Moment.now, atMost: 400)
            if !due.isEmpty { await enqueue(due, way) }
            if way != .row { book.landed() }
        }
    }

    /// One row of `enqueue --json`.
    private struct Verdict: Decodable {
        let row: Int?
        let verdict: String?
        let reason: String?
    }

    private func enqueue(_ due: [Give], _ way: ProducerRecord.Way) async {
        let tries = noteTries(due, producer: nextFile(), from: 0)
        let outcome = try? await stage.trunkline(
            ["enqueue", "-", "--json"] + (way == .direct ? ["--direct"] : []),
            input: due.map { text.encode($0.job) }.joined(separator: "\n") + "\n",
            environment: stage.producerEnvironment,
            limit: .seconds(60)
        )
        var said: [Int: Verdict] = [:]
        for line in (outcome?.output ?? "").split(separator: "\n") {
            if let verdict = try? JSONDecoder().decode(Verdict.self, from: Data(line.utf8)), let row = verdict.row {
                said[row] = verdict
            }
        }
        noteEnds(
            zip(tries, 1...).map { number, row in
                // A row that it did not speak of may have been taken before it stopped.
                guard let verdict = said[row], let word = verdict.verdict else {
                    return End(number, .unknown, outcome.map { String($0.errors.prefix(200)) })
                }
                return End(number, Self.answer(to: word), verdict.reason)
            },
            due
        )
    }

    private static func answer(to verdict: String) -> ProducerRecord.Answer {
        switch verdict {
        case "new", "confirmed": .promised
        case "repeat": .again
        case "refused", "conflict": .refused
        case "unknown": .unknown
        default: .notTaken
        }
    }

    // MARK: The foreign client

    /// Hands it what is due, and reads its notes.
    private func foreignLoop() async {
        while !isEnded, !isDone {
            try? await Task.sleep(for: .milliseconds(200))
            let due = foreignBox.due(at: Moment.now, atMost: 400)
            foreign.give(due.map { (note(of: $0, number: 0), Array(text.encode($0.job).utf8), $0.job) })
            for (answer, job) in foreign.newAnswers() {
                // What it was not promised it gives again by itself.
                if book.heard(answer, of: job.number) { repeatLater(job) }
            }
        }
    }

    // MARK: Writing down

    /// A number for what keeps the order of its tries.
    func nextFile() -> Int {
        files.withLock { number in
            number += 1
            return number
        }
    }

    func noteTries(_ due: [Give], producer: Int, from first: Int) -> [Int] {
        let numbers = Array(book.numbers(due.count))
        stage.producerLog.append(
            zip(numbers, due.enumerated()).map { number, item in
                let (place, give) = item
                var record = note(of: give, number: number)
                // The command takes the shards' queues, or the intake when the database does not tell it their number: which
                // one is not known here, only that a whole file goes one way.
                if give.way == .direct { record.queue = "file.\(producer)" }
                if give.way == .posted { record.queue = "request.\(producer)" }
                record.producer = producer
                record.index = first + place
                return record
            }
        )
        return numbers
    }

    /// What is written down of a try, but for who makes it.
    private func note(of give: Give, number: Int) -> ProducerRecord {
        var record = ProducerRecord(.try, number: number, key: give.job.key)
        record.lane = give.job.lane.name
        record.to = give.job.to
        record.orderingKey = give.job.orderingKey
        record.way = give.way
        record.queue = Routing.queue(give.way, give.job.lane)
        record.supersedeKey = give.job.supersedeKey
        record.factAt = text.factAt(give.job)
        record.notBefore = text.notBefore(give.job)
        return record
    }

    /// What a try came to.
    struct End {
        let number: Int
        let answer: ProducerRecord.Answer
        let said: String?
        /// Where it is, when only the answer tells.
        let queue: String?

        init(_ number: Int, _ answer: ProducerRecord.Answer, _ said: String? = nil, queue: String? = nil) {
            self.number = number
            self.answer = answer
            self.said = said
            self.queue = queue
        }
    }

    func noteEnds(_ answers: [End], _ due: [Give]) {
        stage.producerLog.append(
            zip(answers, due).map { answer, give in
                var record = ProducerRecord(.end, number: answer.number, key: give.job.key)
                record.answer = answer.answer
                record.said = answer.said
                record.queue = answer.queue
                return record
            }
        )
        for (answer, give) in zip(answers, due) {
            let isFirst = book.heard(answer.answer, of: give.job.number)
            switch answer.answer {
            case .promised, .again:
                if isFirst { repeatLater(give.job) }
            case .unknown, .notTaken:
                guard !give.isRepeat else { continue }
                post(Give(job: give.job, way: give.way, due: Moment.now + Moment.seconds(1), isRepeat: false))
            case .refused:
                break
            }
        }
    }

    /// The plan may give a promised job once more.
    private func repeatLater(_ job: LoadPlan.Job) {
        guard let again = job.again else { return }
        post(Give(job: job, way: again.way, due: Moment.now + Moment.seconds(again.after), isRepeat: true))
    }

    private func post(_ give: Give) {
        switch give.way {
        case .shard, .intake, .bulk: brokerBoxes[give.job.producer].add(give)
        case .row: rowBoxes[give.job.producer % 2].add(give)
        case .direct: directBox.add(give)
        case .posted: postBoxes[give.job.producer % 2].add(give)
        case .foreign: foreignBox.add(give)
        }
    }

    // MARK: Cancels

    private func cancelLoop() async {
        for (number, cancel) in stage.plan.cancels.enumerated() {
            while elapsed < cancel.at {
                if isEnded { return }
                try? await Task.sleep(for: .milliseconds(100))
            }
            await self.cancel(number, cancel)
        }
    }

    private func cancel(_ number: Int, _ cancel: LoadPlan.Cancel) async {
        var record = ProducerRecord(.cancel, number: number, key: cancel.pattern)
        record.lane = cancel.destination?.name
        stage.producerLog.append(record)
        let owner = cancel.destination.map { ["--destination", $0.id] } ?? ["--workspace", Stage.workspace]
        let outcome = try? await stage.trunkline(["cancel", cancel.pattern, "--json"] + owner, limit: .seconds(60))
        guard let outcome else { return }
        let words = CancelAnswer.read(outcome.output)
        stage.producerLog.append(
            words.map { key, word in
                var record = ProducerRecord(.cancelled, number: number, key: key)
                record.said = word
                return record
            }
        )
        book.cancelled(words.values.count { $0 == "cancelled" })
    }
}

/// What `trunkline cancel --json` says of each key: one object per line inside its document, so that a command that was
/// stopped in the middle has said what it did.
enum CancelAnswer {
    private struct Item: Decodable {
        let key: String
        let verdict: String
    }

    static func read(_ output: String) -> [String: String] {
        var words: [String: String] = [:]
        for line in output.split(separator: "\n") {
            guard let start = line.range(of: "{\"job\":")?.lowerBound,
                let item = try? JSONDecoder().decode(Item.self, from: Data(line[start...].utf8))
            else { continue }
            words[item.key] = item.verdict
        }
        return words
    }
}
