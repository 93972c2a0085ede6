-- Unfinished jobs of some lanes, for a new owner: at most p_limit, lane after lane as given, each by person, place and
-- number, the first one from behind p_person, p_place, p_job on. Fewer than p_limit: these lanes have no more. Unseen rows
-- are left to adopt.
--
-- Locks: none.
-- Needs: seen.
create or replace function trunkline.load(p_lanes int[], p_person bigint, p_place bigint, p_job bigint, p_limit int)
returns setof trunkline.seen_job language plpgsql stable
-- A slice must never read the lane whole: no plan but the index in its order, however small the table was before.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_lane int;
    v_left int := p_limit;
    v_got int;
begin
    foreach v_lane in array p_lanes loop
        return query
        select (trunkline.seen(j)).* from trunkline.jobs j
        where j.lane = v_lane and (j.person, j.place, j.id) > (p_person, p_place, p_job)
          and j.place <> 0 and j.parked_at is null
        order by j.person, j.place, j.id limit v_left;
        get diagnostics v_got = row_count;
        v_left := v_left - v_got;
        exit when v_left <= 0;
        p_person := -9223372036854775808;
        p_place := -9223372036854775808;
        p_job := -9223372036854775808;
    end loop;
end $$;
