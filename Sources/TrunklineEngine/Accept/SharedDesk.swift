internal import RabbitDriver
internal import Synchronization
package import TrunklineCore

/// The desk of a service: many callers at once, a few acceptors side by side.
///
/// What arrives while a batch is under way is the next batch, so that commits are shared and a lone job never waits. Row
/// first while the database answers; while it does not, broker first. Bounded: callers that would wait behind too many others
/// are sent away at once. Received events have queues and connections of their own, so that a flood of either does not hold up
/// the other.
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
        /// Connections to the database that accept jobs, and as many that accept events. Default 3.
        package var acceptors = 3
        /// Jobs or events of one commit, unless one caller brings more. Default 256.
        package var batch = 256
        /// Bytes of one commit, unless one caller brings more. Default 4 MiB.
        package var batchBytes = 4 << 20
        /// Jobs that wait for their batch, and events. Default 20,000 of each.
        package var waitingJobs = 20_000
        /// Bytes of the requests that wait, of jobs and of events. Default 64 MiB of each.
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

    private struct State {
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
    private let jobs: SharedQueue<CarriedWork, AcceptVerdict>
    private let events: SharedQueue<NamedEvent, EventAcceptance>

    /// Begins to connect to the broker; throws for a URL of it that cannot be read.
    ///
    /// - Parameter warn: called on any thread with a sentence: a way in is closed, or open again.
    package init(_ configuration: Configuration, warn: @escaping @Sendable (String) -> Void) throws {
        self.configuration = configuration
        self.warn = warn
        jobs = SharedQueue(configuration.bounds())
        events = SharedQueue(configuration.bounds())
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
            for _ in 0..<configuration.acceptors {
                group.addTask {
                    await self.serve(self.jobs, { try await $0.accept($1) }, { await $0.take($1) })
                }
                group.addTask {
                    await self.serve(self.events, { try await $0.accept($1) }, { await $0.take($1) })
                }
            }
        }
        await broker.close()
        await state.withLock { $0.wakes }?.shutdown()
    }

    /// Nobody comes any more: who waits is served, then ``run()`` returns.
    package func close() {
        jobs.close()
        events.close()
    }

    /// Gives jobs of one caller, in order, and waits for their verdicts: one per job, in the same order.
    ///
    /// Row first, and the verdicts are committed. While the database is away they are those of broker first:
    /// ``AcceptVerdict/confirmed``, or one that says why the broker has not, or may not have, a job. With both away
    /// ``AcceptVerdict/notSent(_:)``.
    ///
    /// - Parameter bytes: what the jobs hold in memory, about.
    package func accept(_ jobs: [CarriedWork], bytes: Int) async throws(Full) -> [AcceptVerdict] {
        try await self.jobs.give(jobs, bytes: bytes)
    }

    /// The same for received events of one request, whose sender's proof was seen.
    package func accept(_ events: [NamedEvent], bytes: Int) async throws(Full) -> [EventAcceptance] {
        try await self.events.give(events, bytes: bytes)
    }

    /// Jobs that wait for their batch.
    package var waitingJobs: Int { jobs.waiting }
    /// The same of events.
    package var waitingEvents: Int { events.waiting }

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

    /// Row first, else broker first: one batch after another, on a connection of its own.
    private func serve<Work, Answer>(
        _ queue: SharedQueue<Work, Answer>,
        _ row: (Acceptor, [Work]) async throws -> [Answer],
        _ confirmed: (BrokerAcceptor, [Work]) async -> [Answer]
    ) async {
        var acceptor: Acceptor?
        await queue.serve { works in
            if let answers = await rowFirst(works, &acceptor, row) { return answers }
            return await confirmed(broker, works)
        }
        await acceptor?.close()
    }

    /// Nil when the database is away: any of it may be accepted by then, and whoever gives it to the broker gives the same
    /// keys.
    private func rowFirst<Work, Answer>(
        _ works: [Work],
        _ acceptor: inout Acceptor?,
        _ take: (Acceptor, [Work]) async throws -> [Answer]
    ) async -> [Answer]? {
        let (trouble, wakes) = state.withLock { ($0.database, $0.wakes) }
        guard trouble == nil else { return nil }
        let open = acceptor ?? makeAcceptor(wakes)
        acceptor = open
        do {
            return try await take(open, works)
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
}

extension SharedDesk.Configuration {
    fileprivate func bounds<Work, Answer>() -> SharedQueue<Work, Answer>.Bounds {
        .init(batch: batch, batchBytes: batchBytes, waiting: waitingJobs, waitingBytes: waitingBytes)
    }
}
