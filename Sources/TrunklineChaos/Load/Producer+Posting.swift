internal import Foundation
internal import Synchronization
internal import TestKit

/// Over HTTP: notices alone and in batches, events alone, to the gateways in turn. Whoever gets no answer asks the next one.
extension Producer {
    /// Seconds that a caller waits for its answer: less than a gateway may be frozen for.
    private static let patience = 5

    /// How many requests at a gateway are unanswered.
    func requests(at gateway: FleetProcess) -> Int { requests.withLock { $0[gateway.number] ?? 0 } }

    func postLoop(_ number: Int) async {
        let gateways = stage.gateways
        guard !gateways.isEmpty else { return }
        var turn = number
        while !isEnded, !isDone {
            try? await Task.sleep(for: .milliseconds(100))
            guard book.mayPublish() else { continue }
            for gives in Self.requests(for: postBoxes[number].due(at: Moment.now, atMost: 40)) {
                turn += 1
                await post(gives, to: gateways[turn % gateways.count])
            }
            book.landed()
        }
    }

    /// In the order in which they are due: most notices that follow each other share a request.
    private static func requests(for due: [Give]) -> [[Give]] {
        func isShared(_ give: Give) -> Bool { give.job.lane.kind == .line && !give.job.number.isMultiple(of: 3) }
        var requests: [[Give]] = []
        for give in due {
            if isShared(give), let last = requests.last?.last, isShared(last) {
                requests[requests.count - 1].append(give)
            } else {
                requests.append([give])
            }
        }
        return requests
    }

    private func post(_ due: [Give], to gateway: FleetProcess) async {
        let tries = noteTries(due, producer: nextFile(), from: 0)
        guard let port = gateway.port else { return noteEnds(tries.map { End($0, .notTaken) }, due) }
        let bodies = due.map { text.encode($0.job) }
        let (path, body) =
            switch (due[0].job.lane.kind, due.count) {
            case (.destination, _): ("/v1/deliveries", bodies[0])
            case (.line, 1): ("/v1/messages", bodies[0])
            case (.line, _): ("/v1/messages/batch", #"{"messages":[\#(bodies.joined(separator: ","))]}"#)
            }
        requests.withLock { $0[gateway.number, default: 0] += 1 }
        let answer = try? await HTTPConnection.ask(
            "POST",
            path,
            headers: [("Authorization", "Bearer \(stage.apiKey)"), ("Content-Type", "application/json")],
            body: Array(body.utf8),
            of: port,
            patience: Self.patience
        )
        requests.withLock { $0[gateway.number, default: 0] -= 1 }
        noteEnds(PostAnswer.ends(of: answer, tries), due)
    }
}

/// What a gateway says of each message of a request.
enum PostAnswer {
    private struct Message: Decodable {
        let state: String?
        let detail: String?
    }

    private struct Batch: Decodable {
        struct Item: Decodable {
            let status: Int
            let replayed: Bool?
            let message: Message?
            let problem: Message?
        }
        let results: [Item]
    }

    static func ends(of answer: HTTPAnswer?, _ tries: [Int]) -> [Producer.End] {
        guard let answer else { return tries.map { .init($0, .unknown) } }
        if answer.status == 200, let batch = try? JSONDecoder().decode(Batch.self, from: Data(answer.body)),
            batch.results.count == tries.count
        {
            return zip(tries, batch.results).map { number, item in
                end(number, item.status, item.replayed ?? false, item.message ?? item.problem)
            }
        }
        let message = try? JSONDecoder().decode(Message.self, from: Data(answer.body))
        let isReplay = answer["idempotency-replayed"] == "true"
        return tries.map { end($0, answer.status, isReplay, message) }
    }

    private static func end(_ number: Int, _ status: Int, _ isReplay: Bool, _ message: Message?) -> Producer.End {
        switch status {
        case 202: .init(number, isReplay ? .again : .promised, queue: message?.state == "accepted" ? "row" : nil)
        // Not taken, or by a broker that could not say so any more.
        case 503: .init(number, .unknown, message?.detail)
        default: .init(number, .refused, "\(status): \(message?.detail ?? "no reason")")
        }
    }
}
