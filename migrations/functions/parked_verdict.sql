-- What a person's word would do to a job.
--
-- Verdicts: done; not_parked; not_in_doubt (it was surely not sent: nothing to resolve); in_doubt (it may have been sent:
-- not to be replayed before somebody has said that it was not); cancelled (a cancel came for it: a replay ends it);
-- too_late (sendBefore has passed) and replaced (a newer fact was accepted): never to be sent.
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.parked_verdict(j trunkline.jobs, p_action text) returns text language sql stable as $$
    select case
        when j.parked_at is null then 'not_parked'
        when p_action in ('sent', 'not_sent') and j.maybe_sent_since is null then 'not_in_doubt'
        when p_action <> 'replay' then 'done'
        when j.maybe_sent_since is not null then 'in_doubt'
        when j.cancel_wanted then 'cancelled'
        when j.send_before <= now() then 'too_late'
        when j.supersede_key is not null and exists (
            select from trunkline.facts f
            where f.scope = j.scope and f.supersede_key = j.supersede_key and f.fact_at > j.fact_at
        ) then 'replaced'
        else 'done' end;
$$;
