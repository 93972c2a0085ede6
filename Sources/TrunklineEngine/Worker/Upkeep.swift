internal import Logging
internal import PostgresDriver
internal import Synchronization

/// What the fleet does beside its work, on connections of its own: the heartbeat must not wait for a table.
protocol FleetUpkeep: AnyObject {
    /// Begins a round, unless one is under way.
    func begin()
    func stop()
}

/// Makes the partitions of the coming days; and what is older than its age is dropped, once a day, by one of the fleet.
final class Upkeep: FleetUpkeep, Sendable {
    private let databaseURL: String
    private let worker: String
    private let retention: RetentionAges
    private let log: Logger
    private let round = Mutex<Task<Void, Never>?>(nil)

    init(databaseURL: String, worker: String, retention: RetentionAges, logger: Logger) {
        self.databaseURL = databaseURL
        self.worker = worker
        self.retention = retention
        var log = logger
        log[metadataKey: "worker"] = .string(String(worker.prefix(8)))
        self.log = log
    }

    func begin() {
        round.withLock { round in
            guard round == nil else { return }
            round = Task { [self] in
                await work()
                self.round.withLock { $0 = nil }
            }
        }
    }

    func stop() { round.withLock { $0?.cancel() } }

    private func work() async {
        let database = PatientDatabase(url: databaseURL, applicationName: "trunkline upkeep \(worker)")
        do {
            for trouble in try await Partitions.make(database.session()) {
                log.warning("no partition for a day; its rows go to the default one", metadata: ["day": "\(trouble)"])
            }
            if let report = try await Retention.runDaily(database, retention, by: "worker \(worker)"), !report.isEmpty {
                log.notice("old rows were dropped", metadata: ["what": "\(report.sentence)"])
            }
        } catch is CancellationError {
            // The worker ends; the next round is another one's.
        } catch {
            log.warning("upkeep failed; it is tried again within the hour", metadata: ["error": "\(error)"])
        }
        await database.close()
    }
}
