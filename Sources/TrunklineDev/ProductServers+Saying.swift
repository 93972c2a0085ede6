package import TestKit

extension ProductServers {
    /// Starts both, and says where they are.
    package func startSayingSo(_ checkout: Checkout) async throws {
        let began = ContinuousClock.now
        Terminal.log("Starting a private PostgreSQL and RabbitMQ in \(checkout.relative(folder))")
        try await start()
        Terminal.note(
            "PostgreSQL on 127.0.0.1:\(databasePort ?? 0), RabbitMQ on 127.0.0.1:\(brokerPort ?? 0), "
                + "after \((ContinuousClock.now - began).components.seconds) s"
        )
    }
}
