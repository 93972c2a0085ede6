-- Trunkline's first schema. Applied by `trunkline migrate` in one transaction, under a lock.
--
-- For the operator: everything lives in the schema "trunkline"; nothing outside it is touched. Only `jobs` is hot. The
-- ledger is never pruned; `finished` and `attempts` are day partitions that `trunkline retain` may drop.
--
-- Lock order of every transaction: shards (fence), inbox, ledger, facts, jobs, sent_today, lane_state, attempts, finished.

create schema if not exists trunkline;

-- ---------------------------------------------------------------------------------------------------------------------
-- Who and where

create table trunkline.settings (
    name  text collate "C" primary key,
    value text not null
);
comment on table trunkline.settings is 'Facts every program must agree on; "shards" is the number of shards.';

create table trunkline.scopes (
    number int generated always as identity primary key,
    name   text collate "C" not null constraint scopes_name_key unique
);
comment on table trunkline.scopes is 'Within what a key is unique: "workspace:ID" for sends.';

create table trunkline.lanes (
    number     int generated always as identity primary key,
    name       text collate "C" not null constraint lanes_name_key unique,
    shard_hash bigint not null constraint lanes_shard_hash_range check (shard_hash between 0 and 4294967295)
);
comment on column trunkline.lanes.shard_hash is
    'zlib CRC-32 of the name; the lane''s shard is shard_hash modulo the number of shards, so rows never store a shard.';

-- Line changes are made by people and are rare. They are serialised (see line_changed), so that a later revision is
-- never visible before an earlier one and workers may poll "revision > last".
create sequence trunkline.line_revision;

create table trunkline.lines (
    id                text collate "C" primary key,
    lane              int not null constraint lines_lane_key unique references trunkline.lanes,
    scope             int not null references trunkline.scopes,
    workspace         text collate "C" not null,
    base_url          text not null,
    token_sealed      bytea not null,
    token_reference   text,
    token_key_version int not null,
    token_hint        text not null,
    pace_interval_ms  int not null default 3000,
    concurrency       int not null default 1,
    recipient_gap_ms  int not null default 10000,
    daily_cap         int,
    time_zone         text not null default 'UTC',
    hold_reason       text,
    hold_until        timestamptz,
    held_at           timestamptz,
    created_at        timestamptz not null default now(),
    removed_at        timestamptz,
    revision          bigint not null default 0,
    constraint lines_pace_range check (pace_interval_ms between 0 and 86400000),
    constraint lines_concurrency_range check (concurrency between 1 and 256),
    constraint lines_gap_range check (recipient_gap_ms between 0 and 86400000),
    constraint lines_cap_range check (daily_cap between 1 and 1000000),
    constraint lines_hold_whole check ((hold_reason is null) = (held_at is null) and (hold_until is null or hold_reason is not null))
);
comment on column trunkline.lines.token_sealed is
    'AES-GCM nonce, ciphertext and tag of the token or of its reference, bound to id and origin of base_url; the key is never in the database.';
comment on column trunkline.lines.token_reference is
    'env:NAME or file:/path, read by the worker; null: the token itself is sealed. Must be what token_sealed holds.';
comment on column trunkline.lines.pace_interval_ms is 'Milliseconds between two sends; 0 is unlimited.';
comment on column trunkline.lines.daily_cap is 'Sends a day at most, a day of time_zone; null is no cap.';
comment on column trunkline.lines.time_zone is 'A name of pg_timezone_names: whose midnight ends the day of the cap.';

create function trunkline.line_changed() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('trunkline.line_revision', 0));
    new.revision := nextval('trunkline.line_revision');
    return new;
end $$;
create trigger line_changed before insert or update on trunkline.lines
    for each row execute function trunkline.line_changed();

-- What must survive an owner. Only the owner of the lane's shard writes it.
create table trunkline.lane_state (
    lane            int primary key references trunkline.lanes,
    gate            text not null default 'unknown',
    gate_reason     text,
    gate_since      timestamptz not null default now(),
    hold_told       boolean not null default false,
    next_send_at    timestamptz not null default '-infinity',
    paused_until    timestamptz not null default '-infinity',
    probes          int not null default 0,
    next_probe_at   timestamptz,
    ramp_started_at timestamptz,
    sent_on         date,
    sent_today      int not null default 0,
    constraint lane_state_gate_legal check (gate in ('unknown', 'open', 'held_transient', 'held_human', 'probing', 'ramping'))
) with (fillfactor = 70);

-- ---------------------------------------------------------------------------------------------------------------------
-- The fleet

create table trunkline.workers (
    boot             uuid primary key,
    host             text not null,
    pid              int not null,
    version          text not null,
    started_at       timestamptz not null default now(),
    beat             bigint not null default 0,
    renewed_at       timestamptz not null default now(),
    backend_pids     int[] not null default '{}',
    backend_starts   timestamptz[] not null default '{}',
    broker_connected boolean not null default false,
    stopping         boolean not null default false,
    origins          text[] not null default '{}',
    lines_active     int[] not null default '{}',
    lines_failing    int[] not null default '{}',
    reach            text[] not null default '{}'
) with (fillfactor = 50);
comment on column trunkline.workers.origins is
    'API origins that its lines called within 30 s; how many lines did, and how many of those got no answer twice.';
comment on column trunkline.workers.reach is
    'Of each of these origins: answers, silent, or null when it is not known.';

-- One breaker for all lines of an API origin, in the whole fleet.
create table trunkline.breakers (
    origin        text primary key,
    opened_at     timestamptz,
    reason        text,
    opened_by     uuid,
    prober        uuid,
    probes        int not null default 0,
    next_probe_at timestamptz,
    closed_at     timestamptz,
    constraint breakers_open_is_whole check (opened_at is null or (reason is not null and next_probe_at is not null))
);
comment on column trunkline.breakers.opened_at is 'Null: closed.';
comment on column trunkline.breakers.next_probe_at is 'No probe before; while one is under way, when it is given up.';

create table trunkline.shards (
    shard      int primary key constraint shards_range check (shard between 0 and 4095),
    owner      uuid,
    fence      bigint not null default 0,
    changed_at timestamptz not null default now()
) with (fillfactor = 50);
comment on table trunkline.shards is
    'The fence rows: changed only when the owner changes, read FOR SHARE by every take and claim of the owner.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Work

create table trunkline.ledger (
    scope          int not null,
    key_digest     bytea not null,
    content_digest bytea not null,
    job            bigint not null,
    lane           int not null,
    final_state    text,
    final_at       timestamptz,
    constraint ledger_scope_key primary key (scope, key_digest),
    constraint ledger_digest_length check (length(key_digest) = 16 and length(content_digest) = 16),
    constraint ledger_final_state_legal check (final_state in ('sent', 'cancelled', 'expired', 'superseded', 'discarded')),
    constraint ledger_final_has_time check ((final_state is null) = (final_at is null))
) partition by hash (scope, key_digest);
comment on table trunkline.ledger is 'The permanent memory of keys: one row per key for ever, whatever retention drops.';

do $$
begin
    for part in 0..15 loop
        execute format(
            'create table trunkline.ledger_%s partition of trunkline.ledger for values with (modulus 16, remainder %s)
             with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02)',
            lpad(part::text, 2, '0'), part);
    end loop;
end $$;

-- Which fact about a thing is the newest, for notices that replace each other. Never pruned.
create table trunkline.facts (
    scope         int not null,
    supersede_key text collate "C" not null,
    fact_at       timestamptz not null,
    job           bigint not null,
    constraint facts_scope_key primary key (scope, supersede_key)
) with (fillfactor = 80);
comment on column trunkline.facts.job is 'The job that brought the newest fact.';

create sequence trunkline.job_number;

