-- Why a text is no label of one line (a button's, a tag's), as Rule.label says it; null when it is one.
--
-- Locks: none.
-- Needs: is_blank.
create or replace function trunkline.label_problem(p_text text, p_field text, p_longest int, p_may_be_empty boolean) returns text
language sql immutable parallel safe as $$
    select p_field || case
        when p_text = '' and not p_may_be_empty then ' is empty'
        when char_length(p_text) > p_longest then format(' has %s characters, at most %s are allowed', char_length(p_text), p_longest)
        when p_text collate "C" ~ '[\u0001-\u001f\u007f-\u009f]' then ' holds a control character or a line break'
        when not p_may_be_empty and trunkline.is_blank(p_text) then ' is blank'
    end;
$$;
