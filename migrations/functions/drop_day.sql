-- Counts the rows of a finished day into the tallies and drops its partition; yields the number of rows, null when there is
-- none. The tally is taken under a lock that stops only those who would change rows of that very day; claims and settles
-- write to other days. Dropping locks the parent against everybody, for some milliseconds once it is granted. (Detaching
-- `concurrently` would not, but PostgreSQL refuses it where there is a default partition, and without that one a late
-- partition would be lost outcomes.) While the lock is waited for everybody waits behind it, so it is waited for 100 ms at
-- most, given up, and tried again after a breath. When it was never granted nothing has changed: 55P03.
--
-- Locks: the partitions (advisory), the partition (share), tallies by their key; then the parent (access exclusive).
-- Needs: nothing.
create or replace function trunkline.drop_day(p_table text, p_day date) returns bigint language plpgsql as $$
declare
    part text := p_table || '_' || to_char(p_day, 'YYYYMMDD');
    dropped bigint;
begin
    if p_table not in ('finished', 'attempts') then
        raise exception 'there are no days of %', p_table using errcode = '22023';
    end if;
    if p_day >= (now() at time zone 'UTC')::date then
        raise exception 'only days that have ended can be dropped' using errcode = '22023';
    end if;
    -- Longer than deadlock_timeout, after which a vacuum of this partition makes way.
    set local lock_timeout = '3s';
    perform pg_advisory_xact_lock(hashtextextended('trunkline.partitions', 0));
    if to_regclass('trunkline.' || part) is null then
        return null;
    end if;
    execute format('lock table trunkline.%I in share mode', part);
    if p_table = 'finished' then
        execute format('with counted as (
                select ended_on, lane, state, count(*) as jobs from trunkline.%I group by 1, 2, 3 order by 1, 2, 3
            ), kept as (
                insert into trunkline.tallies as t (ended_on, lane, state, jobs) select * from counted
                on conflict (ended_on, lane, state) do update set jobs = t.jobs + excluded.jobs
            )
            select coalesce(sum(jobs), 0)::bigint from counted', part) into dropped;
    else
        execute format('select count(*) from trunkline.%I', part) into dropped;
    end if;
    set local lock_timeout = '100ms';
    for try in 1..30 loop
        begin
            execute format('drop table trunkline.%I', part);
            return dropped;
        exception when lock_not_available or deadlock_detected then
            perform pg_sleep(0.1 + 0.3 * random());
        end;
    end loop;
    raise exception 'the partition % is in use', part using errcode = '55P03';
end $$;