create table trunkline.jobs (
    id               bigint primary key,
    lane             int not null,
    scope            int not null,
    key              text collate "C" not null,
    key_digest       bytea not null,
    person           bigint not null,
    recipient        text not null,
    request          bytea not null,
    purpose          text not null,
    tags             jsonb,
    not_before       timestamptz,
    send_before      timestamptz,
    supersede_key    text collate "C",
    fact_at          timestamptz,
    class            smallint not null default 0,
    state            text not null,
    reason           text,
    place            bigint not null default 0,
    due_at           timestamptz not null default now(),
    attempt          int not null default 0,
    tries            int not null default 0,
    claimed_at       timestamptz,
    lease_until      timestamptz,
    claimed_by       uuid,
    maybe_sent_since timestamptz,
    evidence         text,
    accepted_at      timestamptz not null default now(),
    cancel_wanted    boolean not null default false,
    suspect          boolean not null default false,
    crashes          smallint not null default 0,
    arrival          bigint not null default nextval('trunkline.job_number'),
    parked_at        timestamptz,
    constraint jobs_state_legal check (state in ('accepted', 'waiting', 'sending', 'unknown', 'parked')),
    constraint jobs_sending_has_lease check
        (state <> 'sending' or (attempt > 0 and claimed_at is not null and lease_until is not null and claimed_by is not null)),
    constraint jobs_unknown_has_stamp check (state <> 'unknown' or maybe_sent_since is not null),
    constraint jobs_parked_has_reason check (state <> 'parked' or reason is not null),
    constraint jobs_parked_has_time check ((state = 'parked') = (parked_at is not null)),
    constraint jobs_accepted_is_unplaced check (state <> 'accepted' or place = 0),
    constraint jobs_tries_range check (tries between 0 and attempt),
    constraint jobs_class_legal check (class in (0, 1))
) with (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_limit = 2000
);
comment on table trunkline.jobs is 'Unfinished jobs only. A job that ends moves to finished in the statement that ends it.';
comment on column trunkline.jobs.cancel_wanted is
    'A cancel came while an attempt ran: it ends as cancelled if it comes back and cannot have been sent.';
comment on column trunkline.jobs.suspect is
    'A worker died or fell silent during its last attempt: it runs as the only suspect of its process.';
comment on column trunkline.jobs.crashes is 'Attempts as the only suspect that ended so; three park it as poison.';
comment on column trunkline.jobs.place is
    '0: the owner has not seen the row. -1: scheduled, no place before due_at. Else its position in the lane.';
comment on column trunkline.jobs.person is 'First 8 bytes of SHA-256 of the ordering key (default: the recipient).';
comment on column trunkline.jobs.request is 'The rendered request body: written once, sent unchanged on every attempt.';
comment on column trunkline.jobs.class is '0: single notice. 1: bulk, never delays a single notice.';
comment on column trunkline.jobs.arrival is
    'Under which its owner looks for it while place is 0: the id at first, a new number when it must be looked at anew.';
comment on column trunkline.jobs.parked_at is 'Set exactly while it is parked; what the workers read has no parked rows in it.';
-- No index and no predicate holds `state`, so that its updates stay heap-only. A parked row is in none of the indexes that
-- workers use, so that it costs nothing however long it stays.
-- By place, so that "is anything of this person before it" is one look at the index however many are behind it; with the
-- number at the end it is also the order in which a new owner reads a lane, slice by slice (load).
create index jobs_lane_person on trunkline.jobs (lane, person, place, id) where parked_at is null;
create index jobs_send_before on trunkline.jobs (send_before) where send_before is not null and parked_at is null;
create index jobs_stamped on trunkline.jobs (maybe_sent_since) where maybe_sent_since is not null and parked_at is null;
create index jobs_unseen on trunkline.jobs (arrival) where place = 0 and parked_at is null;
create index jobs_parked on trunkline.jobs (lane, parked_at) where parked_at is not null;
create index jobs_supersede on trunkline.jobs (scope, supersede_key) where supersede_key is not null;
-- For people: why, cancel by pattern, reschedule. Byte order serves the prefix of a pattern.
create index jobs_key on trunkline.jobs (key);

create table trunkline.finished (
    id               bigint not null,
    lane             int not null,
    scope            int not null,
    key              text collate "C" not null,
    key_digest       bytea not null,
    person           bigint not null,
    recipient        text not null,
    request          bytea not null,
    purpose          text not null,
    tags             jsonb,
    send_before      timestamptz,
    supersede_key    text collate "C",
    fact_at          timestamptz,
    state            text not null,
    reason           text,
    attempt          int not null,
    tries            int not null,
    claimed_at       timestamptz,
    claimed_by       uuid,
    maybe_sent_since timestamptz,
    remote_id        text,
    evidence         text,
    accepted_at      timestamptz not null,
    ended_at         timestamptz not null,
    ended_on         date not null,
    constraint finished_key primary key (ended_on, id),
    constraint finished_state_legal check (state in ('sent', 'cancelled', 'expired', 'superseded', 'discarded')),
    constraint finished_day check (ended_on = (ended_at at time zone 'UTC')::date)
) partition by range (ended_on);
comment on column trunkline.finished.supersede_key is 'Only of jobs that ended without being sent, with fact_at.';
-- Summarised as it grows: the newest pages are exactly those that are asked for.
create index finished_ended_at on trunkline.finished using brin (ended_at) with (pages_per_range = 16, autosummarize = on);
create index finished_id on trunkline.finished (id);

create table trunkline.attempts (
    job        bigint not null,
    number     int not null,
    started_at timestamptz not null,
    started_on date not null,
    ended_at   timestamptz not null default now(),
    worker     uuid,
    outcome    text not null,
    reason     text,
    status     int,
    evidence   text,
    constraint attempts_key primary key (job, number, started_on),
    constraint attempts_outcome_legal check (outcome in ('sent', 'retry', 'given_back', 'unknown', 'parked', 'abandoned', 'stale')),
    constraint attempts_day check (started_on = (started_at at time zone 'UTC')::date)
) partition by range (started_on);
comment on table trunkline.attempts is
    'Every attempt that ended otherwise than the usual way; a first attempt that was sent lives in the finished row.';

-- The net below the day partitions: a worker that could not make tomorrow's in time still loses nothing.
create table trunkline.finished_rest partition of trunkline.finished default;
create table trunkline.attempts_rest partition of trunkline.attempts default;

create table trunkline.tallies (
    ended_on date not null,
    lane     int not null,
    state    text not null,
    jobs     bigint not null,
    primary key (ended_on, lane, state)
);
comment on table trunkline.tallies is 'What dropped days of finished held; `trunkline check` counts with it. Never pruned.';

-- Only settle writes it, a row per lane and batch: `trunkline status` need not count the day's finished rows.
create table trunkline.sent_today (
    lane int primary key references trunkline.lanes,
    day  date not null,
    jobs bigint not null
) with (fillfactor = 50);
comment on column trunkline.sent_today.day is 'A day of UTC; the count of any other day is 0.';

-- Makes the partition of one day. Yields 'there', 'made', 'moved' (rows of that day lay in the default partition and lie in
-- their own now) or 'crowded' (there are more of them than can be moved in a moment: they stay until retention drops them).
-- Made aside and then attached: `create table … partition of` would lock the parent against everybody, attaching locks the
-- default partition alone, which nobody writes to when the days were made in time.
-- With the rights of its owner: workers make partitions, and need not own the tables.
create function trunkline.make_day(p_table text, p_day date) returns text
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

-- Counts the rows of a finished day into the tallies and drops its partition; yields the number of rows, null when there is
-- none. The tally is taken under a lock that stops only those who would change rows of that very day; claims and settles
-- write to other days. Dropping locks the parent against everybody, for some milliseconds once it is granted. (Detaching
-- `concurrently` would not, but PostgreSQL refuses it where there is a default partition, and without that one a late
-- partition would be lost outcomes.) While the lock is waited for everybody waits behind it, so it is waited for 100 ms at
-- most, given up, and tried again after a breath. When it was never granted nothing has changed: 55P03.
create function trunkline.drop_day(p_table text, p_day date) returns bigint language plpgsql as $$
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

-- Rows of ended days that lie in the default partition: at most p_limit of those before p_day, counted like the others.
create function trunkline.drop_strays(p_table text, p_day date, p_limit int) returns bigint language plpgsql as $$
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

-- What is done once a day, by one worker of the fleet.
create table trunkline.upkeep (
    task    text primary key,
    done_on date not null,
    done_by text not null,
    done_at timestamptz not null default now()
);

create table trunkline.inbox (
    source      text collate "C" not null,
    event_key   text collate "C" not null,
    headers     jsonb not null,
    body        bytea not null,
    digest      bytea not null,
    received_at timestamptz not null,
    stored_at   timestamptz not null default now(),
    repeats     int not null default 0,
    emptied_at  timestamptz,
    constraint inbox_source_event primary key (source, event_key)
);
comment on table trunkline.inbox is 'The permanent ledger of received events; event_key is X-EZW-Delivery-Id for EZWhatsApp.';
comment on column trunkline.inbox.emptied_at is 'When retention emptied body and headers; key and digest stay.';
create index inbox_kept on trunkline.inbox (stored_at) where emptied_at is null;

