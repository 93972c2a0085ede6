/// Roles of the database for programs that need not own it: what each may do, as SQL for whoever owns it.
package enum Roles {
    /// SQL that makes the roles where they are missing and gives each its rights, no more. Safe to repeat: after every
    /// `trunkline migrate` it has to be.
    ///
    /// - Parameter prefix: what the roles' names begin with; of `a-z`, `0-9` and `_`, beginning with a letter.
    package static func sql(prefix: String) -> String {
        let (worker, producer, reader) = (prefix + "_worker", prefix + "_producer", prefix + "_reader")
        return """
            -- Roles for Trunkline's programs. Run it as the owner of the schema (who ran 'trunkline migrate') with CREATEROLE, or
            -- as a superuser, in Trunkline's database, and again after every 'trunkline migrate'. It sets no passwords: \\password
            --
            -- the owner     migrate, topology, line, cancel, reschedule, parked, refusals, retain: everything
            -- \(worker)      worker: takes, sends and records; changes no line, no schema
            -- \(producer)    enqueue, send, select trunkline.enqueue(…): accepts notices and deliveries; sees none
            -- \(reader)      status, why, check, line list, line show, parked list, refusals list: contacts show, orders, lint list: changes nothing, sees no secret
            begin;

            do $$
            begin
            \([worker, producer, reader].map { Self.creation(of: $0) }.joined(separator: "\n"))
                execute format('grant connect on database %I to \(worker), \(producer), \(reader)', current_database());
            end $$;

            -- Nobody may do anything but what follows. Functions may be executed by everybody, unless that is taken back.
            revoke all on schema trunkline from public;
            revoke all on all functions in schema trunkline from public;
            revoke all on all tables in schema trunkline from \(worker), \(producer), \(reader);
            revoke all on all functions in schema trunkline from \(worker), \(producer), \(reader);
            grant usage on schema trunkline to \(worker), \(producer), \(reader);
            -- What every program asks first: the schema's version and the number of shards.
            grant select on trunkline.schema_version, trunkline.schema_functions, trunkline.settings to \(worker), \(producer), \(reader);

            grant select on all tables in schema trunkline to \(worker);
            grant insert, update, delete on trunkline.lane_state, trunkline.lane_credentials, trunkline.workers, trunkline.breakers, trunkline.shards,
                trunkline.ledger, trunkline.facts, trunkline.jobs, trunkline.finished, trunkline.attempts, trunkline.inbox,
                trunkline.refusals, trunkline.suspects, trunkline.sent_today, trunkline.contacts, trunkline.orders to \(worker);
            grant usage on all sequences in schema trunkline to \(worker);
            grant execute on all functions in schema trunkline to \(worker);

            do $$
            declare
                func record;
            begin
                for func in select oid::regprocedure as name, proname from pg_proc where pronamespace = 'trunkline'::regnamespace
                loop
                    if func.proname in ('drop_day', 'drop_strays', 'cancel', 'reschedule', 'parked') then
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

            grant select on all tables in schema trunkline to \(reader);
            revoke select on trunkline.lane_credentials, trunkline.api_keys from \(reader);
            -- All of a line or a destination but its secret.
            revoke select on trunkline.lanes from \(reader);
            do $$
            declare
                columns text;
            begin
                select string_agg(quote_ident(attname), ', ') into columns from pg_attribute
                where attrelid = 'trunkline.lanes'::regclass and attnum > 0 and not attisdropped and attname <> 'secret_sealed';
                execute format('grant select (%s) on trunkline.lanes to \(reader)', columns);
            end $$;
            commit;
            """
    }

    private static func creation(of role: String) -> String {
        "    if not exists (select from pg_roles where rolname = '\(role)') then create role \(role) login; end if;"
    }
}
