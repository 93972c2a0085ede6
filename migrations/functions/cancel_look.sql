-- What a cancel would do to a job.
--
-- Verdicts: cancelled; in_the_air (too late for the attempt that runs: marked, and settle ends the job as cancelled if it
-- comes back and cannot have been sent); may_have_been_sent (too late for good).
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.cancel_look(j trunkline.jobs) returns trunkline.cancel_look language sql immutable as $$
    select row(j.id, j.key, j.lane,
        case when j.maybe_sent_since is not null then 'may_have_been_sent'
             when j.state = 'sending' then 'in_the_air'
             else 'cancelled' end,
        j.state, j.attempt)::trunkline.cancel_look;
$$;
