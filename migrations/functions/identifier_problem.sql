-- Why a text is no identifier (ids, keys), as Rule.identifier says it; null when it is one.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.identifier_problem(p_text text, p_field text, p_longest int, p_colon boolean) returns text
language sql immutable parallel safe as $$
    select p_field || case
        when p_text is null then ' is missing'
        when p_text = '' then ' is empty'
        when octet_length(p_text) > p_longest then format(' has %s bytes, at most %s are allowed', octet_length(p_text), p_longest)
        when p_text collate "C" !~ case when p_colon then '^[A-Za-z0-9._:-]+$' else '^[A-Za-z0-9._-]+$' end
            then format(' may hold only letters, digits and . _ %s- (ASCII)', case when p_colon then ': ' else '' end)
    end;
$$;
