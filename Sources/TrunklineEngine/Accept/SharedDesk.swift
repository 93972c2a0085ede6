internal import DequeModule
internal import RabbitDriver
internal import Synchronization
package import TrunklineCore

/// The desk of a service: many callers at once, a few acceptors side by side.
///
/// What arrives while a batch is under way is the next batch, so that commits are shared and a lone job never waits. Row
/// first while the database answers; while it does not, broker first. Bounded: callers that would wait behind too many others
/// are sent away at once.
package final class SharedDesk: Sendable {
    /// What a desk needs, and its bounds.
    package struct Configuration: Sendable {
        package var databaseURL: String
        package var amqpURL: String
        /// Shown in the servers' lists of connections.
        package var name: String
        /// Who accepts, as refusals say: `http`.
        package var via: String
        package var carriers: CarrierRegistry
        /// Connections to the database that accept. Default 3.
        package var acceptors = 3
        /// Jobs of one commit, unless one caller brings more. Default 256.
        package var batch = 256
        /// Jobs that wait for their batch. Default 20,000.
        package var waitingJobs = 20_000
        /// Bytes of the requests that wait. Default 64 MiB.
        package var waitingBytes = 64 << 20
        /// After how long without an answer the database counts as away, and the broker's as unknown. Default 2 s.
        package var patience: Duration = .seconds(2)

        package init(databaseURL: String, amqpURL: String, name: String, via: String, carriers: CarrierRegistry) {
            self.databaseURL = databaseURL
            self.amqpURL = amqpURL
            self.name = name
            self.via = via
            self.carriers = carriers
        }
    }

    /// So many wait already that one more would only wait in vain. Nothing was taken.
    package struct Full: Error, Sendable, Hashable {}

    /// Why neither or only one of the two ways works; nil where it does.
    package struct Troubles: Sendable, Hashable {
        package let database: String?
        package let broker: String?
    }

    fileprivate struct Ticket {
        let jobs: [CarriedWork]
        let bytes: Int
        /// Nil: it was not let in.
        let answer: CheckedContinuation<[AcceptVerdict]?, Never>
    }

    fileprivate struct State {
        var waiting = Deque<Ticket>()
        var jobs = 0
        var bytes = 0
        var idle: [CheckedContinuation<Void, Never>] = []
        var isClosed = false
        /// Nil: it answers. At first nobody has asked it.
        var database: String? = "the database has not answered yet"
        /// Whether it was said that the database is away.
        var isAwayTold = false
        /// From the database's first answer on.
        var wakes: WakeSender?
    }

    private let configuration: Configuration
    private let broker: BrokerAcceptor
    private let warn: @Sendable (String) -> Void
    private let state = Mutex(State())

    /// Begins to connect to the broker; throws for a URL of it that cannot be read.
    ///
    /// - Parameter warn: called on any thread with a sentence: a way in is closed, or open again.
    package init(_ configuration: Configuration, warn: @escaping @Sendable (String) -> Void) throws {
        self.configuration = configuration
        self.warn = warn
        broker = try BrokerAcceptor(
            amqpURL: configuration.amqpURL,
            shards: nil,
            connectionName: configuration.name,
            deadline: configuration.patience
        )
    }

    /// Accepts until ``close()``, and returns when everybody who waited has an answer.
    package func run() async {
        await withTaskGroup { group in
            for _ in 0..<configuration.acceptors { group.addTask { await self.accept() } }
        }
        await broker.close()
        await state.withLock { $0.wakes }?.shutdown()
    }

    /// Nobody comes any more: who waits is served, then ``run()`` returns.
    package func close() {
        let idle = state.withLock { state in
            state.isClosed = true
            defer { state.idle = [] }
            return state.idle
        }
        for continuation in idle { continuation.resume() }
    }

    /// Gives jobs of one caller, in order, and waits for their verdicts: one per job, in the same order.
    ///
    /// Row first, and the verdicts are committed. While the database is away they are those of broker first:
    /// ``AcceptVerdict/confirmed``, or one that says why the broker has not, or may not have, a job. With both away
    /// ``AcceptVerdict/notSent(_:)``.
    ///
    /// - Parameter bytes: what the jobs hold in memory, about.
    package func accept(_ jobs: [CarriedWork], bytes: Int) async throws(Full) -> [AcceptVerdict] {
        if jobs.isEmpty { return [] }
        let verdicts = await withCheckedContinuation { (answer: CheckedContinuation<[AcceptVerdict]?, Never>) in
            let ticket = Ticket(jobs: jobs, bytes: bytes, answer: answer)
            let (isIn, idle) = state.withLock { state in
                guard !state.isClosed, state.waiting.isEmpty || state.hasRoom(for: ticket, configuration) else {
                    return (false, nil as CheckedContinuation<Void, Never>?)
                }
                state.add(ticket)
                return (true, state.idle.popLast())
            }
            idle?.resume()
            if !isIn { answer.resume(returning: nil) }
        }
        guard let verdicts else { throw Full() }
        return verdicts
    }

    /// Jobs that wait for their batch.
    package var waitingJobs: Int { state.withLock { $0.jobs } }

    // MARK: What is known of the ways

    /// Why a way is closed.
    package var troubles: Troubles { Troubles(database: state.withLock { $0.database }, broker: broker.trouble) }

    /// The database answers: from now on it is row first. To be said again and again by whoever asks it for something else.
    package func databaseAnswered(shards: Int) {
        broker.learn(shards: shards)
        let wasTold = state.withLock { state in
            if state.wakes == nil {
                // The same URL was read when the desk was made.
                let broker = try? RabbitConfiguration(url: configuration.amqpURL, connectionName: configuration.name)
                state.wakes = broker.map { WakeSender(configuration: $0, shards: shards, warn: warn) }
            }
            defer { state.isAwayTold = false }
            state.database = nil
            return state.isAwayTold
        }
        if wasTold { warn("the database answers again: jobs are committed when they are accepted") }
    }

    /// The database does not answer whoever asked it, and why.
    package func databaseFailed(_ reason: String) {
        let wasTold = state.withLock { state in
            defer { state.isAwayTold = true }
            state.database = reason
            return state.isAwayTold
        }
        if !wasTold { warn("\(reason): jobs are given to the broker until it answers") }
    }

    // MARK: Accepting

    private func accept() async {
        var acceptor: Acceptor?
        while let tickets = await next() {
            let jobs = tickets.count == 1 ? tickets[0].jobs : tickets.flatMap(\.jobs)
            var verdicts = await rowFirst(jobs, &acceptor)
            if verdicts == nil { verdicts = await brokerFirst(jobs) }
            var rest = (verdicts ?? [])[...]
            for ticket in tickets {
                ticket.answer.resume(returning: Array(rest.prefix(ticket.jobs.count)))
                rest = rest.dropFirst(ticket.jobs.count)
            }
        }
        await acceptor?.close()
    }

    /// Nil when the database is away: any of the jobs may be accepted by then, and whoever gives them to the broker gives
    /// the same keys.
    private func rowFirst(_ jobs: [CarriedWork], _ acceptor: inout Acceptor?) async -> [AcceptVerdict]? {
        let (trouble, wakes) = state.withLock { ($0.database, $0.wakes) }
        guard trouble == nil else { return nil }
        let open = acceptor ?? makeAcceptor(wakes)
        acceptor = open
        do {
            return try await open.accept(jobs)
        } catch {
            databaseFailed(Explanation(error).words)
            return nil
        }
    }

    private func makeAcceptor(_ wakes: WakeSender?) -> Acceptor {
        var row = Acceptor.Configuration(
            databaseURL: configuration.databaseURL,
            applicationName: configuration.name,
            via: configuration.via,
            carriers: configuration.carriers
        )
        row.limit = configuration.patience
        // Callers wait for each other's commits, which are short; nobody waits for somebody's transaction at a prompt.
        row.lockLimit = .milliseconds(500)
        // A connection that was lost is made again at once, or the broker is asked.
        row.patience = .milliseconds(500)
        return Acceptor(configuration: row, wakes: wakes)
    }

    private func brokerFirst(_ jobs: [CarriedWork]) async -> [AcceptVerdict] {
        if let trouble = broker.trouble { return Array(repeating: .notSent(trouble), count: jobs.count) }
        return await broker.submit(jobs).verdicts()
    }

    /// Nil at the end.
    private func next() async -> [Ticket]? {
        while true {
            let (tickets, isClosed) = state.withLock { ($0.takeBatch(configuration.batch), $0.isClosed) }
            if !tickets.isEmpty { return tickets }
            if isClosed { return nil }
            await withCheckedContinuation { idle in
                let goesOn = state.withLock { state in
                    if !state.waiting.isEmpty || state.isClosed { return true }
                    state.idle.append(idle)
                    return false
                }
                if goesOn { idle.resume() }
            }
        }
    }
}

extension SharedDesk.State {
    fileprivate func hasRoom(for ticket: SharedDesk.Ticket, _ bounds: SharedDesk.Configuration) -> Bool {
        jobs + ticket.jobs.count <= bounds.waitingJobs && bytes + ticket.bytes <= bounds.waitingBytes
    }

    fileprivate mutating func add(_ ticket: SharedDesk.Ticket) {
        waiting.append(ticket)
        jobs += ticket.jobs.count
        bytes += ticket.bytes
    }

    /// Whole tickets, so that what one caller brought stays in order.
    fileprivate mutating func takeBatch(_ limit: Int) -> [SharedDesk.Ticket] {
        var tickets: [SharedDesk.Ticket] = []
        var count = 0
        while let first = waiting.first, tickets.isEmpty || count + first.jobs.count <= limit {
            waiting.removeFirst()
            count += first.jobs.count
            jobs -= first.jobs.count
            bytes -= first.bytes
            tickets.append(first)
        }
        return tickets
    }
}
