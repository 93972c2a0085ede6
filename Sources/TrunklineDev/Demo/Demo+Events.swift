internal import TestKit

/// What becomes of the orders, told to the systems of both shops.
extension Demo {
    static let destinations = ["acme-crm", "bolt-erp"]
    /// The events of one order, in the order in which they must arrive.
    private static let steps = ["placed", "paid", "packed", "shipped", "delivered"]
    private static let ordersEach = 100
    static let events = destinations.count * ordersEach * steps.count
    private static let secondsDown = 10

    /// Two receivers of signed webhooks, which the simulator plays.
    func addDestinations(_ simulator: UInt16) async throws {
        let file = folder + "/secret"
        for destination in Self.destinations {
            let hook = try await ask(simulator, "PUT", "hooks/\(destination)", "{}")
            try writePrivately(try Self.secret(of: hook), to: file)
            try await step(
                "destinations",
                ["destination", "add", destination, "--kind", "webhook", "--secret-file", file]
                    + ["--workspace", String(destination.prefix { $0 != "-" })]
                    + ["--url", "http://127.0.0.1:\(simulator)/hooks/\(destination)", "--allow-private-network"]
            )
        }
        removeFiles(file)
    }

    /// One of the receivers is down when its events come.
    func enqueueEvents(_ simulator: UInt16) async throws {
        let down = Self.destinations[1]
        Terminal.log(
            "Enqueuing \(Self.events) events for two destinations, of which \(down) is down for \(Self.secondsDown) s"
        )
        let milliseconds = Self.secondsDown * 1_000
        try await ask(
            simulator,
            "POST",
            "faults",
            #"{"kind":"status","status":503,"hook":"\#(down)","forMs":\#(milliseconds)}"#
        )
        var text = ""
        for order in 1...Self.ordersEach {
            for (number, step) in Self.steps.enumerated() {
                // The same keys for both: each destination has its own.
                for destination in Self.destinations {
                    text +=
                        #"{"schema":"trunkline.deliver.v1","destination":"\#(destination)","key":"order:\#(order):\#(number)","#
                        + #""type":"order.\#(step)","timestamp":"2026-12-01T09:0\#(number):00Z","#
                        + #""data":{"order":"\#(order)"},"orderingKey":"order:\#(order)"}"# + "\n"
                }
            }
        }
        let file = folder + "/events.ndjson"
        try writePrivately(text, to: file)
        try await step("events", ["enqueue", file])
    }
}
