internal import PostgresDriver
package import TrunklineCore

/// What events are planned with, and what was planned of them.
extension PostgresLedger {
    package func knowledge(
        _ needs: [(workspace: WorkspaceID, needs: EventNeeds)],
        rules known: [EventKnowledge.Rules],
        _ done: @escaping LedgerReply<[WorkspaceID: EventKnowledge]>
    ) {
        let parameters = Statements.parameters(of: needs, rules: known)
        run(Statements.knowledge, parameters, done) { EventKnowledge.all($0, known: known) }
    }
}

extension Statements {
    static let knowledge = PostgresStatement(
        name: "event_knowledge",
        sql: """
            with subject as materialized (select s.workspace, s.subject from unnest($5, $6) as s (workspace, subject)),
            record as materialized (
                select r.* from trunkline.records r
                where (r.workspace, r.subject) in (select s.workspace, s.subject from subject s)
            ), placed as materialized (
                select o.workspace, o.id, o.facts, o.times, o.phone from trunkline.orders o
                where (o.workspace, o.id) in (select g.workspace, g.id from unnest($3, $4) as g (workspace, id))
            ), person as materialized (
                select g.workspace, g.phone from unnest($1, $2) as g (workspace, phone)
                union select r.workspace, r.facts ->> 'phone' from record r where r.facts ? 'phone'
                union select o.workspace, o.phone from placed o where o.phone is not null
            ), notice as materialized (
                select p.workspace, p.notice_key from trunkline.planned_notices p
                where (p.workspace, p.subject) in (select s.workspace, s.subject from subject s)
                union
                select p.workspace, p.notice_key from trunkline.planned_notices p
                where p.moment = 'lead.created' and (p.workspace, p.recipient) in (select g.workspace, g.phone from person g)
            )
            select 'contact', c.workspace, c.phone, c.facts::text from trunkline.contacts c
            where (c.workspace, c.phone) in (select g.workspace, g.phone from person g)
            union all
            select 'order', o.workspace, o.id, jsonb_build_object('facts', o.facts, 'stateAt', o.times -> 'state')::text from placed o
            union all
            select 'record', r.workspace, r.subject, jsonb_build_object('facts', r.facts,
                'factAt', (extract(epoch from r.fact_at) * 1000000)::int8,
                'endedAt', (extract(epoch from r.ended_at) * 1000000)::int8)::text
            from record r
            union all
            select 'notice', p.workspace, p.notice_key, jsonb_build_object('subject', p.subject, 'moment', p.moment, 'line', p.line,
                'recipient', p.recipient, 'supersedeKey', p.supersede_key, 'tracking', p.tracking_number,
                'factAt', (extract(epoch from p.fact_at) * 1000000)::int8,
                'isWaiting', exists (select from trunkline.jobs j
                    where j.id = p.job and j.state in ('accepted', 'waiting') and j.maybe_sent_since is null),
                'isCancelled', exists (select from trunkline.scopes c join trunkline.ledger l on l.scope = c.number
                    where c.name = 'workspace:' || p.workspace and l.final_state in ('cancelled', 'superseded')
                      and l.key_digest = substring(sha256(convert_to(p.notice_key, 'UTF8')) for 16)))::text
            from trunkline.planned_notices p
            where (p.workspace, p.notice_key) in (select n.workspace, n.notice_key from notice n)
            union all
            select 'rules', r.workspace, r.revision::text, case when r.revision <> all ($8) then r.text end
            from unnest($7) as w (workspace)
            cross join lateral (
                select * from trunkline.rules f where f.workspace = w.workspace order by f.revision desc limit 1
            ) r
            """,
        parameterTypes: [
            .textArray, .textArray, .textArray, .textArray, .textArray, .textArray, .textArray, .int8Array,
        ]
    )

    /// The parameters of ``knowledge``.
    static func parameters(
        of needs: [(workspace: WorkspaceID, needs: EventNeeds)],
        rules known: [EventKnowledge.Rules]
    ) -> [PostgresParameter] {
        func pairs(_ ids: (EventNeeds) -> [String]) -> [PostgresParameter] {
            let all = needs.flatMap { one in ids(one.needs).map { (one.workspace.value, $0) } }
            return [.textArray(all.map(\.0)), .textArray(all.map(\.1))]
        }
        return pairs { $0.phones.map(\.value) } + pairs { $0.orders.map(\.value) } + pairs { Array($0.subjects) } + [
            .textArray(Set(needs.map(\.workspace.value)).sorted()), .int8Array(known.map(\.revision)),
        ]
    }

