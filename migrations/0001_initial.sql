-- Trunkline's first schema. Applied by `trunkline migrate` in one transaction, under a lock.
--
-- For the operator: everything lives in the schema "trunkline"; nothing outside it is touched. Only `jobs` is hot. The
-- ledger is never pruned; `finished` and `attempts` are day partitions that `trunkline retain` may drop.
--
-- Tables, types and indexes; the statements of the engine and of people are beside it, one per file, in functions/.
--
-- Lock order of every transaction: shards (fence), inbox, contacts, orders, records, planned_notices, ledger, facts, jobs, sent_today, lane_state, lane_credentials,
-- attempts, finished.

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
comment on table trunkline.scopes is
    'Within what a key is unique: "workspace:ID" for sends, "destination:ID" for deliveries, "source:ID" for received events.';

-- Lane changes are made by people and are rare. They are serialised (functions/lane_changed.sql), so that a later revision
-- is never visible before an earlier one and workers may poll "revision > last".
create sequence trunkline.lane_revision;

-- The way to or from one party, be it a line, a destination or a source: all that take, claim, settle and the workers read of it.
create table trunkline.lanes (
    number             int generated always as identity primary key,
    name               text collate "C" not null constraint lanes_name_key unique,
    shard_hash         bigint not null constraint lanes_shard_hash_range check (shard_hash between 0 and 4294967295),
    carrier            text collate "C" not null,
    scope              int not null references trunkline.scopes,
    workspace          text collate "C" not null,
    address            text not null,
    private_network    boolean not null default false,
    secret_sealed      bytea not null,
    secret_reference   text,
    secret_key_version int not null,
    secret_hint        text not null,
    pace_interval_ms   int not null default 3000,
    concurrency        int not null default 1,
    recipient_gap_ms   int not null default 10000,
    daily_cap          int,
    time_zone          text not null default 'UTC',
    unknown_horizon_ms int not null,
    begins_quietly     boolean not null default false,
    hold_reason        text,
    hold_until         timestamptz,
    held_at            timestamptz,
    created_at         timestamptz not null default now(),
    removed_at         timestamptz,
    revision           bigint not null default 0,
    constraint lanes_pace_range check (pace_interval_ms between 0 and 86400000),
    constraint lanes_concurrency_range check (concurrency between 1 and 256),
    constraint lanes_gap_range check (recipient_gap_ms between 0 and 86400000),
    constraint lanes_cap_range check (daily_cap between 1 and 1000000),
    constraint lanes_horizon_range check (unknown_horizon_ms between 60000 and 604800000),
    constraint lanes_hold_whole check ((hold_reason is null) = (held_at is null) and (hold_until is null or hold_reason is not null))
);
comment on column trunkline.lanes.name is '"line:ID", "destination:ID" or "source:ID"; decides the shard.';
comment on column trunkline.lanes.shard_hash is
    'zlib CRC-32 of the name; the lane''s shard is shard_hash modulo the number of shards, so rows never store a shard.';
comment on column trunkline.lanes.carrier is 'The kind of system behind it, by which workers know how to call it, or to read what it sends: "ezwhatsapp", "webhook", "shopify".';
comment on column trunkline.lanes.scope is 'Within what keys of its jobs are unique.';
comment on column trunkline.lanes.address is 'A URL, which may hold a secret in its path; empty for a source, which nobody calls.';
comment on column trunkline.lanes.private_network is 'Whether its host may be in a private network.';
comment on column trunkline.lanes.secret_sealed is
    'AES-GCM nonce, ciphertext and tag of the secret or of its reference, bound to name and origin of address; the key is never in the database.';
comment on column trunkline.lanes.secret_reference is
    'env:NAME or file:/path, read by the worker; null: the secret itself is sealed. Must be what secret_sealed holds.';
comment on column trunkline.lanes.pace_interval_ms is 'Milliseconds between two calls; 0 is unlimited.';
comment on column trunkline.lanes.daily_cap is 'Jobs a day at most, a day of time_zone; null is no cap.';
comment on column trunkline.lanes.time_zone is 'A name of pg_timezone_names: whose midnight ends the day of the cap.';
comment on column trunkline.lanes.unknown_horizon_ms is
    'How long after the first attempt that may have taken effect a job is asked about again; then it is parked for a person.';
comment on column trunkline.lanes.begins_quietly is
    'Whether its attempts begin with calls that take no effect: its carrier''s choice, written when the lane is made.';
-- So that the shortest horizon of all is known without reading the lanes.
create index lanes_unknown_horizon on trunkline.lanes (unknown_horizon_ms);

