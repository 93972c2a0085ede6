internal import PostgresDriver
internal import RabbitDriver

/// How far the ways to database and broker are protected, as configured.
public enum Transport {
    /// What a person should know who did not mean it; empty when both are on this machine or prove who they are.
    ///
    /// - Parameter amqpURL: nil when no broker is configured.
    public static func warnings(databaseURL: String, amqpURL: String?) throws -> [String] {
        let database = try DatabaseTransport(url: databaseURL).warning
        let broker = try amqpURL.flatMap { url in
            try RabbitConfiguration(url: url, connectionName: "trunkline").transportWarning
        }
        return [database, broker].compactMap { $0 }
    }
}
