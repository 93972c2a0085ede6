/// Roles of the database for programs that need not own it: what each may do, as SQL for whoever owns it.
package enum Roles {
    /// SQL that makes the roles where they are missing and gives each its rights, no more. Safe to repeat: after every
    /// `trunkline migrate` it has to be.
    ///
    /// - Parameter prefix: what the roles' names begin with; of `a-z`, `0-9` and `_`, beginning with a letter.
    package static func sql(prefix: String) -> String {
        let (worker, producer, reader) = (prefix + "_worker", prefix + "_producer", prefix + "_reader")
        let gateway = prefix + "_gateway"
        let all = [worker, gateway, producer, reader].joined(separator: ", ")
        return """
            -- Roles for Trunkline's programs. Run it as the owner of the schema (who ran 'trunkline migrate') with CREATEROLE, or
            -- as a superuser, in Trunkline's database, and again after every 'trunkline migrate'. It sets no passwords: \\password
            --
            -- the owner     migrate, topology, line, destination, source, apply, cancel, reschedule, parked, refusals, retain: everything
            -- \(worker)      worker: takes, sends and records; changes no line, no schema
            -- \(gateway)     gateway: accepts, cancels and reschedules, looks at jobs, API keys and sources' secrets; sees no line's secret
            -- \(producer)    enqueue, send, select trunkline.enqueue(…): accepts notices and deliveries; sees none
            -- \(reader)      status, why, check, line list, line show, parked list, refusals list, contacts show, orders, lint list, rules show, decision: changes nothing, sees no secret
            begin;

            do $$
            begin
            \([worker, gateway, producer, reader].map { Self.creation(of: $0) }.joined(separator: "\n"))
                execute format('grant connect on database %I to \(all)', current_database());
            end $$;

            -- Nobody may do anything but what follows. Functions may be executed by everybody, unless that is taken back.
            revoke all on schema trunkline from public;
            revoke all on all functions in schema trunkline from public;
            revoke all on all tables in schema trunkline from \(all);
            revoke all on all functions in schema trunkline from \(all);
            grant usage on schema trunkline to \(all);
            -- What every program asks first: the schema's version and the number of shards.
            grant select on trunkline.schema_version, trunkline.schema_functions, trunkline.settings to \(all);

            grant select on all tables in schema trunkline to \(worker);
            grant insert, update, delete on trunkline.lane_state, trunkline.lane_credentials, trunkline.workers, trunkline.breakers, trunkline.shards,
                trunkline.ledger, trunkline.facts, trunkline.jobs, trunkline.finished, trunkline.attempts, trunkline.inbox,
                trunkline.refusals, trunkline.suspects, trunkline.sent_today, trunkline.contacts, trunkline.orders,
                trunkline.records, trunkline.planned_notices, trunkline.policy_decisions to \(worker);
            grant usage on all sequences in schema trunkline to \(worker);
            grant execute on all functions in schema trunkline to \(worker);

            do $$
            declare
                func record;
            begin
                for func in select oid::regprocedure as name, proname from pg_proc where pronamespace = 'trunkline'::regnamespace
                loop
                    if func.proname in ('drop_day', 'drop_strays', 'cancel', 'reschedule', 'parked', 'replay_events', 'source_doors') then
                        -- What people do, and what destroys.
                        execute format('revoke execute on function %s from \(worker)', func.name);
                    elsif func.proname in ('accept', 'refuse', 'carriers', 'enqueue', 'note_lint') then
                        -- With their owner's rights, so that a producer needs none on the tables.
                        execute format('grant execute on function %s to \(producer)', func.name);
                    elsif func.proname in ('local_time') then
                        execute format('grant execute on function %s to \(reader)', func.name);
                    end if;
                end loop;
            end $$;

            \(rights(ofReader: reader, gateway))
            \(rights(ofGateway: gateway))
            commit;
            """
    }

    /// All but secrets, for whoever looks.
    private static func rights(ofReader reader: String, _ gateway: String) -> String {
        """
        grant select on all tables in schema trunkline to \(reader), \(gateway);
        revoke select on trunkline.lane_credentials, trunkline.api_keys, trunkline.source_tokens, trunkline.removed_tokens from \(reader);
        -- All of a line or a destination but its secret.
        revoke select on trunkline.lanes from \(reader), \(gateway);
        do $$
        declare
            columns text;
        begin
            select string_agg(quote_ident(attname), ', ') into columns from pg_attribute
            where attrelid = 'trunkline.lanes'::regclass and attnum > 0 and not attisdropped and attname <> 'secret_sealed';
            execute format('grant select (%s) on trunkline.lanes to \(reader), \(gateway)', columns);
        end $$;
        """
    }

    private static func rights(ofGateway gateway: String) -> String {
        """
        -- What the bearers of API keys may do.
        revoke select on trunkline.lane_credentials from \(gateway);
        -- To cancel and to reschedule.
        grant update, delete on trunkline.jobs to \(gateway);
        grant update on trunkline.ledger to \(gateway);
        grant insert on trunkline.finished to \(gateway);
        -- What is said about people and orders.
        grant insert, update on trunkline.contacts, trunkline.orders to \(gateway);
        grant usage on sequence trunkline.job_number to \(gateway);
        do $$
        declare
            func record;
        begin
            for func in select oid::regprocedure as name from pg_proc where pronamespace = 'trunkline'::regnamespace and proname in
                ('accept', 'accept_events', 'refuse', 'carriers', 'cancel', 'cancel_look', 'cancel_looked', 'finish', 'end_jobs', 'reschedule', 'local_time',
                 'put_contacts', 'put_orders', 'merge_facts', 'note_lint', 'note_forged', 'source_doors')
            loop
                execute format('grant execute on function %s to \(gateway)', func.name);
            end loop;
        end $$;
        """
    }

    private static func creation(of role: String) -> String {
        "    if not exists (select from pg_roles where rolname = '\(role)') then create role \(role) login; end if;"
    }
}