create table trunkline.lines (
    id   text collate "C" primary key,
    lane int not null constraint lines_lane_key unique references trunkline.lanes
);
comment on table trunkline.lines is 'WhatsApp numbers. What is the same for every lane stands in lanes.';

create table trunkline.destinations (
    id   text collate "C" primary key,
    lane int not null constraint destinations_lane_key unique references trunkline.lanes
);
comment on table trunkline.destinations is 'Clients'' systems that are delivered to. What is the same for every lane stands in lanes.';

create table trunkline.sources (
    id       text collate "C" primary key,
    lane     int not null constraint sources_lane_key unique references trunkline.lanes,
    settings jsonb not null default '{}',
    country  text collate "C",
    line     text collate "C" references trunkline.lines,
    constraint sources_settings_object check (jsonb_typeof(settings) = 'object'),
    constraint sources_country_form check (country ~ '^[A-Z]{2}$')
);
comment on table trunkline.sources is 'Clients'' systems that send events. What is the same for every lane stands in lanes.';
comment on column trunkline.sources.settings is 'What its kind lets an operator say, by name, as texts; nothing secret.';
comment on column trunkline.sources.country is 'Whose people write national phone numbers so, where an event names no country.';
comment on column trunkline.sources.line is 'Which line its notices usually go out on, for people: rules name their own.';

-- What stands in the path of a source's intake. Two while its sender changes from one to the other.
create table trunkline.source_tokens (
    digest   bytea primary key,
    source   text collate "C" not null references trunkline.sources,
    number   smallint not null,
    added_at timestamptz not null default now(),
    constraint source_tokens_digest_length check (length(digest) = 32),
    constraint source_tokens_number_range check (number in (1, 2)),
    constraint source_tokens_source_number unique (source, number)
);
comment on column trunkline.source_tokens.digest is 'SHA-256 of the token, which is stored nowhere.';
comment on column trunkline.source_tokens.number is '1: the one in use. 2: the next one, while both are taken.';

-- The tokens of removed sources, so that their senders are told that it is for good. Whoever comes back has another one.
create table trunkline.removed_tokens (
    digest     bytea primary key,
    source     text collate "C" not null references trunkline.sources,
    removed_at timestamptz not null default now(),
    constraint removed_tokens_digest_length check (length(digest) = 32)
);
create index removed_tokens_source on trunkline.removed_tokens (source);

-- Requests to sources that did not prove their sender: counts, nothing of what they held. Never pruned.
create table trunkline.source_forgeries (
    source   text collate "C" not null references trunkline.sources,
    reason   text collate "C" not null,
    times    bigint not null,
    first_at timestamptz not null default now(),
    last_at  timestamptz not null default now(),
    constraint source_forgeries_key primary key (source, reason)
) with (fillfactor = 70);

-- What people say of which event sends which notice: `trunkline apply` adds a row. Of a workspace the newest is in force; the
-- others stay, for they say why a notice was planned.
create table trunkline.rules (
    revision   bigint generated always as identity primary key,
    workspace  text collate "C" not null,
    text       text not null,
    digest     bytea not null,
    applied_at timestamptz not null default now(),
    constraint rules_digest_length check (length(digest) = 32)
);
comment on column trunkline.rules.text is '`lines` and `sources` of trunkline.yaml, and nothing else of it.';
comment on column trunkline.rules.digest is 'SHA-256 of text.';
create index rules_workspace on trunkline.rules (workspace, revision);

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

-- Credentials that expire, and what the next ones are asked for with: for the whole fleet.
create table trunkline.lane_credentials (
    lane          int primary key references trunkline.lanes,
    generation    bigint not null default 0,
    sealed        bytea,
    key_version   int,
    expires_at    timestamptz,
    refresher     uuid,
    refresh_until timestamptz,
    constraint lane_credentials_whole check
        ((generation = 0) = (sealed is null) and (sealed is null) = (key_version is null) and (sealed is null) = (expires_at is null)),
    constraint lane_credentials_refresh_whole check ((refresher is null) = (refresh_until is null))
);
comment on column trunkline.lane_credentials.generation is 'How many there have been; 0: none yet.';
comment on column trunkline.lane_credentials.sealed is
    'AES-GCM nonce, ciphertext and tag, bound to the lane, the origin of its address, its secret and the generation.';
comment on column trunkline.lane_credentials.refresher is
    'The worker that asks for the next ones; another one may when refresh_until has passed.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Who may talk to a gateway

create sequence trunkline.api_key_revision;

