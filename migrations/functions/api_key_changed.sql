-- Gives every change of an API key its revision. Changes wait for each other, so that a later revision is never visible
-- before an earlier one.
--
-- Locks: the revisions (advisory), until the transaction ends.
-- Needs: nothing.
create or replace function trunkline.api_key_changed() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('trunkline.api_key_revision', 0));
    new.revision := nextval('trunkline.api_key_revision');
    return new;
end $$;

create or replace trigger api_key_changed before insert or update on trunkline.api_keys
    for each row execute function trunkline.api_key_changed();
