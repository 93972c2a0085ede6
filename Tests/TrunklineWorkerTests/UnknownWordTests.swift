import Foundation
import PostgresDriver
import Testing
import TrunklineSimulator
import TrunklineTesting

/// A database of a later version speaks words that this worker does not know.
@Suite struct UnknownWordTests {
    /// Puts itself before `take`: what it says of keys that begin with `odd` is a word of tomorrow, and nothing is written.
    private static let laterTake = """
        alter function trunkline.take rename to take_of_today;
        do $outer$
        declare
            signature text := pg_get_function_arguments('trunkline.take_of_today'::regproc);
            names text := (select string_agg(name, ', ' order by n) from pg_proc p,
                unnest(p.proargnames, p.proargmodes) with ordinality as a (name, mode, n)
                where p.oid = 'trunkline.take_of_today'::regproc and mode = 'i');
        begin
            execute format($body$
                create function trunkline.take(%s) returns table (
                    item int, verdict text, job bigint, lane int, state text, place bigint, due_in_ms bigint, attempt int,
                    final_state text, lane_of_job text, stored_digest bytea
                ) language plpgsql as $take$
                begin
                    if exists (select from unnest(p_key) k where k like 'odd%%') then
                        return query select n::int, 'of_tomorrow', null::bigint, null::int, null::text, null::bigint, null::bigint,
                            null::int, null::text, null::text, null::bytea from generate_series(1, cardinality(p_key)) n;
                    else
                        return query select * from trunkline.take_of_today(%s);
                    end if;
                end $take$
            $body$, regexp_replace(signature, 'OUT .*$|TABLE.*$', ''), names);
        end $outer$;
        """

    @Test func aVerdictOfTomorrowIsNeitherAcknowledgedNorRefused() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try await install.database.script(Self.laterTake)
            let worker = try install.startWorker()
            try await install.publish([try TestInstall.job("odd")])
            try await install.wait(for: "the worker to say so") {
                worker.logText.contains("does not know") && worker.logText.contains("of_tomorrow")
            }
            // It is tried again, and said no second time.
            try await install.publish([try TestInstall.job("even", to: "+972501111111")])
            try await install.wait(for: "the message beside it") { install.simulator.report().total.messages == 1 }
            #expect(try await install.number("select count(*) from trunkline.refusals") == 0)
            #expect(try await install.number("select count(*) from trunkline.ledger where key_digest is not null") == 1)
            #expect(worker.logText.components(separatedBy: "does not know").count == 2)
            // As soon as somebody understands it, it is taken.
            try await install.database.script(
                "drop function trunkline.take; alter function trunkline.take_of_today rename to take"
            )
            try await install.waitUntilSent(2)
            try await install.requireProof(sent: 2)
        }
    }
}
