internal import PostgresDriver
internal import RabbitDriver

/// How far the ways to database and broker are protected, as configured.
package enum Transport {
    /// What a person should know who did not mean it; empty when both are on this machine or prove who they are.
    ///
    /// - Parameter amqpURL: nil when no broker is configured.
    package static func warnings(databaseURL: String, amqpURL: String?) throws -> [String] {
        let database = try DatabaseTransport(url: databaseURL).warning
        let broker = try amqpURL.flatMap { url in
            try RabbitConfiguration(url: url, connectionName: "trunkline").transportWarning
        }
        return [database, broker].compactMap { $0 }
    }

    /// Whether PostgreSQL's URI or connection string holds a password, as libpq reads it: there are many ways to write one.
    /// Throws for what libpq cannot read.
    package static func holdsPassword(databaseURL: String) throws -> Bool {
        try PostgresSession.holdsPassword(url: databaseURL)
    }

    /// Whether a broker's URL holds a password.
    package static func holdsPassword(amqpURL: String) -> Bool { RabbitConfiguration.holdsPassword(url: amqpURL) }

    /// What is wrong with a broker's URL; nil when it can be used.
    package static func problem(amqpURL: String) -> String? {
        do throws(RabbitError) {
            _ = try RabbitConfiguration(url: amqpURL, connectionName: "trunkline")
            return nil
        } catch {
            return error.message
        }
    }
}
