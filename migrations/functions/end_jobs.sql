-- Moves jobs that the caller has locked to where ended ones lie, and tells the ledger; yields the lane of each. What an
-- attempt has sent leaves no fact behind: its fact is the newest one, or was when it was sent.
--
-- Locks: jobs (already locked), ledger, finished.
-- Needs: nothing.
create or replace function trunkline.end_jobs(p_ends trunkline.job_end[]) returns setof int language plpgsql as $$
begin
    if cardinality(p_ends) = 0 then
        return;
    end if;
    return query
    with gone as (
        delete from trunkline.jobs j using unnest(p_ends) e
        where j.id = e.job and j.id = any (array(select k.job from unnest(p_ends) k))
        returning j.*, e.state as end_state, e.reason as end_reason, e.attempt as sent_attempt, e.remote_id,
            coalesce(e.evidence, j.evidence) as end_evidence
    ), remembered as (
        update trunkline.ledger l set final_state = g.end_state, final_at = now()
        from gone g where l.scope = g.scope and l.key_digest = g.key_digest and l.job = g.id
    ), kept as (
        insert into trunkline.finished (id, lane, scope, key, key_digest, person, recipient, request, purpose, tags, send_before,
            supersede_key, fact_at, state, reason, attempt, tries, claimed_at, claimed_by, maybe_sent_since, remote_id, evidence,
            accepted_at, ended_at, ended_on)
        select g.id, g.lane, g.scope, g.key, g.key_digest, g.person, g.recipient, g.request, g.purpose, g.tags, g.send_before,
            case when g.sent_attempt is null then g.supersede_key end, case when g.sent_attempt is null then g.fact_at end,
            g.end_state, case when g.sent_attempt <> g.attempt then 'late' else g.end_reason end, g.attempt, g.tries, g.claimed_at,
            g.claimed_by, g.maybe_sent_since, g.remote_id, g.end_evidence, g.accepted_at, now(), (now() at time zone 'UTC')::date
        from gone g
    )
    select g.lane from gone g;
end $$;
