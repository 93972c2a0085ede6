import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Synchronization

/// The webhooks that follow one accepted send.
struct WebhookEvents: Sendable {
    var line: String
    var registration: WebhookRegistration
    var switches: Set<WebhookSwitches.Switch>
    var to: String
    var text: String
    /// The `seq` of the effect: ids are made from it, so that they are never used again.
    var number: Int64
    /// When it was accepted, seconds since 1970.
    var seconds: Int64
}

/// One webhook on its way to its receiver.
struct WebhookDelivery: Sendable {
    enum State: String, Sendable, CaseIterable {
        case pending, delivered, dead
    }

    var id: String
    var line: String
    var event: String
    var targetURL: String
    var headers: [(name: String, value: String)]
    var body: [UInt8]
    var tries = 0
    var lastStatus: Int?
    var state = State.pending
}

extension WebhookEvents {
    /// The deliveries in the order in which their first tries go out, oddities included.
    func deliveries() -> [WebhookDelivery] {
        let isGroup = switches.contains(.groupChat)
        let digits = to.dropFirst()
        let chat = isGroup ? "\(digits)-1500000000@g.us" : "\(digits)@s.whatsapp.net"
        let provider = "WAMID-\(number)"
        func conversation(_ writer: inout JSONWriter) {
            guard !switches.contains(.noConversationId) else { return }
            writer.member("conversationId", "cv_\(digits)")
            writer.member("conversation_id", "cv_\(digits)")
        }
        let message = JSONWriter.object { writer in
            writer.member("event", "messages.post")
            writer.array("messages") { writer in
                writer.object { writer in
                    writer.member("id", provider)
                    writer.member("message_id", provider)
                    writer.member("chat_id", chat)
                    writer.member("from", "line@s.whatsapp.net")
                    conversation(&writer)
                    writer.member("contactPhoneNumber", to)
                    writer.member("contact_phone_number", to)
                    writer.member("from_me", true)
                    writer.member("timestamp", seconds)
                    writer.member("type", "text")
                    writer.object("text") { $0.member("body", text) }
                    writer.member("body", text)
                }
            }
        }
        let chatEvent = JSONWriter.object { writer in
            writer.member("event", "chats.post")
            writer.array("chats") { writer in
                writer.object { writer in
                    writer.member("id", chat)
                    writer.member("chat_id", chat)
                    if !switches.contains(.noConversationId) { writer.member("conversationId", "cv_\(digits)") }
                    writer.member("type", isGroup ? "group" : "individual")
                    writer.member("timestamp", seconds)
                    writer.object("last_message") { writer in
                        writer.member("id", provider)
                        writer.member("type", "text")
                        writer.member("body", text)
                        writer.member("from_me", true)
                    }
                }
            }
        }
        var bodies: [(event: String, body: [UInt8])] = [("messages.post", message), ("chats.post", chatEvent)]
        let statuses = statusBodies(provider).map { (event: "statuses.post", body: $0) }
        if switches.contains(.statusBeforeMessage), let first = statuses.first {
            bodies = [first] + bodies + statuses.dropFirst()
        } else {
            bodies += statuses
        }
        var deliveries: [WebhookDelivery] = []
        for (index, item) in bodies.enumerated() where registration.events.contains(item.event) {
            let first = delivery("dlv_\(number)_\(index + 1)", item.event, item.body)
            deliveries.append(first)
            if switches.contains(.duplicateDeliveryId) { deliveries.append(first) }
            if switches.contains(.newDeliveryId) {
                deliveries.append(delivery("dlv_\(number)_\(index + 1)_again", item.event, item.body))
            }
        }
        return deliveries
    }

    private func statusBodies(_ provider: String) -> [[UInt8]] {
        var words = ["sent", "delivered", "read"]
        if switches.contains(.failed) { words = ["sent", "failed"] }
        if switches.contains(.lostStatus) { words.removeAll { $0 == "delivered" } }
        if switches.contains(.unknownStatusWord) { words.insert("teleported", at: words.count - 1) }
        let times = words.indices.map { seconds + Int64($0) + 1 }
        var items = Array(zip(words, times))
        if switches.contains(.outOfOrder) { items.reverse() }
        func body(_ items: some Sequence<(String, Int64)>) -> [UInt8] {
            JSONWriter.object { writer in
                writer.member("event", "statuses.post")
                writer.array("statuses") { writer in
                    for (word, time) in items {
                        writer.object { writer in
                            writer.member("id", provider)
                            writer.member("message_id", provider)
                            writer.member("status", word)
                            writer.member("timestamp", time)
                        }
                    }
                }
            }
        }
        return switches.contains(.severalItems) ? [body(items)] : items.map { body([$0]) }
    }

    private func delivery(_ id: String, _ event: String, _ body: [UInt8]) -> WebhookDelivery {
        var headers: [(name: String, value: String)] = [("Content-Type", "application/json")]
        if !switches.contains(.missingHeader) { headers.append(("X-EZW-Delivery-Id", id)) }
        headers.append(("X-EZW-Webhook-Event", event))
        headers.append(("X-EZW-Line-Id", switches.contains(.wrongLineId) ? line + "-wrong" : line))
        return WebhookDelivery(
            id: id,
            line: line,
            event: event,
            targetURL: registration.targetURL,
            headers: headers,
            body: body
        )
    }
}

