-- Gives every change of a lane its revision. Changes wait for each other, so that a later revision is never visible before
-- an earlier one.
--
-- Locks: the revisions (advisory), until the transaction ends.
-- Needs: nothing.
create or replace function trunkline.lane_changed() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('trunkline.lane_revision', 0));
    new.revision := nextval('trunkline.lane_revision');
    return new;
end $$;

create or replace trigger lane_changed before insert or update on trunkline.lanes
    for each row execute function trunkline.lane_changed();