    /// What `commit_plans` reads of an event; nil when nothing follows but facts.
    static func document(of run: EventRun) -> String? {
        let plan = run.plan
        guard !plan.isFactsOnly else { return nil }
        var json = JSONWriter(capacity: 2_048)
        json.beginObject()
        if let rules = plan.rules {
            json.name("rules")
            json.canonical(.number(String(rules)))
        }
        json.list("records", plan.records) { json, record in
            json.member("subject", record.subject)
            json.member("at", record.at.rfc3339)
            json.name("facts")
            json.canonical(record.facts)
            json.name("ends")
            json.bool(record.ends)
        }
        json.list("cancellations", plan.cancellations) { json, cancellation in
            json.member("subject", cancellation.subject)
            json.texts("patterns", cancellation.patterns.map { KeyPattern.like($0) })
            json.texts("keys", cancellation.keys.map(\.value))
            json.texts("keeping", cancellation.keeping.map(\.value))
            json.member("factAt", cancellation.factAt.rfc3339)
        }
        json.list("notices", Array(zip(plan.notices, run.requests))) { json, element in
            write(element.0, element.1, &json)
        }
        json.list("asks", plan.refused) { json, refused in
            json.member("ask", refused.ask.rawValue)
            json.member("rule", refused.rule)
        }
        json.list("said", plan.words) { json, word in
            json.member("kind", word.kind.rawValue)
            json.member("rule", word.rule)
            json.member("words", word.words)
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    private static func write(_ notice: EventPlan.Notice, _ request: [UInt8], _ json: inout JSONWriter) {
        let job = notice.job
        json.member("rule", notice.rule)
        json.member("moment", notice.moment)
        json.member("subject", notice.subject)
        json.member("tracking", notice.trackingNumber)
        json.member("once", notice.once)
        json.member("line", job.line.value)
        json.member("key", job.key.value)
        json.member("keyDigest", Digest.hex(job.key.digest))
        json.member("contentDigest", Digest.hex(job.contentDigest))
        json.member("person", String(job.person))
        json.member("recipient", job.to.value)
        json.member("request", String(decoding: request, as: UTF8.self))
        json.member("purpose", job.purpose.rawValue)
        json.member("tags", TakeBatch.tagsText(job.tags))
        json.member("notBefore", job.notBefore?.rfc3339)
        json.member("sendBefore", job.sendBefore?.rfc3339)
        json.member("supersedeKey", job.supersedeKey)
        json.member("factAt", job.factAt?.rfc3339)
    }
}

extension EventKnowledge {
    /// The columns of ``Statements/knowledge``. A row that another program has spoiled is left out.
    static func all(_ rows: PostgresRows, known: [Rules]) -> [WorkspaceID: EventKnowledge] {
        var all: [WorkspaceID: EventKnowledge] = [:]
        for row in 0..<rows.count {
            guard let kind = rows.text(row, 0), let workspace = rows.text(row, 1).flatMap({ try? WorkspaceID($0) }),
                let id = rows.text(row, 2)
            else { continue }
            let text = rows.text(row, 3)
            if kind == "rules" {
                guard let revision = Int64(id) else { continue }
                let rules = text.map { Rules(revision: revision, text: $0) } ?? known.first { $0.revision == revision }
                all[workspace, default: EventKnowledge()].rules = rules
                continue
            }
            guard let document = text.flatMap({ try? JSONValue(parsing: Array($0.utf8)) }) else { continue }
            all[workspace, default: EventKnowledge()].add(kind, id, document)
        }
        // What is planned must not depend on the order of rows.
        for workspace in Array(all.keys) { all[workspace]?.notices.sort { $0.key < $1.key } }
        return all
    }

    private mutating func add(_ kind: String, _ id: String, _ document: JSONValue) {
        switch kind {
        case "contact":
            guard let phone = try? PhoneNumber(id) else { return }
            contacts[phone] = ContactFacts(stored: Self.fields(document), factAt: nil)
        case "order":
            guard let order = try? OrderID(id), let facts = document["facts"] else { return }
            let at = Self.time(document["stateAt"])
            orders[order] = Order(facts: OrderFacts(stored: Self.fields(facts), factAt: at), stateAt: at)
        case "record":
            guard let facts = document["facts"], let at = Self.time(document["factAt"]) else { return }
            records[id] = Record(facts: facts, factAt: at, endedAt: Self.time(document["endedAt"]))
        case "notice":
            guard let subject = document["subject"]?.text, let moment = document["moment"]?.text,
                let line = document["line"]?.text, let recipient = document["recipient"]?.text,
                let factAt = Self.time(document["factAt"])
            else { return }
            notices.append(
                Notice(
                    key: id,
                    subject: subject,
                    moment: moment,
                    line: line,
                    recipient: recipient,
                    supersedeKey: document["supersedeKey"]?.text,
                    factAt: factAt,
                    trackingNumber: document["tracking"]?.text,
                    isWaiting: document["isWaiting"] == .bool(true),
                    isCancelled: document["isCancelled"] == .bool(true)
                )
            )
        default: break
        }
    }

    private static func fields(_ document: JSONValue) -> [FactField] {
        guard case .object(let members) = document else { return [] }
        return members.map { FactField($0.name, $0.value) }
    }

    private static func time(_ value: JSONValue?) -> Timestamp? {
        guard case .number(let text) = value else { return nil }
        return Int64(text).map(Timestamp.init(microseconds:))
    }
}
