-- The daily cap: of what a claim would begin, only so many as the lane has left today. A job is counted when an attempt
-- begins that nothing was sent before, and given back (give_back_cap) when that attempt surely sent nothing.
--
-- Verdicts: those of claim, some of `claimed` turned into `capped`.
-- Locks: lane_state by lane.
-- Needs: local_time.
create or replace function trunkline.cap(p_looked trunkline.claim_look[], p_jobs bigint[]) returns trunkline.claim_look[]
language plpgsql as $$
declare
    result trunkline.claim_look[];
begin
    perform from trunkline.lane_state s
        where s.lane in (select k.lane from unnest(p_looked) k) order by s.lane for no key update of s;
    with left_today as (
        select s.lane, t.here::date as today, t.here::date + 1 - t.here as left_of_it,
               l.daily_cap - case when s.sent_on = t.here::date then s.sent_today else 0 end as room
        from trunkline.lane_state s join trunkline.lanes l on l.number = s.lane
        cross join lateral (select trunkline.local_time(now(), l.time_zone) as here) t
        where l.daily_cap is not null and s.lane in (select k.lane from unnest(p_looked) k)
    ), ranked as (
        select k.*, row_number() over (partition by k.lane, k.verdict = 'claimed' and not k.stamped
                                       order by array_position(p_jobs, k.job)) as position
        from unnest(p_looked) k
    ), decided as (
        select r.job, r.lane,
            case when r.verdict = 'claimed' and not r.stamped and r.position > t.room then 'capped' else r.verdict end as verdict,
            r.stamped,
            ceil(extract(epoch from t.left_of_it) * 1000)::int as wait_ms, r.quiet
        from ranked r left join left_today t on t.lane = r.lane
    ), counted as (
        update trunkline.lane_state s
        set sent_on = t.today,
            sent_today = case when s.sent_on = t.today then s.sent_today else 0 end
                + (select count(*) from decided d where d.lane = s.lane and d.verdict = 'claimed' and not d.stamped)
        from left_today t where t.lane = s.lane
    )
    select array_agg(row(d.job, d.lane, d.verdict, d.stamped, d.wait_ms, d.quiet)::trunkline.claim_look) into result from decided d;
    return result;
end $$;
