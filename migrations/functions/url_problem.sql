-- Why a text is no absolute https URL with a host, as Rule.httpsURL says it; null when it is one.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.url_problem(p_text text, p_field text) returns text
language plpgsql immutable parallel safe as $$
declare
    authority text := substring(substring(p_text from 9) collate "C" from '^[^/?#]*');
begin
    return p_field || case
        when p_text = '' then ' is empty'
        when octet_length(p_text) > 2000 then format(' has %s bytes, at most 2000 are allowed', octet_length(p_text))
        when p_text collate "C" !~ '^[hH][tT][tT][pP][sS]://.' then ' is not an absolute URL that begins with https://'
        when p_text collate "C" ~ '["<>\\`{}]' then ' holds a character that a URL must escape'
        when p_text collate "C" ~ '[\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]'
            then ' holds a space or a control character'
        when strpos(authority, '@') > 0 then ' must not hold a user name or password'
        -- A name or [v6], and a port from 1 to 65535. Names outside ASCII pass as they are.
        when authority collate "C" !~ ('^(\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]'
                || '|[A-Za-z0-9_\u0080-\U0010ffff][A-Za-z0-9._\u0080-\U0010ffff-]*)(:[0-9]{1,5})?$')
            or substring(authority collate "C" from ':([0-9]{1,5})$')::int not between 1 and 65535
            then ' has no valid host'
    end;
end $$;
