internal import Foundation

/// What tests ask of a private broker besides AMQP, in milliseconds: Erlang that `erl_call` has the running broker evaluate.
///
/// `rabbitmqctl` starts a whole Erlang machine for each question. Only functions of RabbitMQ are used that 3.10 and 4.x both
/// have, with the same arguments and answers.
package struct BrokerControl: Sendable {
    /// A queue as it is now, not as the broker last counted it.
    package struct Queue: Sendable, Equatable {
        package let ready: Int
        /// Ready and unacknowledged.
        package let messages: Int
        /// Those that wait for their turn included.
        package let consumers: Int
    }

    package struct Consumer: Sendable, Equatable {
        package let queue: String
        package let prefetch: Int

        package init(queue: String, prefetch: Int) {
            self.queue = queue
            self.prefetch = prefetch
        }
    }

    /// Of a private broker.
    private let folder: String

    package init(folder: String) { self.folder = folder }

    /// Of the broker that all tests of a run share.
    package static func shared() throws(KitError) -> BrokerControl {
        BrokerControl(folder: try TestEnvironment.variable("TRUNKLINE_TEST_BROKER"))
    }

    /// Makes a virtual host, where there is none of that name, in which the user of the private brokers may do everything.
    package func makeVirtualHost(_ name: String) async throws {
        try await evaluate(
            """
            ok = case rabbit_vhost:exists(\(binary(name))) of
                true -> ok; false -> rabbit_vhost:add(\(binary(name)), <<"tests">>)
            end,
            ok = rabbit_auth_backend_internal:set_permissions(
                <<"guest">>, \(binary(name)), <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
            """
        )
    }

    /// Takes a virtual host away, with everything in it.
    package func deleteVirtualHost(_ name: String) async throws {
        try await evaluate("_ = rabbit_vhost:delete(\(binary(name)), <<\"tests\">>)")
    }

    /// The queues of a virtual host by name.
    package func queues(of virtualHost: String) async throws -> [String: Queue] {
        // The broker counts a quorum queue's messages every five seconds; the queue itself knows. Without a leader, for the
        // moment of its making, it has the broker's word.
        let rows = try await evaluate(
            """
            lists:foreach(fun(Q) ->
                Counted = fun() ->
                    [{_, R}, {_, M}, {_, C}] = rabbit_amqqueue:info(Q, [messages_ready, messages, consumers]), {R, M, C}
                end,
                {Ready, All, Consumers} = case amqqueue:get_type(Q) of
                    rabbit_quorum_queue ->
                        Look = fun(S) ->
                            {rabbit_fifo:query_messages_ready(S), rabbit_fifo:query_messages_total(S),
                                rabbit_fifo:query_consumer_count(S)}
                        end,
                        case catch ra:local_query(amqqueue:get_pid(Q), Look) of
                            {ok, {_, Seen}, _} when is_tuple(Seen) -> Seen;
                            _ -> Counted()
                        end;
                    _ -> Counted()
                end,
                io:format("~ts\\t~w\\t~w\\t~w~n", [element(4, amqqueue:get_name(Q)), Ready, All, Consumers])
            end, rabbit_amqqueue:list(\(binary(virtualHost))))
            """
        )
        var queues: [String: Queue] = [:]
        for row in rows.split(separator: "\n") {
            let cells = row.split(separator: "\t")
            guard cells.count == 4, let ready = Int(cells[1]), let all = Int(cells[2]), let consumers = Int(cells[3])
            else { throw KitError("the broker describes a queue as \(row)") }
            queues[String(cells[0])] = Queue(ready: ready, messages: all, consumers: consumers)
        }
        return queues
    }

    /// Whoever consumes in a virtual host.
    package func consumers(of virtualHost: String) async throws -> [Consumer] {
        try await evaluate(
            """
            lists:foreach(fun(C) ->
                {_, Queue} = lists:keyfind(queue_name, 1, C), {_, Prefetch} = lists:keyfind(prefetch_count, 1, C),
                io:format("~ts\\t~w~n", [element(4, Queue), Prefetch])
            end, rabbit_amqqueue:consumers_all(\(binary(virtualHost))))
            """
        ).split(separator: "\n").map { row in
            let cells = row.split(separator: "\t")
            guard cells.count == 2, let prefetch = Int(cells[1]) else {
                throw KitError("the broker describes a consumer as \(row)")
            }
            return Consumer(queue: String(cells[0]), prefetch: prefetch)
        }
    }

    package func deleteQueue(_ name: String, of virtualHost: String) async throws {
        try await evaluate(
            """
            {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(\(binary(virtualHost)), queue, \(binary(name)))),
            {ok, _} = rabbit_amqqueue:delete(Q, false, false, <<"tests">>)
            """
        )
    }

    /// Sets the policy `test` for the queues whose names match.
    package func setPolicy(pattern: String, definition: String, of virtualHost: String) async throws {
        try await evaluate(
            """
            ok = rabbit_policy:parse_set(\(binary(virtualHost)), <<"test">>, \(binary(pattern)), \(binary(definition)), 0,
                <<"queues">>, <<"tests">>)
            """
        )
    }

    /// Makes the broker stop taking messages, as if its memory were full.
    package func raiseMemoryAlarm() async throws {
        try await evaluate("ok = vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1})")
    }

    /// Gives the broker the share of the memory that its configuration gives it.
    package func endMemoryAlarm() async throws {
        try await evaluate("ok = vm_memory_monitor:set_vm_memory_high_watermark(0.6)")
    }

    package func version() async throws -> String {
        try await evaluate("io:put_chars(rabbit_misc:version())")
    }

    /// Has the broker evaluate Erlang expressions, separated by commas.
    ///
    /// - Returns: what they printed.
    /// - Throws: ``KitError`` when the broker cannot be reached, or one of them fails.
    @discardableResult
    package func evaluate(_ expressions: String) async throws -> String {
        let said = try await Command.run(
            folder + "/erl_call",
            ["-e", "-fetch_stdout"],
            input: expressions + ", trunkline_done.\n",
            limit: .seconds(60)
        )
        // What the expressions printed, and then what the last one is; a failure is an answer too.
        let end = "{ok, trunkline_done}"
        var output = said.output[...]
        while output.last?.isWhitespace == true { output.removeLast() }
        guard said.status == 0, output.hasSuffix(end) else {
            throw KitError("the broker in \(folder) says: \(said.errors)\(output)")
        }
        return String(output.dropLast(end.count))
    }

    /// For what only `rabbitmqctl` can do: it works on a broker whose application is stopped, too.
    @discardableResult
    package func rabbitmqctl(_ arguments: String...) async throws -> String {
        try await Command.run(folder + "/rabbitmqctl", ["--quiet"] + arguments)
            .requireSuccess("rabbitmqctl \(arguments.first ?? "")").output
    }

    private func binary(_ text: String) -> String {
        "<<\"" + text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
            + "\"/utf8>>"
    }
}
