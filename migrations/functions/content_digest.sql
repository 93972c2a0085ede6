-- 16 bytes that name the content of a send: SendJob.contentDigest, byte for byte.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.content_digest(p_to text, p_body text, p_button_text text, p_button_url text) returns bytea
language sql immutable parallel safe as $$
    select substring(sha256(
        int4send(octet_length(convert_to(p_to, 'UTF8'))) || convert_to(p_to, 'UTF8')
        || int4send(octet_length(convert_to(p_body, 'UTF8'))) || convert_to(p_body, 'UTF8')
        || int4send(octet_length(convert_to(coalesce(p_button_text, ''), 'UTF8'))) || convert_to(coalesce(p_button_text, ''), 'UTF8')
        || int4send(octet_length(convert_to(coalesce(p_button_url, ''), 'UTF8'))) || convert_to(coalesce(p_button_url, ''), 'UTF8')
    ) from 1 for 16);
$$;
