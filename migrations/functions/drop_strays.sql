-- Rows of ended days that lie in the default partition: at most p_limit of those before p_day, counted like the others.
--
-- Locks: rows of the default partition, tallies by their key.
-- Needs: nothing.
create or replace function trunkline.drop_strays(p_table text, p_day date, p_limit int) returns bigint language plpgsql as $$
declare
    dropped bigint;
begin
    if p_day > (now() at time zone 'UTC')::date then
        raise exception 'only days that have ended can be dropped' using errcode = '22023';
    end if;
    if p_table = 'attempts' then
        delete from trunkline.attempts_rest
        where ctid = any (array(select ctid from trunkline.attempts_rest where started_on < p_day limit p_limit));
        get diagnostics dropped = row_count;
        return dropped;
    end if;
    with gone as (
        delete from trunkline.finished_rest
        where ctid = any (array(select ctid from trunkline.finished_rest where ended_on < p_day limit p_limit))
        returning ended_on, lane, state
    ), counted as (
        insert into trunkline.tallies as t (ended_on, lane, state, jobs)
        select ended_on, lane, state, count(*) from gone group by 1, 2, 3 order by 1, 2, 3
        on conflict (ended_on, lane, state) do update set jobs = t.jobs + excluded.jobs
    )
    select count(*) into dropped from gone;
    return dropped;
end $$;
