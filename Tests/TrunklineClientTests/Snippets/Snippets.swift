import TrunklineClient

// What the documents show of the library, compiled. A document's code is the text between `// snippet NAME` and `// end`
// (`DocumentationTests`).

func overview(url: String) async throws {
    // snippet overview
    let producer = try TrunklineProducer(amqpURL: url)
    let job = try SendJob(
        line: LineID("acme-il"),
        key: IdempotencyKey("order:acme.1042:ready"),
        to: PhoneNumber("+972501234567"),
        body: "Your order 1042 is ready.",
        purpose: .pickup
    )
    try await producer.send(job)
    await producer.shutdown()
    // end
}

func sendOne(_ job: SendJob, with producer: TrunklineProducer, log: (String) -> Void) async -> [SendJob] {
    var later: [SendJob] = []
    // snippet one
    do {
        try await producer.send(job)
    } catch let error where error.isRetriable {
        // Send the same job again later, unchanged. The key makes the repeat harmless.
        later.append(job)
    } catch {
        // Refused by a rule, or no queue takes it: sending it again cannot help.
        log("\(job.key): \(error)")
    }
    // end
    return later
}

func sendMany(_ jobs: [SendJob], with producer: TrunklineProducer, log: (String) -> Void) async -> [SendJob] {
    var later: [SendJob] = []
    // snippet many
    let results = await producer.send(jobs)
    for (job, result) in zip(jobs, results) {
        guard case .failure(let error) = result else { continue }
        if error.isRetriable { later.append(job) } else { log("\(job.key): \(error)") }
    }
    // end
    return later
}

func settings(url: String) throws -> TrunklineProducer {
    // snippet settings
    var options = TrunklineProducer.Options()
    options.window = 5_000
    options.deadline = .seconds(30)
    options.connectionName = "acme shop"
    let producer = try TrunklineProducer(amqpURL: url, shards: 64, options: options)
    // end
    return producer
}

func button() throws -> SendJob {
    // snippet button
    let job = try SendJob(
        line: LineID("acme-il"),
        key: IdempotencyKey("order:acme.1042:ready"),
        to: PhoneNumber("+972501234567"),
        body: "Your order 1042 is ready.",
        button: Button(text: "See order", url: "https://shop.example/o/1042"),
        purpose: .pickup
    )
    // end
    return job
}
