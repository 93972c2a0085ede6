-- The key of the job that runs an event. p_replay: 0 for the first, else how often a person had it run anew.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.event_job_key(p_event_key text, p_replay int) returns text language sql immutable as $$
    select 'event:' || encode(substring(sha256(convert_to(p_event_key, 'UTF8')) for 16), 'hex')
        || case when p_replay > 0 then ':r' || p_replay else '' end;
$$;
