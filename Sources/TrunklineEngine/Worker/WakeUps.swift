internal import RabbitDriver
internal import TrunklineCore

/// Tells owners of new jobs that somebody has committed as rows.
struct WakeUps {
    private let publisher: any WakePublisher

    init(_ publisher: any WakePublisher) { self.publisher = publisher }

    /// One message per shard is enough: its owner looks at every row that no owner has seen. Lost ones cost latency only.
    func publish(_ jobs: [Int32: JobID]) {
        guard !jobs.isEmpty else { return }
        publisher.publishWakeUps(
            jobs.sorted { $0.key < $1.key }.map { shard, job in
                RabbitMessage(
                    exchange: Topology.jobsExchange,
                    routingKey: Route.shard(Int(shard)),
                    body: WakeUp(job: job, attempt: AttemptNumber(0)).encode()
                )
            }
        )
    }
}
