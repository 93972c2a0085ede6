-- When the next send of each lane may begin, kept for the next owner.
--
-- Locks: lane_state by lane.
-- Needs: nothing.
create or replace function trunkline.keep_pace(p_lanes int[], p_next_ms int[]) returns void language sql as $$
    update trunkline.lane_state s
    set next_send_at = now() + make_interval(secs => p.next_ms / 1000.0)
    from (select * from unnest(p_lanes, p_next_ms) as u (lane, next_ms) order by lane) p
    where s.lane = p.lane;
$$;
