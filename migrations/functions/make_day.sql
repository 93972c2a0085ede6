-- Makes the partition of one day. Made aside and then attached: `create table … partition of` would lock the parent against
-- everybody, attaching locks the default partition alone, which nobody writes to when the days were made in time. With the
-- rights of its owner: workers make partitions, and need not own the tables.
--
-- Verdicts: there; made; moved (rows of that day lay in the default partition and lie in their own now); crowded (there are
-- more of them than can be moved in a moment: they stay until retention drops them).
-- Locks: the partitions (advisory), the new partition; the default partition (access exclusive) while it is attached; 200
-- ms at most are waited for each, then 55P03.
-- Needs: nothing.
create or replace function trunkline.make_day(p_table text, p_day date) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
-- Everybody queues behind a lock that is waited for.
set lock_timeout = '200ms'
as $$
declare
    part text := p_table || '_' || to_char(p_day, 'YYYYMMDD');
    rest text := p_table || '_rest';
    day_column text := case p_table when 'finished' then 'ended_on' when 'attempts' then 'started_on' end;
    strays bigint;
begin
    -- Two programs at once would collide on the names.
    perform pg_advisory_xact_lock(hashtextextended('trunkline.partitions', 0));
    if to_regclass('trunkline.' || part) is not null then
        return 'there';
    end if;
    execute format('select count(*) from (select from trunkline.%I where %I = $1 limit 10001) r', rest, day_column)
        into strays using p_day;
    if strays > 10000 then
        return 'crowded';
    end if;
    execute format('create table trunkline.%I (like trunkline.%I including defaults including constraints including storage)',
        part, p_table);
    if strays > 0 then
        -- Nobody may add one behind the move.
        execute format('lock table only trunkline.%I in share update exclusive mode', p_table);
        execute format('lock table trunkline.%I in access exclusive mode', rest);
        execute format('with moved as (delete from trunkline.%I where %I = $1 returning *) insert into trunkline.%I select * from moved',
            rest, day_column, part) using p_day;
    end if;
    execute format('alter table trunkline.%I attach partition trunkline.%I for values from (%L) to (%L)',
        p_table, part, p_day, p_day + 1);
    return case when strays > 0 then 'moved' else 'made' end;
end $$;
