internal import PostgresDriver

extension Check {
    static func lanes(_ session: PostgresSession) async throws -> [CheckReport.Lane] {
        struct Sums {
            var ledger: Int64 = 0
            var unfinished: [String: Int64] = [:]
            var finished: [String: Int64] = [:]
            var tallied: Int64 = 0
            var attempts: Int64 = 0
        }
        let rows = try await session.query(
            """
            select c.place, c.state, c.jobs, coalesce(n.name, 'lane ' || c.lane) from (
                select 'ledger' as place, null::text as state, lane, count(*) as jobs from trunkline.ledger group by lane
                union all
                select 'jobs', state, lane, count(*) from trunkline.jobs group by state, lane
                union all
                select 'finished', state, lane, count(*) from trunkline.finished group by state, lane
                union all
                select 'tallies', null, lane, sum(jobs)::bigint from trunkline.tallies group by lane
                union all
                select 'attempts', null, r.lane, sum(a.attempts)::bigint
                from (select job, count(*) as attempts from trunkline.attempts group by job) a
                join (select id, lane from trunkline.jobs union all select id, lane from trunkline.finished) r on r.id = a.job
                group by r.lane
            ) c
            left join trunkline.lanes n on n.number = c.lane
            """
        )
        var sums: [String: Sums] = [:]
        for row in 0..<rows.count {
            guard let place = rows.text(row, 0), let jobs = rows.int8(row, 2), let name = rows.text(row, 3) else {
                continue
            }
            let state = rows.text(row, 1) ?? ""
            switch place {
            case "ledger": sums[name, default: Sums()].ledger += jobs
            case "jobs": sums[name, default: Sums()].unfinished[state, default: 0] += jobs
            case "finished": sums[name, default: Sums()].finished[state, default: 0] += jobs
            case "tallies": sums[name, default: Sums()].tallied += jobs
            default: sums[name, default: Sums()].attempts += jobs
            }
        }
        return sums.map { (LaneLabel(stored: $0), $1) }.sorted { $0.0 < $1.0 }.map { lane, sum in
            CheckReport.Lane(
                lane: lane,
                ledger: sum.ledger,
                unfinished: sum.unfinished,
                finished: sum.finished,
                tallied: sum.tallied,
                attempts: sum.attempts
            )
        }
    }
}
