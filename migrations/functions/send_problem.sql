-- The first rule that a send breaks, of those that SendJob has; null when it breaks none. kind: a word of Refusal.Kind.
--
-- Locks: none.
-- Needs: identifier_problem, is_blank, label_problem, purpose_problem, tags_problem, url_problem.
create or replace function trunkline.send_problem(
    p_line text, p_key text, p_to text, p_body text, p_purpose text, p_button_text text, p_button_url text,
    p_not_before timestamptz, p_send_before timestamptz, p_supersede_key text, p_fact_at timestamptz, p_ordering_key text, p_tags jsonb
) returns trunkline.problem language plpgsql as $$
begin
    return (select row(r.kind, r.field, r.reason)::trunkline.problem
    from (select tstzrange('2000-01-01T00:00:00Z', '2101-01-01T00:00:00Z') as years) y
    -- A character beyond U+FFFF is two units.
    cross join (select char_length(p_body) + regexp_count(p_body collate "C", '[\U00010000-\U0010ffff]') as units) u
    cross join trunkline.purpose_problem(p_purpose) w
    cross join lateral (values
        (1, 'invalid', 'line', trunkline.identifier_problem(p_line, 'line', 64, false)),
        (2, 'invalid', 'key', trunkline.identifier_problem(p_key, 'key', 128, true)),
        (3, case when strpos(p_to, '@') > 0 then 'policy' else 'invalid' end, 'to', case
            when p_to is null then 'to is missing'
            when strpos(p_to, '@') > 0 then 'to holds an @: groups and channels get no notices, only single phone numbers do'
            when p_to collate "C" !~ '^\+[1-9][0-9]{7,14}$' then format(
                'to is not a phone number in E.164: + and 8 to 15 digits, no spaces (it has %s bytes)', octet_length(p_to))
            end),
        (4, case when u.units > 4096 then 'too_large' else 'invalid' end, 'body', case
            when p_body is null then 'body is missing'
            when p_body = '' then 'body is empty'
            when u.units > 4096 then format('body has %s UTF-16 units, at most 4096 are allowed', u.units)
            when p_body collate "C" ~ '[\u0001-\u0009\u000b-\u001f\u007f-\u009f]' then 'body holds a control character other than newline'
            when trunkline.is_blank(p_body) then 'body is blank'
            end),
        (5, 'invalid', 'button_text', case
            when p_button_text is null and p_button_url is not null then 'half a button: button_text is missing'
            else trunkline.label_problem(p_button_text, 'button_text', 20, false) end),
        (6, 'invalid', 'button_url', case
            when p_button_url is null and p_button_text is not null then 'half a button: button_url is missing'
            else trunkline.url_problem(p_button_url, 'button_url') end),
        (7, w.kind, 'purpose', w.reason),
        -- A moment outside is a mistake, not a wish; infinity is one, too.
        (8, 'invalid', 'not_before', case when not p_not_before <@ y.years then 'not_before is not in the years 2000 to 2100' end),
        (9, 'invalid', 'send_before', case
            when not p_send_before <@ y.years then 'send_before is not in the years 2000 to 2100'
            when p_not_before >= p_send_before then 'send_before is not after not_before, so the notice could never be sent' end),
        (10, 'invalid', 'fact_at', case when not p_fact_at <@ y.years then 'fact_at is not in the years 2000 to 2100' end),
        (11, 'invalid', 'supersede_key', case when p_supersede_key is not null
            then trunkline.identifier_problem(p_supersede_key, 'supersede_key', 128, true) end),
        (12, 'invalid', 'fact_at', case when p_supersede_key is not null and p_fact_at is null
            then 'supersede_key needs fact_at: without it nobody knows which fact is newer' end),
        (13, 'invalid', 'ordering_key', case when p_ordering_key is not null
            then trunkline.identifier_problem(p_ordering_key, 'ordering_key', 128, true) end),
        (14, 'invalid', 'tags', trunkline.tags_problem(p_tags)),
        (15, 'late', 'send_before', case when p_send_before <= clock_timestamp()
            then 'send_before has already passed: nobody wants the notice any more' end)
    ) r (number, kind, field, reason)
    where r.reason is not null
    order by r.number limit 1);
end $$;
