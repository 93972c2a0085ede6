-- What a producer may do: rows first, of nobody's shards, never claimed, never parked. It runs with the rights of its
-- owner, so a role that may execute this and `refuse` needs no right on any table of jobs (`trunkline roles`).
--
-- Verdicts: those of take, without lost.
-- Locks: those of take.
-- Needs: take.
create or replace function trunkline.accept(
    p_class int, p_lane text[], p_key text[], p_key_digest bytea[], p_content_digest bytea[], p_person bigint[],
    p_recipient text[], p_request bytea[], p_purpose text[], p_tags text[], p_not_before timestamptz[],
    p_send_before timestamptz[], p_supersede_key text[], p_fact_at timestamptz[]
) returns table (
    item int, verdict text, job bigint, lane int, state text, place bigint, due_in_ms bigint, attempt int, final_state text,
    lane_of_job text, stored_digest bytea
) language sql security definer set search_path = pg_catalog, pg_temp as $$
    select * from trunkline.take(
        null, 1, '{}', '{}', 0, p_class, null, p_lane, p_key, p_key_digest, p_content_digest, p_person, p_recipient, p_request,
        p_purpose, p_tags, p_not_before, p_send_before, p_supersede_key, p_fact_at,
        array_fill(false, array[cardinality(p_key)]), '{}', '{}'
    );
$$;
