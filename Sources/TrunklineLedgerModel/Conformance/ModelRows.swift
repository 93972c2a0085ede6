internal import TrunklineCore
internal import TrunklineEngine

/// Everything that is stored, a line per row, as ``LedgerRowsSQL`` says it of PostgreSQL.
extension LedgerModel {
    package var rows: [String] {
        (jobRows + keyRows + endRows + lineStateRows + credentialRows + fleetRows + messageRows).sorted()
    }

    private func text(_ value: Int64?) -> String { value.map { String($0) } ?? "" }
    /// Moments that never were have no number.
    private func moment(_ value: Int64?) -> String { value == .min ? "" : text(value) }
    private func flag(_ value: Bool) -> String { value ? "t" : "f" }
    private func boot(_ value: BootID?) -> String { value.map { Digest.hex($0.bytes.prefix(1)) } ?? "" }

    private var jobRows: [String] {
        jobs.map { row in
            let begun = [text(row.claimedAt), text(row.leaseUntil), boot(row.claimedBy), text(row.stamp)]
            let flags = [
                flag(row.cancelWanted), flag(row.isSuspect), "\(row.crashes)", flag(row.isQuiet), text(row.parkedAt),
            ]
            return
                ([
                    "job", "\(row.id)", "\(row.lane)", "\(row.scope)", row.key, "\(row.person)",
                    "\(row.jobClass.rawValue)", "\(row.state)", row.reason ?? "", "\(row.place)", "\(row.arrival)",
                    "\(row.dueAt)", "\(row.attempt)", "\(row.tries)", text(row.notBefore), text(row.sendBefore),
                    row.supersedeKey ?? "", text(row.factAt), "\(row.acceptedAt)", row.evidence ?? "",
                ] + begun + flags).joined(separator: "|")
        }
    }

    private var keyRows: [String] {
        ledger.values.map { "key|\($0.job)|\($0.lane)|\(Digest.hex($0.digest))|\($0.finalState ?? "")" }
            + ledger.map { "name|\($0.key.scope)|\($0.value.job)" }
            + facts.map { "fact|\($0.key.scope)|\($0.key.name)|\($0.value.at)|\($0.value.job)" }
    }

    private var endRows: [String] {
        finished.map { id, end in
            [
                "end", "\(id)", "\(end.lane)", "\(end.scope)", end.key, "\(end.person)", end.state, end.reason ?? "",
                "\(end.attempt)", "\(end.tries)", text(end.claimedAt), text(end.stamp), end.remoteID ?? "",
                end.evidence ?? "", end.supersedeKey ?? "", "\(end.at)",
            ].joined(separator: "|")
        }
            + attempts.map { name, attempt in
                "attempt|\(name)|\(attempt.outcome)|\(attempt.reason ?? "")|\(text(attempt.status.map { Int64($0) }))"
            }
            + sentToday.map { "sent|\($0.key)|\($0.value.day)|\($0.value.jobs)" }
    }

    private var lineStateRows: [String] {
        laneStates.map { lane, state in
            [
                "lane", "\(lane)", state.gate.rawValue, state.reason ?? "", "\(state.gateSince)",
                flag(state.isHoldTold),
                moment(state.nextSend), moment(state.pausedUntil), "\(state.probes)", text(state.nextProbe),
                text(state.rampStarted), text(state.sentOn), "\(state.sentToday)",
            ].joined(separator: "|")
        }
    }

    private var credentialRows: [String] {
        credentials.map { lane, row in
            [
                "credentials", "\(lane)", "\(row.generation)", row.sealed.map { Digest.hex($0.bytes) } ?? "",
                text(row.sealed.map { Int64($0.keyVersion) }), text(row.expiresAt), boot(row.refresher),
                text(row.refreshUntil),
            ].joined(separator: "|")
        }
    }

    private var fleetRows: [String] {
        shards.enumerated().map { "shard|\($0)|\(boot($1.owner))|\($1.fence)" }
            + workers.map {
                "worker|\(boot($0.key))|\($0.value.beat)|\(flag($0.value.heartbeat.isStopping))|\(flag($0.value.heartbeat.hasBroker))"
            }
            + breakers.map { origin, breaker in
                "breaker|\(origin)|\(text(breaker.openedAt))|\(text(breaker.closedAt))|\(boot(breaker.prober))|\(breaker.probes)|\(breaker.nextProbe)"
            }
    }

