-- The number under which jobs of one ordering name keep their order: SendJob.person.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.person_of(p_ordering_name text) returns bigint language sql immutable parallel safe as $$
    select ('x' || encode(substring(sha256(convert_to(p_ordering_name, 'UTF8')) from 1 for 8), 'hex'))::bit(64)::bigint;
$$;