create table trunkline.api_keys (
    id                  text collate "C" primary key,
    digest              bytea not null constraint api_keys_digest_key unique,
    hint                text not null,
    workspace           text collate "C" not null,
    scopes              text[] not null,
    line                text collate "C" references trunkline.lines,
    purpose             text,
    requests_per_minute int,
    label               text,
    created_at          timestamptz not null default now(),
    revoked_at          timestamptz,
    revision            bigint not null default 0,
    constraint api_keys_digest_length check (length(digest) = 32),
    constraint api_keys_scopes_some check (cardinality(scopes) > 0),
    constraint api_keys_binding_whole check ((line is null) = (purpose is null)),
    constraint api_keys_rate_range check (requests_per_minute between 1 and 1000000)
);
comment on column trunkline.api_keys.digest is 'SHA-256 of the secret, which is 256 random bits and stored nowhere.';
comment on column trunkline.api_keys.line is 'With purpose: of every notice that comes by the drop-in for EZWhatsApp''s own API.';
-- Gateways poll "revision > last".
create index api_keys_revision on trunkline.api_keys (revision);

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
    recipient        text,
    request          bytea not null,
    purpose          text,
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
    quiet            boolean not null default false,
    unannounced      boolean not null default false,
    arrival          bigint not null default nextval('trunkline.job_number'),
    parked_at        timestamptz,
    parked_claim     timestamptz generated always as (case when parked_at is not null then claimed_at end) stored,
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
comment on column trunkline.jobs.quiet is
    'While it is sending: its attempt has made no call yet that may take effect (begin_effect). Else without meaning.';
comment on column trunkline.jobs.unannounced is
    'No wake-up goes out for it: it was accepted inside the transaction of somebody who has no broker (enqueue).';
comment on column trunkline.jobs.place is
    '0: the owner has not seen the row. -1: scheduled, no place before due_at. Else its position in the lane.';
comment on column trunkline.jobs.recipient is 'Of a notice; a delivery names nobody. The same with purpose.';
comment on column trunkline.jobs.person is 'First 8 bytes of SHA-256 of the ordering key (default: the recipient; of a delivery its key).';
comment on column trunkline.jobs.request is 'The rendered request body: written once, sent unchanged on every attempt.';
comment on column trunkline.jobs.class is '0: single notice. 1: bulk, never delays a single notice.';
comment on column trunkline.jobs.arrival is
    'Under which its owner looks for it while place is 0: the id at first, a new number when it must be looked at anew.';
comment on column trunkline.jobs.parked_at is 'Set exactly while it is parked; what the workers read has no parked rows in it.';
comment on column trunkline.jobs.parked_claim is
    'When its last attempt began, while it is parked. A column of its own: claimed_at in an index would cost every claim.';
-- No index and no predicate holds `state`, so that its updates stay heap-only. A parked row is in none of the indexes that
-- workers use, so that it costs nothing however long it stays.
-- By place, so that "is anything of this person before it" is one look at the index however many are behind it; with the
-- number at the end it is also the order in which a new owner reads a lane, slice by slice (load).
create index jobs_lane_person on trunkline.jobs (lane, person, place, id) where parked_at is null;
create index jobs_send_before on trunkline.jobs (send_before) where send_before is not null and parked_at is null;
create index jobs_stamped on trunkline.jobs (maybe_sent_since) where maybe_sent_since is not null and parked_at is null;
create index jobs_unseen on trunkline.jobs (arrival) where place = 0 and parked_at is null;
create index jobs_parked on trunkline.jobs (lane, parked_at) where parked_at is not null;
create index jobs_parked_claim on trunkline.jobs (lane, parked_claim) where parked_claim is not null;
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
    recipient        text,
    request          bytea not null,
    purpose          text,
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
    job         bigint,
    replays     int not null default 0,
    ran_job     bigint,
    ran_at      timestamptz,
    outcome     text,
    reason      text,
    plan        jsonb,
    constraint inbox_source_event primary key (source, event_key),
    constraint inbox_outcome_legal check (outcome in ('planned', 'ignored', 'refused')),
    constraint inbox_ran_whole check ((ran_job is null) = (ran_at is null) and (ran_job is null) = (outcome is null))
);
comment on table trunkline.inbox is
    'The permanent ledger of received events; event_key is what its kind of source names an event by.';
comment on column trunkline.inbox.job is 'The last job that was made to run it.';
comment on column trunkline.inbox.replays is 'How often a person had it run anew; each is a job of its own.';
comment on column trunkline.inbox.ran_job is
    'The last job whose run is committed. What a run has done and this stand in one commit, so that no job does it twice.';
comment on column trunkline.inbox.outcome is
    'planned: its facts are stored. ignored: it means nothing here. refused: it asks for what is not done. reason says why.';
