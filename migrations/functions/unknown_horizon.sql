-- How long after the stamp a job that may have been sent is asked about again; then it is parked for a person. Inlined.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.unknown_horizon() returns interval language sql immutable as $$
    select interval '12 hours';
$$;
