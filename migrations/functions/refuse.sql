-- Records refusals. The same bytes refused for the same kind of reason are one, however often they come. With the rights of
-- its owner, like accept.
--
-- Locks: refusals by digest.
-- Needs: nothing.
create or replace function trunkline.refuse(
    p_via text[], p_kind text[], p_field text[], p_reason text[], p_lane text[], p_key text[], p_digest bytea[], p_raw bytea[],
    p_raw_length bigint[]
) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into trunkline.refusals (via, kind, field, reason, lane, key, digest, raw, raw_length)
    select r.via, r.kind, r.field, r.reason, r.lane, r.key, r.digest, r.raw, r.raw_length
    from (select distinct on (digest) * from unnest(p_via, p_kind, p_field, p_reason, p_lane, p_key, p_digest, p_raw, p_raw_length)
              as u (via, kind, field, reason, lane, key, digest, raw, raw_length) order by digest) r
    on conflict on constraint refusals_digest do update
    set times = refusals.times + 1, last_at = now(), replayed_at = null, replayed_job = null;
$$;
