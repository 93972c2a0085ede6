-- The kinds of the carriers of some lanes, for whoever accepts deliveries: each is rendered by the carrier of its lane. With
-- the rights of its owner, like accept.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.carriers(p_lanes text[]) returns table (lane text, carrier text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select n.name, n.carrier from trunkline.lanes n where n.name = any (p_lanes);
$$;