comment on column trunkline.inbox.plan is
    'What the last run planned: "rules" (the revision), "notices" and "cancelled" with their verdicts, "said" (why other rules send nothing).';
comment on column trunkline.inbox.emptied_at is 'When retention emptied body and headers; key and digest stay.';
-- For people: what came of a source lately.
create index inbox_stored on trunkline.inbox (source, stored_at);
create index inbox_kept on trunkline.inbox (stored_at) where emptied_at is null;

-- What senders say about people and orders. Written by put_contacts and put_orders only. Never pruned.
create table trunkline.contacts (
    workspace  text collate "C" not null,
    phone      text collate "C" not null,
    facts      jsonb not null default '{}',
    times      jsonb not null default '{}',
    name       text generated always as (facts ->> 'name') stored,
    email      text generated always as (lower(facts ->> 'email')) stored,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint contacts_key primary key (workspace, phone),
    constraint contacts_phone_e164 check (phone ~ '^\+[1-9][0-9]{7,14}$')
) with (fillfactor = 80);
comment on column trunkline.contacts.facts is 'What is known, by field: "name", "ids.shopify", … (ContactFacts).';
comment on column trunkline.contacts.times is
    'Of each field of facts: when its fact was so, by the sender''s clock, in microseconds since 1970. An older one never replaces it.';
comment on column trunkline.contacts.updated_at is 'When a fact last changed here.';
create index contacts_email on trunkline.contacts (workspace, email) where email <> '';

create table trunkline.orders (
    workspace  text collate "C" not null,
    id         text collate "C" not null,
    facts      jsonb not null default '{}',
    times      jsonb not null default '{}',
    phone      text collate "C" generated always as (facts ->> 'phone') stored,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint orders_key primary key (workspace, id)
) with (fillfactor = 80);
comment on column trunkline.orders.id is 'The sender''s, with the store in front where a workspace has several: "acme.1042".';
comment on column trunkline.orders.facts is 'What is known, by field: "state", "total", "links.status", … (OrderFacts).';
comment on column trunkline.orders.times is 'As of contacts.';
comment on column trunkline.orders.phone is 'The customer''s; there need not be a contact of that number.';
create index orders_phone on trunkline.orders (workspace, phone) where phone is not null;

-- What senders say of an order or an appointment, as whoever plans reads it again. Written by keep_records only. Never pruned.
create table trunkline.records (
    workspace  text collate "C" not null,
    subject    text collate "C" not null,
    facts      jsonb not null,
    fact_at    timestamptz not null,
    ended_at   timestamptz,
    constraint records_key primary key (workspace, subject)
) with (fillfactor = 80);
comment on column trunkline.records.subject is 'The record: "order:acme-shop.1042", "appointment:acme-clinic.bk1".';
comment on column trunkline.records.fact_at is 'Of the newest fact, by the sender''s clock.';
comment on column trunkline.records.ended_at is 'When the order was cancelled, refunded in full or removed, by the sender''s clock.';

-- Notices that events have sent, so that none sends them a second time. Written by plan_notices only. Never pruned.
create table trunkline.planned_notices (
    workspace       text collate "C" not null,
    notice_key      text collate "C" not null,
    source          text collate "C" not null,
    event_key       text collate "C" not null,
    rule            text not null,
    rules           bigint,
    moment          text collate "C" not null,
    subject         text collate "C" not null,
    line            text collate "C" not null,
    recipient       text collate "C" not null,
    once            text collate "C",
    supersede_key   text collate "C",
    fact_at         timestamptz not null,
    tracking_number text,
    job             bigint,
    planned_at      timestamptz not null default now(),
    constraint planned_notices_key primary key (workspace, notice_key)
);
comment on column trunkline.planned_notices.rules is 'The revision in which the rule is.';
comment on column trunkline.planned_notices.once is
    'What only one notice may have: of a first touch line, person and day. Two events beside each other send one.';
comment on column trunkline.planned_notices.job is 'Null only inside the transaction that plans it.';
create unique index planned_notices_once on trunkline.planned_notices (workspace, once) where once is not null;
create index planned_notices_subject on trunkline.planned_notices (workspace, subject);
create index planned_notices_first_touch on trunkline.planned_notices (workspace, recipient) where moment = 'lead.created';

-- What is refused in writing, for ever: groups, channels, cold outbound, … . Never pruned.
create table trunkline.policy_decisions (
    id        bigint generated always as identity primary key,
    workspace text collate "C" not null,
    source    text collate "C" not null,
    event_key text collate "C" not null,
    ask       text collate "C" not null,
    rule      text,
    at        timestamptz not null default now(),
    constraint policy_decisions_event unique (source, event_key, ask)
);