create table trunkline.refusals (
    id         bigint generated always as identity primary key,
    first_at   timestamptz not null default now(),
    last_at    timestamptz not null default now(),
    times      int not null default 1,
    via        text not null,
    kind       text not null,
    field      text,
    reason     text not null,
    line       text collate "C",
    key        text collate "C",
    digest     bytea not null,
    raw        bytea not null,
    raw_length bigint not null,
    replayed_at  timestamptz,
    replayed_job bigint,
    constraint refusals_digest unique (digest)
);
comment on column trunkline.refusals.replayed_at is 'When a person gave it again and it was accepted; null again when the same bytes are refused again.';
create index refusals_last_at on trunkline.refusals (last_at);
comment on column trunkline.refusals.raw is 'The original bytes, at most 64 KiB of them; raw_length is the whole length.';
comment on column trunkline.refusals.digest is 'SHA-256 of kind and original bytes: a redelivered message is one refusal.';

-- What people decided about parked jobs and refusals, who and why. Never pruned.
create table trunkline.actions (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default now(),
    run      uuid not null,
    job      bigint,
    refusal  bigint,
    action   text not null,
    done_by  text not null,
    why      text,
    constraint actions_job_run unique (job, run),
    constraint actions_names_something check (job is not null or refusal is not null),
    constraint actions_legal check (action in ('sent', 'not_sent', 'discard', 'replay', 'accept_refused'))
);
comment on column trunkline.actions.run is 'One call of a command: given again after a lost reply it finds what it has done.';

-- Messages that came back twice and more: kept here while one worker reads one of them, before it looks inside.
create table trunkline.suspects (
    digest     bytea not null,
    via        text not null,
    raw        bytea not null,
    raw_length bigint not null,
    reader     uuid not null,
    readers    int not null default 1,
    first_at   timestamptz not null default now(),
    last_at    timestamptz not null default now(),
    constraint suspects_digest_key primary key (digest)
);
comment on column trunkline.suspects.readers is 'Workers that began to read it and did not come to the end.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Statements of the engine. Set-based; one call is one transaction.
--
-- Their plans are kept for as long as a worker's session lives, and may have been made while `jobs` was empty, when every plan
-- costs the same. So each of them names its rows to an index (`id = any (…)`), also where a join says it already.

-- The shards of the caller whose fence still stands. Locks the rows against a take-over until the transaction ends.
create function trunkline.held_shards(p_boot uuid, p_shards int[], p_fences bigint[]) returns int[] language plpgsql as $$
declare
    held int[];
begin
    select coalesce(array_agg(f.shard), '{}') into held from (
        select s.shard from trunkline.shards s
        join unnest(p_shards, p_fences) as mine (shard, fence) on mine.shard = s.shard and mine.fence = s.fence
        where s.owner = p_boot
        order by s.shard
        for share of s
    ) f;
    return held;
end $$;

create type trunkline.take_item as (
    item int, number bigint, line text, key text, key_digest bytea, content_digest bytea, person bigint, recipient text,
    request bytea, purpose text, tags text, not_before timestamptz, send_before timestamptz, supersede_key text,
    fact_at timestamptz, fast boolean, lane int, scope int, removed boolean, mine boolean, lost boolean, hold boolean,
    capped boolean
);

