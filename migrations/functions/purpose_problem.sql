-- Why a word is no purpose of a send, and of which kind that refusal is, as Purpose says it; null when it is one.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.purpose_problem(p_word text) returns trunkline.problem
language plpgsql immutable parallel safe as $$
declare
    plain text := regexp_replace(btrim(lower(left(p_word, 32)), '- '), '[- ]+', '_', 'g');
begin
    if p_word is null then
        return row('invalid', 'purpose', 'purpose is missing')::trunkline.problem;
    elsif p_word in ('order', 'pickup', 'invoice', 'delivery', 'appointment', 'reminder', 'first_touch', 'account') then
        return null;
    elsif plain in ('ad', 'ads', 'advertising', 'bot', 'broadcast', 'bulk', 'campaign', 'channel', 'chatbot', 'cold', 'cold_outbound',
                    'cold_outreach', 'group', 'marketing', 'newsletter', 'offer', 'outbound', 'outreach', 'promo', 'promotion', 'sales',
                    'spam', 'template', 'waba') then
        return row('policy', 'purpose', 'purpose ' || plain || ' is not sent: Trunkline sends transactional notices only')::trunkline.problem;
    end if;
    return row('invalid', 'purpose',
               'purpose is not one of order, pickup, invoice, delivery, appointment, reminder, first_touch, account')::trunkline.problem;
end $$;