create table trunkline.refusals (
    id         bigint generated always as identity primary key,
    first_at   timestamptz not null default now(),
    last_at    timestamptz not null default now(),
    times      int not null default 1,
    via        text not null,
    kind       text not null,
    field      text,
    reason     text not null,
    lane       text collate "C",
    key        text collate "C",
    digest     bytea not null,
    raw        bytea not null,
    raw_length bigint not null,
    replayed_at  timestamptz,
    replayed_job bigint,
    constraint refusals_digest unique (digest)
);
comment on column trunkline.refusals.lane is 'The name of the lane that it was for, as far as it said one; there may be no such lane.';
comment on column trunkline.refusals.replayed_at is 'When a person gave it again and it was accepted; null again when the same bytes are refused again.';
create index refusals_last_at on trunkline.refusals (last_at);
comment on column trunkline.refusals.raw is 'The original bytes, at most 64 KiB of them; raw_length is the whole length.';
comment on column trunkline.refusals.digest is 'SHA-256 of kind and original bytes: a redelivered message is one refusal.';

-- Habits of callers that defeat the key, counted. Hints for people, of no consequence for any job.
create table trunkline.lint_findings (
    workspace text collate "C" not null,
    rule      text collate "C" not null,
    caller    text collate "C" not null,
    key       text collate "C" not null,
    times     bigint not null default 1,
    first_at  timestamptz not null default now(),
    last_at   timestamptz not null default now(),
    constraint lint_findings_key primary key (workspace, rule, caller)
) with (fillfactor = 70);
comment on column trunkline.lint_findings.caller is 'The id of an API key, or the way in of whoever has none: "cli".';
comment on column trunkline.lint_findings.key is 'The latest example.';

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
-- Rows that the functions pass to each other, and what some of them yield

-- A job on its way through take: what was given, and what stands in the tables beside it.
create type trunkline.take_item as (
    item int, number bigint, lane_name text, key text, key_digest bytea, content_digest bytea, person bigint, recipient text,
    request bytea, purpose text, tags text, not_before timestamptz, send_before timestamptz, supersede_key text,
    fact_at timestamptz, fast boolean, lane int, scope int, removed boolean, mine boolean, lost boolean, hold boolean,
    by_claim boolean
);

-- A rule that input breaks: a word of Refusal.Kind, the field at fault, a sentence.
create type trunkline.problem as (kind text, field text, reason text);

-- A record and what was said about it, one on top of the other.
create type trunkline.merged_facts as (facts jsonb, times jsonb, verdict text, older text[]);

-- A supersede key of a scope.
create type trunkline.fact_key as (scope int, supersede_key text);

-- What an owner keeps of a row in memory.
create type trunkline.seen_job as (
    job bigint, lane int, person bigint, class int, state text, place bigint, due_in_ms bigint, attempt int, tries int,
    stamped boolean, claimed_by uuid, lease_left_ms bigint, suspect boolean, claimed_ago_ms bigint
);

-- How a job ends. attempt: the one that sent it; null when it ends without one.
create type trunkline.job_end as (job bigint, state text, reason text, attempt int, remote_id text, evidence text);

-- A job for which it is too late.
create type trunkline.late_job as (job bigint, lane int, person bigint, stamped boolean, late boolean);

-- What a claim found of a job.
create type trunkline.claim_look as (job bigint, lane int, verdict text, stamped boolean, wait_ms int, quiet boolean);

-- What is to become of an attempt of a silent worker. harmless: nothing of its job can have taken effect.
create type trunkline.abandon_look as (job bigint, attempt int, claimed_at timestamptz, claimed_by uuid, verdict text, harmless boolean);

-- An outcome, and what it found of its job.
create type trunkline.settle_look as (
    job bigint, attempt int, outcome text, reason text, due_ms int, may_have_left boolean, remote_id text, status int, evidence text,
    job_attempt int, job_state text, claimed_at timestamptz, stamp timestamptz, verdict text
);

-- A notice on its way through plan_notices. item: of which event; number: which of its notices.
create type trunkline.planned_item as (item int, number int, source text, event_key text, workspace text, rules bigint, notice jsonb);

-- What accept said of one of them.
create type trunkline.planned_answer as (item int, verdict text, job bigint, lane int);

-- What plan_notices says of one.
create type trunkline.planned_verdict as (item int, number int, verdict text, job bigint, lane int);

-- A job that an event cancels.
create type trunkline.planned_end as (item int, job bigint);

-- What a person's word found of a job.
create type trunkline.cancel_look as (job bigint, key text, lane int, verdict text, state text, attempt int);
