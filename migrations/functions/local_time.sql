-- The time in a zone. A zone that the server's tables have lost must not stop the claims of other lines.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.local_time(p_moment timestamptz, p_zone text) returns timestamp language plpgsql stable as $$
begin
    return p_moment at time zone p_zone;
exception when invalid_parameter_value then
    return p_moment at time zone 'UTC';
end $$;