    private var messageRows: [String] {
        suspects.map { "suspect|\(Digest.hex($0.key))|\(boot($0.value.reader))|\($0.value.readers)|\($0.value.lastAt)" }
            + refusals.map { "refusal|\(Digest.hex($0.key))|\($0.value.kind)|\($0.value.times)" }
            + inbox.map { "event|\($0.key)|\(Digest.hex($0.value.digest))|\($0.value.repeats)|\($0.value.job)" }
    }
}

/// What ``LedgerModel/rows`` says, asked of PostgreSQL. `at` is a function that yields a moment's microseconds since 1970,
/// nothing for moments that never were.
package enum LedgerRowsSQL {
    package static func query(at: String) -> String {
        let tables = [
            """
            select concat_ws('|', 'job', id, lane, scope, key, person, class, state, coalesce(reason, ''), place, arrival, at(due_at),
                attempt, tries, at(not_before), at(send_before), coalesce(supersede_key, ''), at(fact_at), at(accepted_at),
                coalesce(evidence, ''), at(claimed_at), at(lease_until), coalesce(left(claimed_by::text, 2), ''),
                at(maybe_sent_since), cancel_wanted, suspect, crashes, quiet, at(parked_at)) from trunkline.jobs
            """,
            """
            select concat_ws('|', 'key', job, lane, encode(content_digest, 'hex'), coalesce(final_state, '')) from trunkline.ledger
            """,
            "select concat_ws('|', 'name', scope, job) from trunkline.ledger",
            "select concat_ws('|', 'fact', scope, supersede_key, at(fact_at), job) from trunkline.facts",
            """
            select concat_ws('|', 'end', id, lane, scope, key, person, state, coalesce(reason, ''), attempt, tries, at(claimed_at),
                at(maybe_sent_since), coalesce(remote_id, ''), coalesce(evidence, ''), coalesce(supersede_key, ''), at(ended_at))
            from trunkline.finished
            """,
            """
            select concat_ws('|', 'attempt', concat_ws(' ', job, number, started_on - date '1970-01-01'), outcome,
                coalesce(reason, ''), coalesce(status::text, '')) from trunkline.attempts
            """,
            "select concat_ws('|', 'sent', lane, day - date '1970-01-01', jobs) from trunkline.sent_today",
            """
            select concat_ws('|', 'lane', lane, gate, coalesce(gate_reason, ''), at(gate_since), hold_told, at(next_send_at),
                at(paused_until), probes, at(next_probe_at), at(ramp_started_at),
                coalesce((sent_on - date '1970-01-01')::text, ''), sent_today) from trunkline.lane_state
            """,
            """
            select concat_ws('|', 'credentials', lane, generation, coalesce(encode(sealed, 'hex'), ''),
                coalesce(key_version::text, ''), coalesce(at(expires_at), ''), coalesce(left(refresher::text, 2), ''),
                coalesce(at(refresh_until), '')) from trunkline.lane_credentials
            """,
            """
            select concat_ws('|', 'shard', shard, coalesce(left(owner::text, 2), ''), fence) from trunkline.shards
            """,
            "select concat_ws('|', 'worker', left(boot::text, 2), beat, stopping, broker_connected) from trunkline.workers",
            """
            select concat_ws('|', 'breaker', origin, at(opened_at), at(closed_at), coalesce(left(prober::text, 2), ''), probes,
                at(next_probe_at)) from trunkline.breakers
            """,
            """
            select concat_ws('|', 'suspect', encode(digest, 'hex'), left(reader::text, 2), readers, at(last_at))
            from trunkline.suspects
            """,
            "select concat_ws('|', 'refusal', encode(digest, 'hex'), kind, times) from trunkline.refusals",
            """
            select concat_ws('|', 'event', source || ' ' || event_key, encode(digest, 'hex'), repeats, job) from trunkline.inbox
            """,
        ]
        return tables.joined(separator: "\nunion all\n").replacing("at(", with: at + "(")
    }
}
