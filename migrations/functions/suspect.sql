-- A worker is about to read a message that came back; yields how many workers have begun to, this one included.
--
-- Locks: suspects by digest.
-- Needs: nothing.
create or replace function trunkline.suspect(p_boot uuid, p_digest bytea, p_via text, p_raw bytea, p_raw_length bigint) returns int
language sql as $$
    insert into trunkline.suspects as s (digest, via, raw, raw_length, reader) values (p_digest, p_via, p_raw, p_raw_length, p_boot)
    on conflict on constraint suspects_digest_key do update
    -- The same bytes an hour later are another message.
    set readers = case when s.last_at < now() - interval '1 hour' then 1 else s.readers + (s.reader <> p_boot)::int end,
        reader = p_boot, last_at = now()
    returning readers;
$$;