-- Accepts sends. With p_boot null: rows first, every new job is `accepted`. With p_boot: rows of the caller's shards are
-- placed, and claimed at once where p_fast says so and nothing stands against it; rows of other shards are `accepted`.
-- Verdicts: new, repeat, conflict, unknown_line, removed_line, lost (the caller's fence has fallen: nothing written).
create function trunkline.take(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_lease_ms int, p_class int, p_parked text,
    p_line text[], p_key text[], p_key_digest bytea[], p_content_digest bytea[], p_person bigint[], p_recipient text[],
    p_request bytea[], p_purpose text[], p_tags text[], p_not_before timestamptz[], p_send_before timestamptz[],
    p_supersede_key text[], p_fact_at timestamptz[], p_fast boolean[],
    p_pace_lanes int[], p_pace_next_ms int[]
) returns table (
    item int, verdict text, job bigint, lane int, state text, place bigint, due_in_ms bigint, attempt int, final_state text,
    line_of_job text
) language plpgsql as $$
#variable_conflict use_column
declare
    held int[] := '{}';
    numbers bigint[];
    items trunkline.take_item[];
begin
    if p_boot is not null then
        held := trunkline.held_shards(p_boot, p_shards, p_fences);
    end if;
    -- Numbers in order of arrival, before anything is sorted.
    numbers := array(select nextval('trunkline.job_number') from generate_series(1, cardinality(p_key)));

    select coalesce(array_agg(row(i.item, numbers[i.item], i.line, i.key, i.key_digest, i.content_digest, i.person, i.recipient,
           i.request, i.purpose, i.tags, i.not_before, i.send_before, i.supersede_key,
           -- Who does not say when the fact happened says it now, in order of arrival.
           case when i.supersede_key is not null then coalesce(i.fact_at, clock_timestamp() + make_interval(secs => i.item * 0.000001)) end,
           i.fast,
           l.lane, l.scope, l.removed_at is not null,
           coalesce((n.shard_hash % p_shard_count)::int = any (held), false),
           p_boot is not null and coalesce((n.shard_hash % p_shard_count)::int = any (p_shards), false)
               and not coalesce((n.shard_hash % p_shard_count)::int = any (held), false),
           l.hold_reason is not null and (l.hold_until is null or l.hold_until > now()),
           l.daily_cap is not null
        )::trunkline.take_item order by i.item), '{}') into items
    from unnest(p_line, p_key, p_key_digest, p_content_digest, p_person, p_recipient, p_request, p_purpose, p_tags,
                p_not_before, p_send_before, p_supersede_key, p_fact_at, p_fast) with ordinality
         as i (line, key, key_digest, content_digest, person, recipient, request, purpose, tags,
               not_before, send_before, supersede_key, fact_at, fast, item)
    left join trunkline.lines l on l.id = i.line
    left join trunkline.lanes n on n.number = l.lane;

    return query
    with entered as (
        -- Sorted, else two takes of the same keys deadlock even with DO NOTHING.
        insert into trunkline.ledger (scope, key_digest, content_digest, job, lane)
        select f.scope, f.key_digest, f.content_digest, f.number, f.lane
        from (select distinct on (t.scope, t.key_digest) t.* from unnest(items) t
              where t.lane is not null and not t.removed and not t.lost
              order by t.scope, t.key_digest, t.item) f
        order by f.scope, f.key_digest
        on conflict do nothing
        returning ledger.job
    ), raised as (
        -- Only by new jobs: a repeat brings no fact.
        insert into trunkline.facts (scope, supersede_key, fact_at, job)
        select f.scope, f.supersede_key, f.fact_at, f.number
        from (select distinct on (t.scope, t.supersede_key) t.* from unnest(items) t join entered e on e.job = t.number
              where t.supersede_key is not null
              order by t.scope, t.supersede_key, t.fact_at desc, t.number desc) f
        order by f.scope, f.supersede_key
        on conflict on constraint facts_scope_key do update set fact_at = excluded.fact_at, job = excluded.job
        where excluded.fact_at > facts.fact_at
    ), made as (
        insert into trunkline.jobs (id, lane, scope, key, key_digest, person, recipient, request, purpose, tags, not_before,
            send_before, supersede_key, fact_at, class, state, reason, place, due_at, attempt, tries, claimed_at, lease_until, claimed_by,
            arrival, parked_at)
        select n.number, n.lane, n.scope, n.key, n.key_digest, n.person, n.recipient, n.request, n.purpose, n.tags::jsonb,
            n.not_before, n.send_before, n.supersede_key, n.fact_at, p_class,
            case when p_parked is not null then 'parked' when n.begin then 'sending' when n.mine then 'waiting' else 'accepted' end,
            p_parked,
            case when p_parked is not null then -1 when not n.mine then 0 when n.not_before > now() then -1 else n.number end,
            greatest(n.not_before, now()),
            n.begin::int, n.begin::int,
            case when n.begin then now() end,
            case when n.begin then now() + make_interval(secs => p_lease_ms / 1000.0) end,
            case when n.begin then p_boot end,
            n.number, case when p_parked is not null then now() end
        from (
            -- What may be superseded or capped is looked at by claim.
            select t.*, t.mine and t.fast and not t.hold and p_parked is null and t.supersede_key is null and not t.capped
                    and coalesce(t.not_before <= now(), true) and coalesce(t.send_before > now(), true)
                    -- The person has nothing under way, nothing earlier, and nothing due that no owner has seen.
                    and not exists (
                        select from trunkline.jobs o
                        where o.lane = t.lane and o.person = t.person and o.parked_at is null
                          and not (o.place <= 0 and o.due_at > now())
                    ) as begin
            from unnest(items) t join entered e on e.job = t.number
        ) n
        order by n.number
        returning jobs.id, jobs.lane, jobs.state, jobs.place,
            ceil(extract(epoch from jobs.due_at - now()) * 1000)::bigint as due_in_ms, jobs.attempt
    )
    select t.item, 'new', m.id, m.lane, m.state, m.place, m.due_in_ms, m.attempt, null::text, t.line
    from made m join unnest(items) t on t.number = m.id;

    -- In a statement of its own: only a later snapshot sees the row that DO NOTHING waited for.
    return query
    select t.item,
        case when t.lane is null then 'unknown_line'
             when t.removed then 'removed_line'
             when t.lost then 'lost'
             when l.content_digest = t.content_digest then 'repeat'
             else 'conflict' end,
        l.job, l.lane, null::text, null::bigint, null::bigint, null::int, l.final_state,
        (select o.id from trunkline.lines o where o.lane = l.lane)
    from unnest(items) t
    left join trunkline.ledger l on l.scope = t.scope and l.key_digest = t.key_digest and not t.lost and not t.removed
    where l.job is distinct from t.number or t.lane is null;

    if exists (select from unnest(items) t where t.supersede_key is not null) then
        perform trunkline.supersede(array(select distinct row(t.scope, t.supersede_key)::trunkline.fact_key from unnest(items) t
            where t.supersede_key is not null and t.lane is not null));
    end if;
    if p_boot is not null and cardinality(p_pace_lanes) > 0 then
        perform trunkline.keep_pace(p_pace_lanes, p_pace_next_ms);
    end if;
end $$;

-- What a producer may do: rows first, of nobody's shards, never claimed, never parked. It runs with the rights of its owner,
-- so a role that may execute this and `refuse` needs no right on any table of jobs (`trunkline roles`).
create function trunkline.accept(
    p_class int, p_line text[], p_key text[], p_key_digest bytea[], p_content_digest bytea[], p_person bigint[],
    p_recipient text[], p_request bytea[], p_purpose text[], p_tags text[], p_not_before timestamptz[],
    p_send_before timestamptz[], p_supersede_key text[], p_fact_at timestamptz[]
) returns table (
    item int, verdict text, job bigint, lane int, state text, place bigint, due_in_ms bigint, attempt int, final_state text,
    line_of_job text
) language sql security definer set search_path = pg_catalog, pg_temp as $$
    select * from trunkline.take(
        null, 1, '{}', '{}', 0, p_class, null, p_line, p_key, p_key_digest, p_content_digest, p_person, p_recipient, p_request,
        p_purpose, p_tags, p_not_before, p_send_before, p_supersede_key, p_fact_at,
        array_fill(false, array[cardinality(p_key)]), '{}', '{}'
    );
$$;

create type trunkline.fact_key as (scope int, supersede_key text);

-- Ends what an already accepted newer fact replaces: never begun, or come back surely unsent. Only a courtesy, so that a
-- replaced notice does not stand in line: claim decides. Rows that somebody works on are left to it.
create function trunkline.supersede(p_facts trunkline.fact_key[]) returns void language plpgsql as $$
declare
    old bigint[];
begin
    select array_agg(o.id) into old from (
        select j.id from unnest(p_facts) k
        join trunkline.facts f on f.scope = k.scope and f.supersede_key = k.supersede_key
        join trunkline.jobs j on j.scope = k.scope and j.supersede_key = k.supersede_key
        where j.fact_at < f.fact_at and j.state in ('accepted', 'waiting') and j.maybe_sent_since is null
        order by j.id for update of j skip locked
    ) o;
    if old is not null then
        perform trunkline.finish(old, 'superseded', 'newer_fact');
    end if;
end $$;

create function trunkline.keep_pace(p_lanes int[], p_next_ms int[]) returns void language sql as $$
    update trunkline.lane_state s
    set next_send_at = now() + make_interval(secs => p.next_ms / 1000.0)
    from (select * from unnest(p_lanes, p_next_ms) as u (lane, next_ms) order by lane) p
    where s.lane = p.lane;
$$;

-- What an owner keeps of a row in memory.
create type trunkline.seen_job as (
    job bigint, lane int, person bigint, class int, state text, place bigint, due_in_ms bigint, attempt int, tries int,
    stamped boolean, claimed_by uuid, lease_left_ms bigint, suspect boolean
);

create function trunkline.seen(j trunkline.jobs) returns trunkline.seen_job language sql stable as $$
    select row(j.id, j.lane, j.person, j.class::int, j.state, j.place, ceil(extract(epoch from j.due_at - now()) * 1000)::bigint,
               j.attempt, j.tries, j.maybe_sent_since is not null, j.claimed_by,
               (extract(epoch from j.lease_until - now()) * 1000)::bigint, j.suspect)::trunkline.seen_job;
$$;

-- The owner looks at rows that no owner has seen, oldest first, and gives each its place (scheduled ones later). It begins
-- behind p_after: while somebody holds an old snapshot, the index keeps an entry of every row that was ever unseen, and each
-- call would walk them all. What comes to light before p_after (a commit that took long) is found by a call with 0.
create function trunkline.adopt(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_min_age_ms int, p_limit int, p_after bigint
) returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
begin
    return query
    with found as materialized (
        select j.id from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
        where j.place = 0 and j.parked_at is null and j.arrival > p_after and (n.shard_hash % p_shard_count)::int = any (held)
          and j.accepted_at <= now() - make_interval(secs => p_min_age_ms / 1000.0)
        order by j.arrival limit p_limit
    ), unseen as (
        -- Locked in the order of ids, as everybody does.
        select j.id, j.place, j.parked_at from trunkline.jobs j
        where j.id = any (array(select f.id from found f))
        order by j.id
        for no key update of j
    ), placed as (
        -- The number it got when it was accepted (or put back by a person): what was answered before another began has the
        -- earlier place, whichever of the two the owner saw first. A scheduled one gets its place in the order of due times,
        -- also when it is late.
        update trunkline.jobs j
        set state = 'waiting', place = case when j.due_at > now() or j.not_before > j.accepted_at then -1 else j.arrival end
        where j.id = any (array(select u.id from unseen u where u.place = 0 and u.parked_at is null))
        returning j.*
    )
    select (trunkline.seen(p::trunkline.jobs)).* from placed p;
end $$;

-- Scheduled jobs whose time has come get their place, in the order of their times. With each goes whatever else of its person
-- is scheduled and due, also what no owner has seen: it may have the earlier time.
create function trunkline.place_due(p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_jobs bigint[])
returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
begin
    return query
    with persons as materialized (
        select distinct j.lane, j.person from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
        where j.id = any (p_jobs) and j.place = -1 and j.state = 'waiting' and j.due_at <= now()
          and (n.shard_hash % p_shard_count)::int = any (held)
    ), found as materialized (
        select f.id from persons p cross join lateral (
            select j.id from trunkline.jobs j
            where j.lane = p.lane and j.person = p.person and j.place between -1 and 0 and j.parked_at is null
              and j.due_at <= now() and (j.place = -1 or j.not_before > j.accepted_at)
            order by j.due_at, j.id limit 100
        ) f
    ), due as materialized (
        -- Locked in the order of ids, as everybody does.
        select j.id, j.due_at from trunkline.jobs j
        where j.id = any (array(select f.id from found f)) and j.place between -1 and 0 and j.parked_at is null
          and j.due_at <= now()
        order by j.id
        for no key update of j
    ), numbered as materialized (
        select o.id, nextval('trunkline.job_number') as place from (select d.id from due d order by d.due_at, d.id) o
    ), placed as (
        update trunkline.jobs j set state = 'waiting', place = d.place from numbered d
        where j.id = d.id and j.id = any (array(select n.id from numbered n)) returning j.*
    )
    select (trunkline.seen(p::trunkline.jobs)).* from placed p;
end $$;

-- Unfinished jobs of some lanes, for a new owner: at most p_limit, lane after lane as given, each by person, place and number,
-- the first one from behind p_person, p_place, p_job on. Fewer than p_limit: these lanes have no more. Unseen rows are left
-- to adopt.
create function trunkline.load(p_lanes int[], p_person bigint, p_place bigint, p_job bigint, p_limit int)
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

-- When each person of some shards was last written to, for the gap between two messages to one person: as far back as the
-- gap of each line reaches. p_within_ms: the largest of these gaps.
create function trunkline.last_sends(p_shard_count int, p_shards int[], p_within_ms int)
returns table (lane int, person bigint, ago_ms bigint) language plpgsql stable
-- Only a plan for this very moment knows how few of the day's rows are that young.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    horizon timestamptz := now() - make_interval(secs => p_within_ms / 1000.0);
    first_day date := (horizon at time zone 'UTC')::date;
    lanes int[] := array(
        select l.lane from trunkline.lines l join trunkline.lanes n on n.number = l.lane
        where (n.shard_hash % p_shard_count)::int = any (p_shards) and l.recipient_gap_ms > 0);
begin
    return query
    select s.lane, s.person, min((extract(epoch from now() - s.at) * 1000)::bigint)
    from (
        -- The bytes left at some time between claim and end.
        select f.lane, f.person, f.ended_at as at from trunkline.finished f
        where f.ended_on >= first_day and f.ended_at > horizon and f.claimed_at is not null
        union all
        select j.lane, j.person, j.claimed_at from trunkline.jobs j
        where j.lane = any (lanes) and j.parked_at is null and j.claimed_at > horizon
        union all
        select j.lane, j.person, j.claimed_at from trunkline.jobs j
        where j.lane = any (lanes) and j.parked_at > horizon
    ) s join trunkline.lines l on l.lane = s.lane
    where l.lane = any (lanes) and s.at > now() - make_interval(secs => l.recipient_gap_ms / 1000.0)
    group by s.lane, s.person;
end $$;

-- Moves jobs that ended without being sent, by the rows the caller has locked.
create function trunkline.finish(p_jobs bigint[], p_state text, p_reason text) returns void language sql as $$
    with gone as (
        delete from trunkline.jobs j where j.id = any (p_jobs) returning j.*
    ), remembered as (
        update trunkline.ledger l set final_state = p_state, final_at = now()
        from gone g where l.scope = g.scope and l.key_digest = g.key_digest and l.job = g.id
    )
    insert into trunkline.finished (id, lane, scope, key, key_digest, person, recipient, request, purpose, tags, send_before,
        supersede_key, fact_at,
        state, reason, attempt, tries, claimed_at, claimed_by, maybe_sent_since, evidence, accepted_at, ended_at, ended_on)
    select g.id, g.lane, g.scope, g.key, g.key_digest, g.person, g.recipient, g.request, g.purpose, g.tags, g.send_before,
        g.supersede_key, g.fact_at,
        p_state, p_reason, g.attempt, g.tries, g.claimed_at, g.claimed_by, g.maybe_sent_since, g.evidence, g.accepted_at,
        now(), (now() at time zone 'UTC')::date
    from gone g;
$$;

create type trunkline.late_job as (job bigint, lane int, person bigint, stamped boolean, late boolean);

-- Jobs that are not in the air and whose sendBefore has passed: they end as expired, or are parked when one may have been
-- sent; and those that may have been sent over 12 h ago: parked. For jobs that no claim reaches: their line is held.
create function trunkline.expire(p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_limit int)
returns table (job bigint, lane int, person bigint) language plpgsql as $$
#variable_conflict use_column
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
    late trunkline.late_job[];
    doubtful bigint[];
begin
    select coalesce(array_agg(row(d.id, d.lane, d.person, d.maybe_sent_since is not null,
            coalesce(d.send_before <= now(), false))::trunkline.late_job), '{}') into late
    from (
        select j.* from trunkline.jobs j
        where j.id = any (array(
                (select j.id from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
                 where j.parked_at is null and j.send_before <= now() and j.state in ('accepted', 'waiting', 'unknown')
                   and (n.shard_hash % p_shard_count)::int = any (held)
                 order by j.send_before limit p_limit)
                union
                (select j.id from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
                 where j.parked_at is null and j.maybe_sent_since < now() - interval '12 hours' and j.state = 'unknown'
                   and (n.shard_hash % p_shard_count)::int = any (held)
                 order by j.maybe_sent_since limit p_limit)))
          and (j.send_before <= now() and j.state in ('accepted', 'waiting', 'unknown')
               or j.maybe_sent_since < now() - interval '12 hours' and j.state = 'unknown')
        order by j.id
        for no key update
    ) d;
    perform trunkline.finish(array(select k.job from unnest(late) k where not k.stamped order by 1), 'expired', 'send_before_passed');
    doubtful := array(select k.job from unnest(late) k where k.stamped);
    update trunkline.jobs j set state = 'parked', parked_at = now(), due_at = now(),
        reason = case when k.late then 'send_before_passed_unknown' else 'unknown_horizon' end
    from unnest(late) k where j.id = k.job and j.id = any (doubtful);
    return query select k.job, k.lane, k.person from unnest(late) k;
end $$;

create type trunkline.claim_look as (job bigint, lane int, verdict text, stamped boolean, wait_ms int);

-- Begins attempts: committed before anything leaves. Verdicts: claimed, lost, gone, busy (not claimable in this state),
-- held (the operator's hold), overtaken (a due row of that person that no owner has seen: adopt first), early,
-- expired (sendBefore has passed) and superseded (a newer fact was accepted): both ended here unless it may have been sent:
-- then parked; horizon (may have been sent over 12 h ago: parked), capped (the line has sent what it may today; wait_ms
-- until its next midnight).
create function trunkline.claim(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_lease_ms int, p_jobs bigint[],
    p_pace_lanes int[], p_pace_next_ms int[]
) returns table (job bigint, verdict text, attempt int, tries int, key text, request bytea, send_before timestamptz, wait_ms int)
language plpgsql as $$
#variable_conflict use_column
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
    looked trunkline.claim_look[];
begin
    select coalesce(array_agg(row(j.id, j.lane, case
            when not coalesce((n.shard_hash % p_shard_count)::int = any (held), false) then 'lost'
            when j.state not in ('waiting', 'unknown') or j.place <= 0 then 'busy'
            when j.due_at > now() + interval '50 milliseconds' then 'early'
            when j.send_before <= now() then 'expired'
            when j.supersede_key is not null and exists (
                select from trunkline.facts f
                where f.scope = j.scope and f.supersede_key = j.supersede_key and f.fact_at > j.fact_at
            ) then 'superseded'
            when l.hold_reason is not null and (l.hold_until is null or l.hold_until > now()) then 'held'
            when j.maybe_sent_since < now() - interval '12 hours' then 'horizon'
            when j.state <> 'unknown' and exists (
                -- Something of the person has an earlier place, or is due and no owner has seen it.
                select from trunkline.jobs o
                where o.lane = j.lane and o.person = j.person and o.place < j.place and o.parked_at is null
                  and (o.place > 0 or o.due_at <= now())
            ) then 'overtaken'
            when exists (
                -- Something of the person is in the air or unknown although its place is later. Such a one is near: it was
                -- the head when it began.
                select from (select o.id, o.state from trunkline.jobs o
                             where o.lane = j.lane and o.person = j.person and o.place > 0 and o.parked_at is null
                             order by o.place limit 64) o
                where o.id <> j.id and o.state in ('sending', 'unknown')
            ) then 'overtaken'
            else 'claimed' end, j.maybe_sent_since is not null, null)::trunkline.claim_look), '{}') into looked
    from (select * from trunkline.jobs where id = any (p_jobs) order by id for no key update) j
    join trunkline.lanes n on n.number = j.lane
    join trunkline.lines l on l.lane = j.lane;

    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'expired' and not k.stamped order by 1),
        'expired', 'send_before_passed');
    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'superseded' and not k.stamped order by 1),
        'superseded', 'newer_fact');
    update trunkline.jobs j set state = 'parked', parked_at = now(), due_at = now(),
        reason = case k.verdict when 'horizon' then 'unknown_horizon' when 'superseded' then 'superseded_unknown'
            else 'send_before_passed_unknown' end
    from unnest(looked) k
    where j.id = k.job and j.id = any (p_jobs) and (k.verdict in ('expired', 'superseded') and k.stamped or k.verdict = 'horizon');

    if exists (select from unnest(looked) k join trunkline.lines l on l.lane = k.lane where l.daily_cap is not null) then
        looked := trunkline.cap(looked, p_jobs);
    end if;

    return query
    with begun as (
        update trunkline.jobs j
        set state = 'sending', reason = null, attempt = j.attempt + 1, tries = j.tries + 1, claimed_at = now(), claimed_by = p_boot,
            lease_until = now() + make_interval(secs => p_lease_ms / 1000.0)
        from unnest(looked) k where j.id = k.job and j.id = any (p_jobs) and k.verdict = 'claimed'
        returning j.id, j.attempt, j.tries, j.key, j.request, j.send_before
    )
    select w.id, coalesce(k.verdict, 'gone'), b.attempt, b.tries, b.key, b.request, b.send_before, k.wait_ms
    from unnest(p_jobs) w (id)
    left join unnest(looked) k on k.job = w.id
    left join begun b on b.id = w.id;

    if cardinality(p_pace_lanes) > 0 then
        perform trunkline.keep_pace(p_pace_lanes, p_pace_next_ms);
    end if;
