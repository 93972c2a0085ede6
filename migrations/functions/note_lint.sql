-- Counts habits of callers (CallerLint), by the workspace of the lane that a notice was for; of a lane that is not there nothing
-- is kept. With the rights of its owner, like accept.
--
-- Locks: lint_findings by workspace, rule and caller.
-- Needs: nothing.
create or replace function trunkline.note_lint(p_lane text[], p_rule text[], p_caller text[], p_key text[], p_times bigint[])
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into trunkline.lint_findings (workspace, rule, caller, key, times)
    select n.workspace, f.rule, f.caller, (array_agg(f.key order by f.item desc))[1], sum(f.times)
    from unnest(p_lane, p_rule, p_caller, p_key, p_times) with ordinality as f (lane, rule, caller, key, times, item)
    join trunkline.lanes n on n.name = f.lane
    group by n.workspace, f.rule, f.caller
    order by n.workspace, f.rule, f.caller
    on conflict on constraint lint_findings_key do update
    set times = lint_findings.times + excluded.times, key = excluded.key, last_at = now();
$$;
