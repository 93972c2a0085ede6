-- A row as its owner keeps it in memory.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.seen(j trunkline.jobs) returns trunkline.seen_job language sql stable as $$
    select row(j.id, j.lane, j.person, j.class::int, j.state, j.place, ceil(extract(epoch from j.due_at - now()) * 1000)::bigint,
               j.attempt, j.tries, j.maybe_sent_since is not null, j.claimed_by,
               (extract(epoch from j.lease_until - now()) * 1000)::bigint, j.suspect,
               (extract(epoch from now() - j.claimed_at) * 1000)::bigint)::trunkline.seen_job;
$$;
