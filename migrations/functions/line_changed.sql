-- Gives every change of a line its revision. Changes wait for each other, so that a later revision is never visible before
-- an earlier one.
--
-- Locks: the revisions (advisory), until the transaction ends.
-- Needs: nothing.
create or replace function trunkline.line_changed() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('trunkline.line_revision', 0));
    new.revision := nextval('trunkline.line_revision');
    return new;
end $$;

create or replace trigger line_changed before insert or update on trunkline.lines
    for each row execute function trunkline.line_changed();