end $$;

-- The time in a zone. A zone that the server's tables have lost must not stop the claims of other lines.
create function trunkline.local_time(p_moment timestamptz, p_zone text) returns timestamp language plpgsql stable as $$
begin
    return p_moment at time zone p_zone;
exception when invalid_parameter_value then
    return p_moment at time zone 'UTC';
end $$;

-- The daily cap: of what a claim would begin, only so many as the line has left today. A job is counted when an attempt
-- begins that nothing was sent before, and given back by settle when that attempt surely sent nothing.
create function trunkline.cap(p_looked trunkline.claim_look[], p_jobs bigint[]) returns trunkline.claim_look[]
language plpgsql as $$
declare
    result trunkline.claim_look[];
begin
    perform from trunkline.lane_state s
        where s.lane in (select k.lane from unnest(p_looked) k) order by s.lane for no key update of s;
    with left_today as (
        select s.lane, t.here::date as today, t.here::date + 1 - t.here as left_of_it,
               l.daily_cap - case when s.sent_on = t.here::date then s.sent_today else 0 end as room
        from trunkline.lane_state s join trunkline.lines l on l.lane = s.lane
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
            ceil(extract(epoch from t.left_of_it) * 1000)::int as wait_ms
        from ranked r left join left_today t on t.lane = r.lane
    ), counted as (
        update trunkline.lane_state s
        set sent_on = t.today,
            sent_today = case when s.sent_on = t.today then s.sent_today else 0 end
                + (select count(*) from decided d where d.lane = s.lane and d.verdict = 'claimed' and not d.stamped)
        from left_today t where t.lane = s.lane
    )
    select array_agg(row(d.job, d.lane, d.verdict, d.stamped, d.wait_ms)::trunkline.claim_look) into result from decided d;
    return result;
