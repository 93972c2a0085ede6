-- 16 bytes that name the content of a send: SendJob.contentDigest, byte for byte.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.content_digest(p_to text, p_body text, p_button_text text, p_button_url text) returns bytea
language sql immutable parallel safe as $$
    select substring(sha256(string_agg(int4send(octet_length(t.utf8)) || t.utf8, ''::bytea order by t.n)) from 1 for 16)
    from (values (1, convert_to(p_to, 'UTF8')), (2, convert_to(p_body, 'UTF8')),
                 (3, convert_to(coalesce(p_button_text, ''), 'UTF8')), (4, convert_to(coalesce(p_button_url, ''), 'UTF8'))) t (n, utf8);
$$;
