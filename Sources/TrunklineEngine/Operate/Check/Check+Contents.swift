internal import PostgresDriver
internal import TrunklineCore

extension Check {
    /// Every stored request must be the content that the ledger has the digest of. Read here and not in SQL, where one
    /// damaged row would fail the whole question.
    static func compareContents(
        _ session: PostgresSession,
        _ carriers: CarrierRegistry,
        _ collector: inout Collector
    ) async throws {
        try await session.query(
            """
            declare contents no scroll cursor for
            select r.id, r.recipient, r.request, l.content_digest, n.name, n.carrier
            from (
                select id, lane, recipient, request from trunkline.jobs
                union all
                select id, lane, recipient, request from trunkline.finished
            ) r
            join trunkline.ledger l on l.job = r.id
            join trunkline.lanes n on n.number = r.lane
            """
        )
        let carriers = Dictionary(uniqueKeysWithValues: carriers.all.map { ($0.kind.value, $0) })
        while true {
            let rows = try await session.query("fetch forward 5000 from contents")
            if rows.count == 0 { break }
            for row in 0..<rows.count {
                guard let id = rows.int8(row, 0), let request = rows.bytes(row, 2), let digest = rows.bytes(row, 3),
                    let carrier = rows.text(row, 5).flatMap({ carriers[$0] })
                else { continue }
                let lane = rows.text(row, 4).map { LaneLabel(stored: $0) }
                guard let content = carrier.content(of: request) else {
                    collector.add(.flipped, JobID(id), lane, "the stored request cannot be read")
                    continue
                }
                if content.recipient != rows.text(row, 1) {
                    collector.add(
                        .flipped,
                        JobID(id),
                        lane,
                        "the stored request goes to another number than the row says"
                    )
                } else if content.digest != digest {
                    collector.add(.flipped, JobID(id), lane, "the content is not the one that the ledger remembers")
                }
            }
        }
        try await session.query("close contents")
    }
}