end $$;

-- Attempts of silent workers that the owner has seen expired and unchanged: they may have been sent.
create function trunkline.abandon(p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_jobs bigint[], p_attempts int[])
returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
begin
    return query
    with expired as (
        select j.* from trunkline.jobs j
        join unnest(p_jobs, p_attempts) as w (id, attempt) on w.id = j.id and w.attempt = j.attempt
        join trunkline.lanes n on n.number = j.lane
        where j.id = any (p_jobs) and j.state = 'sending' and j.lease_until < now() and (n.shard_hash % p_shard_count)::int = any (held)
        order by j.id
        for no key update of j
    ), marked as (
        -- The worker may have died of it: from now on it runs as the only suspect of its process, and only what happens
        -- to it then counts against it.
        update trunkline.jobs j
        set state = case when j.suspect and j.crashes >= 2 then 'parked' else 'unknown' end,
            reason = case when j.suspect and j.crashes >= 2 then 'poison' else 'worker_lost' end,
            parked_at = case when j.suspect and j.crashes >= 2 then now() end,
            due_at = now(), maybe_sent_since = coalesce(j.maybe_sent_since, j.claimed_at),
            crashes = j.crashes + j.suspect::int, suspect = true
        from expired e where j.id = e.id and j.id = any (p_jobs)
        returning j.*
    ), noted as (
        insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason)
        select e.id, e.attempt, e.claimed_at, (e.claimed_at at time zone 'UTC')::date, e.claimed_by, 'abandoned', 'worker_lost'
        from expired e
        on conflict on constraint attempts_key do nothing
    )
    select (trunkline.seen(m::trunkline.jobs)).* from marked m;
end $$;

create type trunkline.settle_look as (
    job bigint, attempt int, outcome text, reason text, due_ms int, may_have_left boolean, remote_id text, status int, evidence text,
    job_attempt int, job_state text, claimed_at timestamptz, stamp timestamptz, verdict text
);

-- What workers say of attempts that were given up for lost, or overtaken, or whose job has ended. Such words are rare and may
-- be of any day. Each day is found by reading, and then written by name (hence `execute`), so that only its partition is
-- locked: `trunkline retain` and a late word meet at most over one and the same day.
create function trunkline.settle_late(p_boot uuid, p_looked trunkline.settle_look[]) returns void language plpgsql as $$
declare
    late record;
    today date := (now() at time zone 'UTC')::date;
begin
    for late in
        select k.job, k.attempt, k.job_attempt, k.outcome, k.reason, k.remote_id, k.status, k.evidence, k.verdict,
            f.ended_on, f.state as end_state, f.attempt as end_attempt, f.scope, f.key_digest, f.lane,
            (select min(a.started_on) from trunkline.attempts a where a.job = k.job and a.number = k.attempt) as recorded_on
        from unnest(p_looked) k
        left join trunkline.finished f on k.verdict = 'ended' and f.id = k.job
        where k.verdict in ('late_sent', 'ended') or k.attempt <> k.job_attempt
        order by k.job, k.attempt
    loop
        if late.outcome = 'sent' and late.end_state <> 'sent' then
            -- A job that had ended otherwise was sent after all: the end is corrected, visibly.
            update trunkline.ledger l set final_state = 'sent'
            where l.scope = late.scope and l.key_digest = late.key_digest and l.job = late.job;
            if late.ended_on = today then
                insert into trunkline.sent_today as t (lane, day, jobs) values (late.lane, today, 1)
                on conflict (lane) do update
                set day = excluded.day, jobs = 1 + case when t.day = excluded.day then t.jobs else 0 end;
            end if;
        end if;
        if late.recorded_on is null then
            -- The outcome of an attempt that another one overtook is evidence. The same outcome again is nothing.
            if late.verdict <> 'ended' and late.attempt <> late.job_attempt
                or late.verdict = 'ended' and late.ended_on is not null
                    and not (late.outcome = 'sent' and late.attempt = 1 and late.end_attempt = 1)
            then
                insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason, status, evidence)
                values (late.job, late.attempt, now(), today, p_boot,
                    case late.outcome when 'sent' then 'sent' else 'stale' end, late.reason, late.status, late.evidence)
                on conflict on constraint attempts_key do nothing;
            end if;
        elsif late.outcome = 'sent' then
            -- A worker that was given up for lost has spoken after all.
            execute 'update trunkline.attempts a
                set outcome = ''sent'', reason = $4, status = $5, evidence = $6, ended_at = now()
                where a.started_on = $1 and a.job = $2 and a.number = $3 and a.outcome = ''abandoned'''
                using late.recorded_on, late.job, late.attempt, late.reason, late.status, late.evidence;
        end if;
        if late.outcome = 'sent' and late.end_state <> 'sent' then
            execute 'update trunkline.finished f set state = ''sent'', reason = ''late'', remote_id = $3
                where f.ended_on = $1 and f.id = $2 and f.state <> ''sent'''
                using late.ended_on, late.job, late.remote_id;
        end if;
    end loop;
end $$;

-- Records outcomes, fenced by the attempt number and by nothing else. p_outcome: sent, retry, given_back, unknown, park.
-- `sent` counts from any attempt at any time; every other outcome only for the attempt that is current.
-- Verdicts: sent, late_sent (a later attempt runs or the job had ended otherwise), evidence (was sent already), waiting,
-- unknown, parked, cancelled (a cancel came during the attempt, and nothing was sent), stale (not the current attempt: recorded as evidence only), repeat (this very outcome is recorded).
create function trunkline.settle(
    p_boot uuid, p_jobs bigint[], p_attempts int[], p_outcome text[], p_reason text[], p_due_ms int[], p_may_have_left boolean[],
    p_remote_id text[], p_status int[], p_evidence text[]
) returns table (job bigint, verdict text, attempt int) language plpgsql as $$
#variable_conflict use_column
declare
    looked trunkline.settle_look[];