/// Posts webhooks: the first tries of one send in order, further tries on their own, then the dead list.
actor WebhookSender {
    private let simulator: Simulator
    private let client: HTTPClient
    private let retryDelays: [Duration]
    private let timeout: TimeAmount
    private var deliveries: [Int: WebhookDelivery] = [:]
    private var lastNumber = 0
    private var waiting: [[WebhookDelivery]] = []
    private var sequences = 0
    private var tasks: [Int: Task<Void, Never>] = [:]
    private var lastTask = 0
    private var isStopping = false

    /// How many sends have their webhooks on the way at once.
    private static let concurrency = 32
    /// Older deliveries are no longer listed.
    private static let deliveriesKept = 20_000

    init(simulator: Simulator, options: SimulatorOptions) {
        self.simulator = simulator
        retryDelays = options.webhookRetryDelays
        let parts = options.webhookTimeout.components
        timeout = .nanoseconds(parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000)
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    func enqueue(_ events: [WebhookEvents]) {
        guard !isStopping else { return }
        for event in events {
            let list = event.deliveries()
            if !list.isEmpty { waiting.append(list) }
        }
        startWaiting()
    }

    private func startWaiting() {
        while sequences < Self.concurrency, !waiting.isEmpty, !isStopping {
            let list = waiting.removeFirst()
            sequences += 1
            launch {
                for delivery in list {
                    guard !Task.isCancelled else { break }
                    await self.deliver(delivery)
                }
                await self.sequenceEnded()
            }
        }
    }

    private func sequenceEnded() {
        sequences -= 1
        startWaiting()
    }

    private func launch(_ body: @escaping @Sendable () async -> Void) {
        lastTask += 1
        let id = lastTask
        tasks[id] = Task {
            await body()
            self.tasks[id] = nil
        }
    }

    private func deliver(_ delivery: WebhookDelivery) async {
        lastNumber += 1
        let number = lastNumber
        deliveries[number] = delivery
        if let old = deliveries.count > Self.deliveriesKept ? number - Self.deliveriesKept : nil {
            deliveries[old] = nil
        }
        if await post(number, delivery) { return }
        guard !retryDelays.isEmpty else { return }
        let delays = retryDelays
        launch {
            for delay in delays {
                guard (try? await Task.sleep(for: delay)) != nil else { return }
                if await self.post(number, delivery) { return }
            }
        }
    }

    /// - Returns: whether the delivery is over, well or badly.
    private func post(_ number: Int, _ delivery: WebhookDelivery) async -> Bool {
        var status: Int?
        do {
            var request = HTTPClientRequest(url: delivery.targetURL)
            request.method = .POST
            for (name, value) in delivery.headers { request.headers.add(name: name, value: value) }
            request.body = .bytes(delivery.body)
            let response = try await client.execute(request, timeout: timeout)
            status = Int(response.status.code)
        } catch {
            // No answer: tried again like a bad one.
        }
        var known = deliveries[number] ?? delivery
        known.tries += 1
        known.lastStatus = status
        if let status, (200..<300).contains(status) {
            known.state = .delivered
        } else if known.tries > retryDelays.count {
            known.state = .dead
        }
        deliveries[number] = known
        simulator.webhookTried(known)
        return known.state != .pending
    }

    /// `GET /__sim/deliveries?line=&state=&limit=`: the newest last.
    func list(_ query: [(name: String, value: String)]) throws(ControlRefusal) -> Answer {
        try Simulator.refuseOthers(query, known: ["line", "state", "limit"])
        let limit = try Simulator.integer("limit", query, in: 1...Self.deliveriesKept) ?? 100
        let line = query.last { $0.name == "line" }?.value
        var state: WebhookDelivery.State?
        if let word = query.last(where: { $0.name == "state" })?.value {
            guard let known = WebhookDelivery.State(rawValue: word) else {
                throw .unknown("state", word, known: WebhookDelivery.State.allCases.map(\.rawValue))
            }
            state = known
        }
        let found = deliveries.sorted { $0.key < $1.key }.map(\.value)
            .filter { (line ?? $0.line) == $0.line && (state ?? $0.state) == $0.state }
            .suffix(limit)
        return Answer(
            status: 200,
            body: JSONWriter.object { writer in
                writer.array("deliveries") { writer in
                    for delivery in found {
                        writer.object { writer in
                            writer.member("id", delivery.id)
                            writer.member("line", delivery.line)
                            writer.member("event", delivery.event)
                            writer.member("tries", delivery.tries)
                            writer.optional("lastStatus", delivery.lastStatus)
                            writer.member("state", delivery.state.rawValue)
                        }
                    }
                }
            }
        )
    }

    /// Gives up what is on the way and frees the connections.
    func stop() async {
        isStopping = true
        waiting = []
        for task in tasks.values { task.cancel() }
        for task in tasks.values { await task.value }
        try? await client.shutdown()
    }
}

extension Simulator {
    /// One try to deliver a webhook is over.
    func webhookTried(_ delivery: WebhookDelivery) {
        var record = JournalRecord(.webhook)
        record.line = delivery.line
        record.status = delivery.lastStatus
        record.reason =
            switch delivery.state {
            case .delivered: "delivered"
            case .dead: "dead"
            case .pending: "again"
            }
        record.data = .object([
            JSON.Member(name: "id", value: .string(delivery.id)),
            JSON.Member(name: "event", value: .string(delivery.event)),
            JSON.Member(name: "tries", value: .integer(Int64(delivery.tries))),
        ])
        state.withLock { self.record(&record, in: &$0) }
        journal.commitSoon()
    }
}
