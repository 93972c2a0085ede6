-- Why these are no tags of a job, as Rule.tags says it; null when they are, or when there are none.
--
-- Locks: none.
-- Needs: label_problem.
create or replace function trunkline.tags_problem(p_tags jsonb) returns text language plpgsql immutable parallel safe as $$
begin
    if p_tags is null or jsonb_typeof(p_tags) = 'null' then
        return null;
    elsif jsonb_typeof(p_tags) <> 'object' then
        return 'tags is not an object of texts';
    elsif (select count(*) from jsonb_object_keys(p_tags)) > 20 then
        return format('tags has %s entries, at most 20 are allowed', (select count(*) from jsonb_object_keys(p_tags)));
    elsif exists (select from jsonb_each(p_tags) t where jsonb_typeof(t.value) <> 'string') then
        return 'tags may hold only texts';
    end if;
    return (
        select coalesce(trunkline.label_problem(t.key, 'tags', 64, false), trunkline.label_problem(t.value, 'tags', 256, true))
        from jsonb_each_text(p_tags) t
        where coalesce(trunkline.label_problem(t.key, 'tags', 64, false), trunkline.label_problem(t.value, 'tags', 256, true)) is not null
        order by t.key limit 1
    );
end $$;