begin
    select coalesce(array_agg(row(o.job, o.attempt, o.outcome, o.reason, o.due_ms, o.may_have_left, o.remote_id, o.status, o.evidence,
            j.attempt, j.state, j.claimed_at, j.maybe_sent_since,
            case
                when j.id is null then 'ended'
                when o.outcome = 'sent' and j.attempt = o.attempt and j.state = 'sending' then 'sent'
                when o.outcome = 'sent' then 'late_sent'
                when j.attempt <> o.attempt or j.state <> 'sending' then 'stale'
                when o.outcome = 'park' then 'parked'
                when j.cancel_wanted and j.maybe_sent_since is null and not o.may_have_left then 'cancelled'
                when j.maybe_sent_since is not null or o.may_have_left then
                    case when coalesce(j.maybe_sent_since, j.claimed_at) < now() - interval '12 hours' then 'parked_unknown' else 'unknown' end
                else 'waiting'
            end)::trunkline.settle_look), '{}') into looked
    from unnest(p_jobs, p_attempts, p_outcome, p_reason, p_due_ms, p_may_have_left, p_remote_id, p_status, p_evidence)
         as o (job, attempt, outcome, reason, due_ms, may_have_left, remote_id, status, evidence)
    left join (select * from trunkline.jobs where id = any (p_jobs) order by id for update) j on j.id = o.job;

    -- Sent: the row leaves jobs, the ledger learns the end, in this statement or not at all.
    with ending as (
        select k.* from unnest(looked) k where k.verdict in ('sent', 'late_sent')
    ), gone as (
        delete from trunkline.jobs j using (select distinct on (e.job) e.* from ending e order by e.job, e.attempt) e
        where j.id = e.job and j.id = any (p_jobs)
        returning j.*, e.attempt as sent_attempt, e.remote_id, e.evidence as sent_evidence
    ), remembered as (
        update trunkline.ledger l set final_state = 'sent', final_at = now()
        from gone g where l.scope = g.scope and l.key_digest = g.key_digest and l.job = g.id
    ), counted as (
        insert into trunkline.sent_today as t (lane, day, jobs)
        select g.lane, (now() at time zone 'UTC')::date, count(*) from gone g group by g.lane order by g.lane
        on conflict (lane) do update
        set day = excluded.day, jobs = excluded.jobs + case when t.day = excluded.day then t.jobs else 0 end
        -- A transaction that began before midnight does not undo the new day.
        where t.day <= excluded.day
    )
    insert into trunkline.finished (id, lane, scope, key, key_digest, person, recipient, request, purpose, tags, send_before,
        state, reason, attempt, tries, claimed_at, claimed_by, maybe_sent_since, remote_id, evidence, accepted_at, ended_at, ended_on)
    select g.id, g.lane, g.scope, g.key, g.key_digest, g.person, g.recipient, g.request, g.purpose, g.tags, g.send_before,
        'sent', case when g.sent_attempt <> g.attempt then 'late' end, g.attempt, g.tries, g.claimed_at, g.claimed_by,
        g.maybe_sent_since, g.remote_id, coalesce(g.sent_evidence, g.evidence), g.accepted_at, now(), (now() at time zone 'UTC')::date
    from gone g;

    update trunkline.jobs j
    set state = case k.verdict when 'parked_unknown' then 'parked' when 'cancelled' then 'waiting' else k.verdict end,
        reason = case when k.verdict = 'parked_unknown' then 'unknown_horizon' else k.reason end,
        parked_at = case when k.verdict in ('parked', 'parked_unknown') then now() end,
        due_at = now() + make_interval(secs => k.due_ms / 1000.0),
        tries = j.tries - (k.outcome = 'given_back')::int,
        maybe_sent_since = case when k.may_have_left then coalesce(j.maybe_sent_since, j.claimed_at) else j.maybe_sent_since end,
        evidence = coalesce(k.evidence, j.evidence),
        suspect = j.suspect and k.outcome = 'given_back'
    from unnest(looked) k
    where j.id = k.job and j.id = any (p_jobs)
      and k.verdict in ('waiting', 'unknown', 'parked', 'parked_unknown', 'cancelled');

    -- What surely sent nothing does not count against the line's daily cap.
    update trunkline.lane_state s set sent_today = greatest(0, s.sent_today - g.n)
    from (
        select j.lane, count(*) as n from unnest(looked) k join trunkline.jobs j on j.id = k.job
        join trunkline.lines l on l.lane = j.lane and l.daily_cap is not null
        where j.id = any (p_jobs) and k.stamp is null and not k.may_have_left and k.verdict in ('waiting', 'parked', 'cancelled')
          and trunkline.local_time(k.claimed_at, l.time_zone)::date = trunkline.local_time(now(), l.time_zone)::date
        group by j.lane order by j.lane
    ) g where s.lane = g.lane;

    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'cancelled' order by 1), 'cancelled', 'cancelled');

    -- A first attempt that was sent lives in the finished row; every other one has its own, in the day it began: no other
    -- day's partition is looked at, or locked. Recorded before: the key says so.
    insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason, status, evidence)
    select k.job, k.attempt, t.at, (t.at at time zone 'UTC')::date, p_boot,
        case k.verdict when 'stale' then 'stale' when 'parked' then 'parked' else k.outcome end, k.reason, k.status, k.evidence
    from unnest(looked) k
    cross join lateral (select coalesce(k.claimed_at, now()) as at) t
    where k.verdict <> 'ended' and k.attempt = k.job_attempt and not (k.verdict = 'sent' and k.attempt = 1)
    order by k.job, k.attempt
    on conflict on constraint attempts_key do nothing;

    if exists (select from unnest(looked) k where k.verdict in ('late_sent', 'ended') or k.attempt <> k.job_attempt) then
        perform trunkline.settle_late(p_boot, looked);
    end if;

    return query
    select k.job,
        case when k.verdict = 'ended' and k.outcome = 'sent' then 'evidence'
             when k.verdict = 'ended' then 'stale'
             when k.verdict = 'parked_unknown' then 'parked'
             else k.verdict end,
        k.attempt
    from unnest(looked) k;
end $$;

-- Stores received events. Verdicts: new, repeat (no effect), conflict (the same delivery id with other bytes: a refusal).
create function trunkline.take_events(
    p_source text[], p_event_key text[], p_headers text[], p_body bytea[], p_digest bytea[], p_received_at timestamptz[]
) returns table (item int, verdict text) language plpgsql as $$
#variable_conflict use_column
declare
    fresh int[];
begin
    with firsts as (
        select distinct on (i.source, i.event_key) i.*
        from unnest(p_source, p_event_key, p_headers, p_body, p_digest, p_received_at) with ordinality
            as i (source, event_key, headers, body, digest, received_at, item)
        order by i.source, i.event_key, i.item
    ), stored as (
        insert into trunkline.inbox (source, event_key, headers, body, digest, received_at)
        select f.source, f.event_key, f.headers::jsonb, f.body, f.digest, f.received_at
        from firsts f order by f.source, f.event_key
        on conflict on constraint inbox_source_event do nothing
        returning inbox.source, inbox.event_key
    )
    select coalesce(array_agg(f.item::int), '{}') into fresh from firsts f join stored s using (source, event_key);

    -- In a statement of its own: only a later snapshot sees the row that DO NOTHING waited for.
    return query
    select i.item::int,
        case when i.item = any (fresh) then 'new' when b.digest = i.digest then 'repeat' else 'conflict' end
    from unnest(p_source, p_event_key, p_digest) with ordinality as i (source, event_key, digest, item)
    join trunkline.inbox b on b.source = i.source and b.event_key = i.event_key;

    update trunkline.inbox b set repeats = b.repeats + 1
    from (select distinct i.source, i.event_key from unnest(p_source, p_event_key) with ordinality as i (source, event_key, item)
          where not i.item = any (fresh) order by 1, 2) r
    where b.source = r.source and b.event_key = r.event_key;
end $$;

-- A worker is about to read a message that came back; yields how many workers have begun to, this one included.
create function trunkline.suspect(p_boot uuid, p_digest bytea, p_via text, p_raw bytea, p_raw_length bigint) returns int
language sql as $$
    insert into trunkline.suspects as s (digest, via, raw, raw_length, reader) values (p_digest, p_via, p_raw, p_raw_length, p_boot)
    on conflict on constraint suspects_digest_key do update
    -- The same bytes an hour later are another message.
    set readers = case when s.last_at < now() - interval '1 hour' then 1 else s.readers + (s.reader <> p_boot)::int end,
        reader = p_boot, last_at = now()
    returning readers;
