-- For people and their programs (docs/sql.md): a notice becomes a job inside the caller's own transaction, and comes and goes
-- with it. The same rules, the same bytes and the same memory of keys as every other way in; `to` is E.164, as nothing here
-- knows how numbers are written in a country. With the rights of its owner, like accept.
--
-- Verdicts: new; repeat (the same key with the same content: that job). All else is an error, with the field at fault as its
-- column: TL400 a rule of a field, TL403 policy, TL404 no such line, TL409 the key is another notice, TL410 too late, TL413 too
-- large.
-- Locks: those of accept.
-- Needs: accept, content_digest, person_of, render_send, send_problem.
create or replace function trunkline.enqueue(
    line text, key text, "to" text, body text, purpose text, button_text text default null, button_url text default null,
    not_before timestamptz default null, send_before timestamptz default null, supersede_key text default null,
    fact_at timestamptz default null, ordering_key text default null, tags jsonb default '{}'
) returns table (job bigint, verdict text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    problem trunkline.problem := trunkline.send_problem(line, key, "to", body, purpose, button_text, button_url, not_before,
        send_before, supersede_key, fact_at, ordering_key, tags);
    digest bytea;
    answer record;
begin
    if problem.kind is not null then
        raise exception using
            errcode = case problem.kind when 'policy' then 'TL403' when 'late' then 'TL410' when 'too_large' then 'TL413' else 'TL400' end,
            message = 'trunkline refuses the notice: ' || problem.reason, column = problem.field,
            detail = format('Kind of refusal: %s. Nothing was stored.', problem.kind),
            hint = 'The rules of every field: docs/sql.md.';
    end if;
    digest := trunkline.content_digest("to", body, button_text, button_url);
    select a.* into answer from trunkline.accept(
        0, array['line:' || line], array[key], array[substring(sha256(convert_to(key, 'UTF8')) from 1 for 16)], array[digest],
        array[trunkline.person_of(coalesce(ordering_key, "to"))], array["to"],
        array[trunkline.render_send("to", body, button_text, button_url)], array[purpose],
        array[case when tags <> '{}' and jsonb_typeof(tags) = 'object' then tags::text end], array[not_before], array[send_before],
        array[supersede_key], array[fact_at]
    ) a;
    case answer.verdict
        when 'new' then
            -- Nothing wakes its owner, so the owner does not wait for that.
            update trunkline.jobs j set unannounced = true where j.id = answer.job;
        when 'repeat' then
            null;
        when 'conflict' then
            raise exception using
                errcode = 'TL409', column = 'key',
                message = format('trunkline refuses the notice: the key %s is another notice already: job %s on %s', key, answer.job,
                                 replace(answer.lane_of_job, 'line:', 'line ')),
                detail = format('Stored content: %s. Given content: %s.', encode(answer.stored_digest, 'hex'), encode(digest, 'hex')),
                hint = 'Recipient, text and button of a key stay what they were. Another business fact has another key.';
        when 'unknown_lane', 'removed_lane' then
            raise exception using
                errcode = 'TL404', column = 'line',
                message = format(case answer.verdict when 'unknown_lane' then 'trunkline refuses the notice: there is no line %s'
                                      else 'trunkline refuses the notice: the line %s was removed' end, line),
                hint = 'Lines are listed by "trunkline line list".';
        else
            raise exception 'trunkline.accept answered %, which is not known here', answer.verdict;
    end case;
    return query select answer.job, answer.verdict;
end $$;
