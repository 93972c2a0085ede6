-- What a gateway needs of the sources that changed after a revision, so that it may read neither the secrets of lines nor those
-- of destinations: who they are, their sealed secrets, and the digests of the tokens that open them, or that did. With the
-- rights of its owner, like accept.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.source_doors(p_revision bigint)
returns table (
    name text, workspace text, kind text, settings text, removed boolean, address text, sealed bytea, reference text,
    key_version int, tokens text[], revision bigint
) language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select n.name, n.workspace, n.carrier, s.settings::text, n.removed_at is not null, n.address, n.secret_sealed,
        n.secret_reference, n.secret_key_version::int,
        array(select encode(t.digest, 'hex') from trunkline.source_tokens t where t.source = s.id
              union select encode(r.digest, 'hex') from trunkline.removed_tokens r
              where r.source = s.id and n.removed_at is not null),
        n.revision
    from trunkline.lanes n join trunkline.sources s on s.lane = n.number
    where n.revision > p_revision order by n.revision;
$$;
