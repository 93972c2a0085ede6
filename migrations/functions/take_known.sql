-- What stands in the ledger for items that made no new job. Not in the statement that entered the keys: only a later
-- snapshot sees the row that its DO NOTHING waited for.
--
-- Verdicts: repeat (the same key with the same content); conflict (with another); unknown_lane; removed_lane; lost (the
-- caller's fence has fallen: nothing was written).
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.take_known(p_items trunkline.take_item[]) returns table (
    item int, verdict text, job bigint, lane int, state text, place bigint, due_in_ms bigint, attempt int, final_state text,
    lane_of_job text, stored_digest bytea
) language plpgsql as $$
begin
    return query
    select t.item,
        case when t.lane is null then 'unknown_lane'
             when t.removed then 'removed_lane'
             when t.lost then 'lost'
             when l.content_digest = t.content_digest then 'repeat'
             else 'conflict' end,
        l.job, l.lane, null::text, null::bigint, null::bigint, null::int, l.final_state,
        (select n.name from trunkline.lanes n where n.number = l.lane),
        case when l.content_digest <> t.content_digest then l.content_digest end
    from unnest(p_items) t
    left join trunkline.ledger l on l.scope = t.scope and l.key_digest = t.key_digest and not t.lost and not t.removed
    where l.job is distinct from t.number or t.lane is null;
end $$;
