-- What surely sent nothing does not count against the lane's daily cap: takes back what claim counted today. For jobs that
-- were never stamped and are still in jobs, by the rows that the caller has locked.
--
-- Locks: lane_state by lane.
-- Needs: local_time.
create or replace function trunkline.give_back_cap(p_jobs bigint[]) returns void language plpgsql as $$
begin
    if cardinality(p_jobs) > 0 then
        update trunkline.lane_state s set sent_today = greatest(0, s.sent_today - g.n)
        from (
            select j.lane, count(*) as n from trunkline.jobs j
            join trunkline.lanes l on l.number = j.lane and l.daily_cap is not null
            where j.id = any (p_jobs)
              and trunkline.local_time(j.claimed_at, l.time_zone)::date = trunkline.local_time(now(), l.time_zone)::date
            group by j.lane order by j.lane
        ) g where s.lane = g.lane;
    end if;
end $$;