$$;

create function trunkline.refuse(
    p_via text[], p_kind text[], p_field text[], p_reason text[], p_line text[], p_key text[], p_digest bytea[], p_raw bytea[],
    p_raw_length bigint[]
) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into trunkline.refusals (via, kind, field, reason, line, key, digest, raw, raw_length)
    select r.via, r.kind, r.field, r.reason, r.line, r.key, r.digest, r.raw, r.raw_length
    from (select distinct on (digest) * from unnest(p_via, p_kind, p_field, p_reason, p_line, p_key, p_digest, p_raw, p_raw_length)
              as u (via, kind, field, reason, line, key, digest, raw, raw_length) order by digest) r
    on conflict on constraint refusals_digest do update
    set times = refusals.times + 1, last_at = now(), replayed_at = null, replayed_job = null;
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Statements of people

create type trunkline.cancel_look as (job bigint, key text, lane int, verdict text, state text, attempt int);

create function trunkline.cancel_look(j trunkline.jobs) returns trunkline.cancel_look language sql immutable as $$
    select row(j.id, j.key, j.lane,
        case when j.maybe_sent_since is not null then 'may_have_been_sent'
             when j.state = 'sending' then 'in_the_air'
             else 'cancelled' end,
        j.state, j.attempt)::trunkline.cancel_look;
$$;

-- Cancels a chunk of the jobs of one scope (null: of all) whose keys are LIKE the pattern: at most p_limit, with numbers above
-- p_after, in the order of their numbers. The caller goes on after the last one, each chunk in a transaction of its own, until
-- nothing comes back; after a deadlock or a lock time-out it gives the chunk again.
-- Verdicts: cancelled; in_the_air (too late for the attempt that runs: marked, and settle ends the job as cancelled if it comes
-- back and cannot have been sent); may_have_been_sent (too late for good).
create function trunkline.cancel(p_pattern text, p_scope int, p_after bigint, p_limit int, p_dry_run boolean default false)
returns setof trunkline.cancel_look language plpgsql
-- Only a plan for this very pattern can use the index on keys.
set plan_cache_mode = force_custom_plan
set lock_timeout = '2s'
as $$
declare
    looked trunkline.cancel_look[];
begin
    if p_dry_run then
        return query
        select (trunkline.cancel_look(j)).* from trunkline.jobs j
        where j.key like p_pattern and (p_scope is null or j.scope = p_scope) and j.id > p_after
        order by j.id limit p_limit;
        return;
    end if;
    select coalesce(array_agg(trunkline.cancel_look(j::trunkline.jobs) order by j.id), '{}') into looked
    from (select * from trunkline.jobs
          where key like p_pattern and (p_scope is null or scope = p_scope) and id > p_after
          order by id limit p_limit
          for no key update) j;
    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'cancelled' order by 1),
        'cancelled', 'cancelled');
    update trunkline.jobs j set cancel_wanted = true
    from unnest(looked) k where j.id = k.job and k.verdict = 'in_the_air' and not j.cancel_wanted;
    return query select * from unnest(looked);
end $$;

-- Gives a job that has not begun another time (null: now); its owner sees it anew. Verdicts: rescheduled, gone, ended, begun,
-- after_send_before (sendBefore comes first: nothing changed).
create function trunkline.reschedule(p_job bigint, p_not_before timestamptz)
returns table (verdict text, state text, attempt int, due_at timestamptz, send_before timestamptz) language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    j trunkline.jobs;
    due timestamptz := greatest(coalesce(p_not_before, now()), now());
begin
    select * into j from trunkline.jobs where id = p_job for no key update;
    if not found then
        return query
        select coalesce(max('ended'), 'gone'), max(f.state), max(f.attempt), null::timestamptz, null::timestamptz
        from trunkline.finished f where f.id = p_job;
        return;
    end if;
    if j.state not in ('accepted', 'waiting') or j.attempt > 0 or j.maybe_sent_since is not null then
        return query select 'begun', j.state, j.attempt, j.due_at, j.send_before;
    elsif j.send_before <= due then
        return query select 'after_send_before', j.state, j.attempt, due, j.send_before;
    else
        update trunkline.jobs
        set state = 'accepted', place = 0, arrival = nextval('trunkline.job_number'), reason = null, not_before = due, due_at = due
        where id = p_job;
        return query select 'rescheduled', 'accepted', j.attempt, due, j.send_before;
    end if;
end $$;

-- What a person's word would do to a job. Verdicts: done; not_parked; not_in_doubt (it was surely not sent: nothing to resolve);
-- in_doubt (it may have been sent: not to be replayed before somebody has said that it was not); cancelled (a cancel came for
-- it: a replay ends it); too_late (sendBefore has passed) and replaced (a newer fact was accepted): never to be sent.
create function trunkline.parked_verdict(j trunkline.jobs, p_action text) returns text language sql stable as $$
    select case
        when j.parked_at is null then 'not_parked'
        when p_action in ('sent', 'not_sent') and j.maybe_sent_since is null then 'not_in_doubt'
        when p_action <> 'replay' then 'done'
        when j.maybe_sent_since is not null then 'in_doubt'
        when j.cancel_wanted then 'cancelled'
        when j.send_before <= now() then 'too_late'
        when j.supersede_key is not null and exists (
            select from trunkline.facts f
            where f.scope = j.scope and f.supersede_key = j.supersede_key and f.fact_at > j.fact_at
        ) then 'replaced'
        else 'done' end;
$$;

-- Ends parked jobs by a person's word, or puts them back, and writes down who said so and why. p_action: sent (it was: it ends so),
-- not_sent (it was not: it stays parked, in doubt no more), discard, replay (its tries begin anew and it takes a new place,
-- behind what waits). Verdicts as above, and gone, for a job that is not unfinished. A worker that says after all that it was sent is believed.
create function trunkline.parked(p_action text, p_jobs bigint[], p_run uuid, p_by text, p_why text)
returns table (job bigint, verdict text, state text) language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    looked trunkline.cancel_look[];
    done bigint[];
    cancelled bigint[];
begin
    if p_action not in ('sent', 'not_sent', 'discard', 'replay') then
        raise exception 'nothing is called % here', p_action using errcode = '22023';
    end if;
    select coalesce(array_agg(row(j.id, j.key, j.lane, trunkline.parked_verdict(j::trunkline.jobs, p_action), j.state, j.attempt)
        ::trunkline.cancel_look order by j.id), '{}') into looked
    from (select * from trunkline.jobs where id = any (p_jobs) order by id for no key update) j;
    done := array(select k.job from unnest(looked) k where k.verdict = 'done' order by 1);
    cancelled := array(select k.job from unnest(looked) k where k.verdict = 'cancelled' order by 1);

    -- Before: what this very run has done already is told from the row that says so.
    return query
    select w.id, coalesce(case when a.id is not null then 'done' end, k.verdict, 'gone'), coalesce(k.state, l.final_state)
    from unnest(p_jobs) w (id)
    left join unnest(looked) k on k.job = w.id
    left join trunkline.actions a on a.job = w.id and a.run = p_run
    left join lateral (
        select f.state as final_state from trunkline.finished f where k.job is null and f.id = w.id limit 1
    ) l on true;

    case p_action
        when 'sent' then perform trunkline.finish(done, 'sent', 'said_sent');
        when 'discard' then perform trunkline.finish(done, 'discarded', 'discarded');
        when 'not_sent' then
            update trunkline.jobs set maybe_sent_since = null, reason = 'said_not_sent' where id = any (done);
        else
            perform trunkline.finish(cancelled, 'cancelled', 'cancelled');
            update trunkline.jobs j
            set state = 'accepted', parked_at = null, reason = null, place = 0, arrival = n.arrival, tries = 0, crashes = 0,
                due_at = greatest(now(), j.not_before)
            from (
                -- What stood in one order goes again in the same.
                select o.id, nextval('trunkline.job_number') as arrival
                from (select p.id from trunkline.jobs p where p.id = any (done) order by greatest(p.place, 0), p.id) o
            ) n where j.id = n.id and j.id = any (done);
    end case;
    insert into trunkline.actions (run, job, action, done_by, why)
    select p_run, u.id, p_action, p_by, p_why from unnest(done || cancelled) u (id);
end $$;
