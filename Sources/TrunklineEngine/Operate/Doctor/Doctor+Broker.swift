internal import RabbitDriver

extension Doctor {
    static func examineBroker(_ url: String?, shards: Int?, _ report: (Finding) -> Void) async {
        guard let url else {
            report(.warning("broker", "not configured", "set TRUNKLINE_AMQP_URL: workers need it"))
            return
        }
        let session: BrokerSession
        do {
            session = try await BrokerSession.open(url: url, connectionName: "trunkline doctor")
        } catch let error as TopologyError {
            report(.failed("broker", error.description, "use another version of RabbitMQ"))
            return
        } catch {
            report(
                .failed(
                    "broker",
                    "cannot be used: \(words(error))",
                    "is it running, and does TRUNKLINE_AMQP_URL name its address, user and virtual host?"
                )
            )
            return
        }
        if let finding = try? brokerTransport(url) { report(finding) }
        let server = await session.server
        report(.ok("broker", "answers: \(server?.product ?? "unknown") \(server?.version ?? "of an unknown version")"))
        do {
            if let shards {
                try await topology(session, shards, report)
            } else {
                report(
                    .warning("queues", "not looked at: the number of shards is not known", "see the database's checks")
                )
            }
        } catch {
            report(
                .failed("broker questions", "one was not answered: \(words(error))", "see the words of the error")
            )
        }
        do {
            report(try await alarms(session))
        } catch {
            report(
                .failed(
                    "broker alarms",
                    "no message could be published to see: \(words(error))",
                    "mend the queues first; the user needs the rights to configure, write and read '^trunkline\\.'"
                )
            )
        }
        await session.close()
    }

    private static func topology(_ session: BrokerSession, _ shards: Int, _ report: (Finding) -> Void) async throws {
        do {
            try await session.check(shards: shards)
            report(.ok("queues", "exchanges, queues and bindings for \(shards) shards are as they must be"))
        } catch let error as TopologyError {
            report(
                .failed(
                    "queues",
                    error.description,
                    "'trunkline topology apply' declares what is missing ('trunkline rehydrate', when the broker was wiped); an "
                        + "object with other arguments must be deleted first"
                )
            )
            return
        }
        if let left = try await session.messages(in: Topology.shardQueue(shards)) {
            report(
                .failed(
                    "shards of the broker",
                    "there is a queue \(Topology.shardQueue(shards)) (\(left) messages) and the database has \(shards) shards",
                    "run 'trunkline topology apply', which moves its messages and removes it; or this is another install's "
                        + "virtual host"
                )
            )
        } else {
            report(.ok("shards of the broker", "\(shards), as the database says"))
        }
        let aside = try await session.messages(in: Topology.deadQueue) ?? 0
        let unrouted = try await session.messages(in: Topology.unroutedQueue) ?? 0
        if aside + unrouted > 0 {
            report(
                .warning(
                    "put aside",
                    "\(aside) messages in \(Topology.deadQueue), \(unrouted) in \(Topology.unroutedQueue)",
                    "a running worker empties both; see 'trunkline refusals list' and 'trunkline parked list' afterwards"
                )
            )
        }
    }

    /// Whether the broker takes a message. It tells a connection of an alarm only after that has published.
    private static func alarms(_ session: BrokerSession) async throws -> Finding {
        switch try await session.probe(within: .seconds(5)) {
        case .confirmed: return .ok("broker alarms", "none: a message is taken and confirmed")
        case .blocked(let reason):
            return .failed(
                "broker alarms",
                "the broker takes no messages: \(reason)",
                "give it memory or disk (rabbitmq-diagnostics status names limits and use); what PostgreSQL has goes on being sent"
            )
        case .silent:
            return .failed(
                "broker alarms",
                "a message was not confirmed within 5 s",
                "look at the broker's log and its load; a quorum queue without a majority of its nodes confirms nothing"
            )
        }
    }

    private static func brokerTransport(_ url: String) throws -> Finding {
        let broker = try RabbitConfiguration(url: url, connectionName: "trunkline doctor")
        if let warning = broker.transportWarning {
            return .warning("broker TLS", warning, "write amqps://, and name the authority with cacertfile=FILE")
        }
        return .ok(
            "broker TLS",
            broker.isLocal
                ? "on this machine (\(broker.isEncrypted ? "TLS" : "not encrypted"))" : "the broker is verified (TLS)"
        )
    }
}
