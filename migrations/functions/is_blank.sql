-- Whether nothing of a text would be seen: white space, characters that Unicode lets a program ignore, the blank Braille
-- cell. The ranges are the properties White_Space and Default_Ignorable_Code_Point of Unicode 15; a test compares every
-- character with Swift's own tables.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.is_blank(p_text text) returns boolean language sql immutable parallel safe as $$
    select p_text collate "C" ~ ('^[\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000'
        || '\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164'
        || '\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff'
        || '\u2800]*$');
$$;
