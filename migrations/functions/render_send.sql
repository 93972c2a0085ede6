-- The request that a send makes, byte for byte what the carrier of lines renders (decision 2): a job has one form, whoever
-- gave it. What JSON must escape, PostgreSQL escapes as JSONWriter does; control characters but newline are refused before.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.render_send(p_to text, p_body text, p_button_text text, p_button_url text) returns bytea
language sql immutable parallel safe as $$
    select convert_to(
        '{"to":' || to_json(p_to)::text || ',"body":' || to_json(p_body)::text
        || case when p_button_text is null then ''
                else ',"ctaUrlButton":{"displayText":' || to_json(p_button_text)::text || ',"url":' || to_json(p_button_url)::text || '}'
           end
        || '}', 'UTF8');
$$;
