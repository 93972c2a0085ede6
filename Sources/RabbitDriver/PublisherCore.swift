internal import EventLoop

/// The publisher's half on its loop.
final class PublisherCore {
    private struct Sent {
        let batch: PublishBatch
        let index: Int
        let size: Int
        let at: ContinuousClock.Instant
        var returned: RabbitReturn?
        /// The broker's answer has come.
        var isAnswered = false
    }

    private let loop: EventLoop
    private let gate: PublisherGate
    private let limits: RabbitPublisher.Limits
    private let connection: RabbitConnection

    private var channel: RabbitChannel?
    /// Channel open, exchanges found, confirms on.
    private var isReady = false
    /// The required exchange that is missing, as the broker put it.
    private var missing: RabbitError?
    private var channelBackoff = Backoff()
    private var unblockedAt: ContinuousClock.Instant
    private var waitsForSocket = false

    /// Batches with unwritten messages, oldest first.
    private var queue: [PublishBatch] = []
    private var queueHead = 0
    /// What is on the wire, in the order of its tags; `sentHead` is the oldest unanswered one.
    private var sent: [Sent] = []
    private var sentHead = 0
    /// The tag of `sent[0]`.
    private var firstTag: UInt64 = 1
    private var sentBytes = 0

    private var releasedCount = 0
    private var releasedBytes = 0
    private var hasWaiting = false
    private var tickIsScheduled = false
    private var onDrained: (() -> Void)?
    private var isAborted = false

    init(
        loop: EventLoop,
        gate: PublisherGate,
        configuration: RabbitConfiguration,
        limits: RabbitPublisher.Limits
    ) {
        self.loop = loop
        self.gate = gate
        self.limits = limits
        connection = RabbitConnection(loop: loop, configuration: configuration)
        unblockedAt = ContinuousClock.now
    }

    // MARK: Life

    func start() {
        loop.preconditionOnLoop()
        connection.onConnect = { [unowned self] in openChannel() }
        connection.onDisconnect = { [unowned self] error in
            lost(error)
            gate.update {
                $0.isConnected = false
                $0.blockedReason = nil
                $0.lastError = error
            }
        }
        connection.onConnectFailed = { [unowned self] error in gate.update { $0.lastError = error } }
        connection.onBlocked = { [unowned self] reason in
            if reason == nil { unblockedAt = ContinuousClock.now }
            gate.update { $0.blockedReason = reason }
        }
        connection.onWritable = { [unowned self] in waitsForSocket = false }
        // One batch per turn: what the callbacks of a turn brought is written together.
        // Held strongly: the loop outlives everybody else who holds this, and lets it go when it ends.
        loop.beforeWait { self.turn() }
        connection.open()
    }

    func woken() {}

    func shutdown(_ done: @escaping () -> Void) {
        onDrained = done
    }

    /// Nobody can be told any more how long it takes: everything open gets its outcome now.
    func abort() {
        isAborted = true
        takeIn()
        let error = RabbitError(.closed, "the publisher was closed")
        failSent(error)
        failQueued(error)
        connection.close()
    }

    private var isIdle: Bool { sentOpen == 0 && queueHead == queue.count && !hasWaiting }
    /// Messages on the wire that somebody still waits for.
    private var sentOpen = 0

    private func turn() {
        guard !isAborted else { return }
        takeIn()
        publish()
        if releasedCount > 0 { takeIn() }
        if !isIdle { scheduleTick() }
        if let drained = onDrained, isIdle {
            onDrained = nil
            isAborted = true
            connection.close(done: drained)
        }
    }

    private func takeIn() {
        let (arrived, expired, isWaiting) = gate.exchange(
            released: releasedCount,
            bytes: releasedBytes,
            now: ContinuousClock.now
        )
        releasedCount = 0
        releasedBytes = 0
        hasWaiting = isWaiting
        queue.append(contentsOf: arrived)
        for batch in expired {
            let error = RabbitError(.timedOut, "not sent in time: the publisher's queue is full")
            for index in batch.messages.indices { _ = batch.settle(index, .notSent(error)) }
        }
        if !arrived.isEmpty, let missing { failQueued(missing) }
    }

    // MARK: Publishing

    private func publish() {
        guard isReady, let channel, !connection.isBlocked, !waitsForSocket else { return }
        while queueHead < queue.count {
            let batch = queue[queueHead]
            while batch.next < batch.messages.count {
                let message = batch.messages[batch.next]
                let size = message.size
                guard sent.count - sentHead < limits.window else { return }
                guard sentBytes == 0 || sentBytes + size <= limits.windowBytes else { return }
                do throws(RabbitError) {
                    let tag = try channel.publish(
                        exchange: message.exchange,
                        routingKey: message.routingKey,
                        mandatory: message.isMandatory,
                        properties: message.properties,
                        body: message.body
                    )
                    assert(tag == firstTag + UInt64(sent.count), "confirm tags count the messages of the channel")
                    sent.append(Sent(batch: batch, index: batch.next, size: size, at: loop.now))
                    sentBytes += size
                    sentOpen += 1
                    batch.next += 1
                } catch {
                    switch error.code {
                    case .blocked:
                        return
                    case .busy:
                        waitsForSocket = true
                        return
                    case .invalidArgument:
                        batch.next += 1
                        settle(batch, batch.next - 1, .notSent(error))
                    case .notConnected:
                        // Nothing was written; the message waits for the next channel.
                        isReady = false
                        return
                    default:
                        // It died while writing this one.
                        batch.next += 1
                        isReady = false
                        settle(batch, batch.next - 1, .unknown(error))
                        return
                    }
                }
            }
            queueHead += 1
        }
        queue.removeAll(keepingCapacity: true)
        queueHead = 0
    }

    private func settle(_ batch: PublishBatch, _ index: Int, _ outcome: PublishOutcome) {
        if batch.settle(index, outcome) {
            releasedCount += 1
            releasedBytes += batch.messages[index].size
        }
    }

    // MARK: Answers

    private func confirmed(_ tag: UInt64, _ multiple: Bool, _ acked: Bool) {
        guard tag >= firstTag else { return }
        let last = Int(tag - firstTag)
        guard last < sent.count else { return }
        let first = multiple ? sentHead : last
        guard first <= last else { return }
        for index in first...last { answer(index, acked) }
        // Not at opening: a broker that closes every channel after its first message must not be hammered.
        channelBackoff.reset()
        while sentHead < sent.count, sent[sentHead].isAnswered { sentHead += 1 }
        if sentHead == sent.count {
            firstTag += UInt64(sent.count)
            sent.removeAll(keepingCapacity: true)
            sentHead = 0
        } else if sentHead > 4_096 {
            firstTag += UInt64(sentHead)
            sent.removeFirst(sentHead)
            sentHead = 0
        }
    }

    private func answer(_ index: Int, _ acked: Bool) {
        guard !sent[index].isAnswered else { return }
        sent[index].isAnswered = true
        let message = sent[index]
        sentBytes -= message.size
        let outcome: PublishOutcome
        if let returned = message.returned {
            // An ack alone does not mean routed.
            outcome = .returned(returned)
        } else {
            outcome = acked ? .confirmed : .refused
        }
        close(message, outcome)
    }

    private func close(_ message: Sent, _ outcome: PublishOutcome) {
        if message.batch.settle(message.index, outcome) {
            sentOpen -= 1
            releasedCount += 1
            releasedBytes += message.size
        }
    }

    /// A return names no tag. Returns come in the order of their publishes, so it is the oldest unanswered message with
    /// the same address and id that has none yet.
    private func returned(_ value: RabbitReturn) {
        for index in sentHead..<sent.count where !sent[index].isAnswered && sent[index].returned == nil {
            let message = sent[index].batch.messages[sent[index].index]
            if message.isMandatory, message.routingKey == value.routingKey, message.exchange == value.exchange,
                message.properties.messageID == value.messageID
            {
                sent[index].returned = value
                return
            }
        }
    }

    // MARK: Time

    private func scheduleTick() {
        guard !tickIsScheduled else { return }
        tickIsScheduled = true
        loop.schedule(after: .milliseconds(50)) { [weak self] in
            self?.tickIsScheduled = false
            self?.tick()
        }
    }

    private func tick() {
        let now = ContinuousClock.now
        for batch in queue[queueHead...] where batch.deadline <= now {
            let error = RabbitError(.timedOut, "not sent in time: \(whyNotSent)")
            while batch.next < batch.messages.count {
                settle(batch, batch.next, .notSent(error))
                batch.next += 1
            }
        }
        while queueHead < queue.count, queue[queueHead].next == queue[queueHead].messages.count { queueHead += 1 }
        if queueHead > 0 {
            queue.removeFirst(queueHead)
            queueHead = 0
        }
        guard sentHead < sent.count else { return }
        for message in sent[sentHead...] where !message.isAnswered && message.batch.deadline <= now {
            close(message, .unknown(RabbitError(.timedOut, "not confirmed in time")))
        }
        // While blocked the broker reads nothing and so confirms nothing: no reason to give it up.
        if !connection.isBlocked, now - max(sent[sentHead].at, unblockedAt) > limits.confirmTimeout {
            connection.reset(because: "a message was not confirmed in time")
        }
    }

    private var whyNotSent: String {
        if connection.isBlocked { return "the broker takes no messages for now" }
        if let missing { return missing.message }
        if !isReady { return connection.lastError?.message ?? "not connected to the broker" }
        return "too many unconfirmed messages before it"
    }

    // MARK: The channel

    private func openChannel() {
        connection.openChannel { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure:
                // The connection is gone, which `onDisconnect` tells.
                break
            case .success(let channel):
                self.channel = channel
                channel.onClose = { [weak self] error in self?.channelEnded(error) }
                self.check(self.limits.requiredExchanges[...], on: channel)
            }
        }
    }

    private func check(_ exchanges: ArraySlice<String>, on channel: RabbitChannel) {
        if let exchange = exchanges.first {
            channel.declareExchange(exchange, passive: true) { [weak self] result in
                if case .success = result { self?.check(exchanges.dropFirst(), on: channel) }
                // A refusal closes the channel: `channelEnded` has it.
            }
            return
        }
        channel.enableConfirms { [weak self] result in
            guard let self, case .success = result else { return }
            channel.onConfirm = { [weak self] in self?.confirmed($0, $1, $2) }
            channel.onReturn = { [weak self] in self?.returned($0) }
            self.firstTag = 1
            self.missing = nil
            self.isReady = true
            self.waitsForSocket = false
            self.gate.update {
                $0.isConnected = true
                $0.lastError = nil
            }
        }
    }

    private func channelEnded(_ error: RabbitError) {
        guard channel != nil else { return }
        let wasReady = isReady
        lost(error)
        // With the connection gone the next `onConnect` opens a channel.
        guard connection.isConnected else { return }
        gate.update {
            $0.isConnected = false
            $0.lastError = error
        }
        if !wasReady, error.code == .channelClosed {
            missing = error
            failQueued(error)
        }
        var generator = SystemRandomNumberGenerator()
        loop.schedule(after: min(channelBackoff.next(using: &generator), .seconds(5))) { [weak self] in
            guard let self, self.channel == nil, self.connection.isConnected else { return }
            self.openChannel()
        }
    }

    private func lost(_ error: RabbitError) {
        channel = nil
        isReady = false
        waitsForSocket = false
        unblockedAt = ContinuousClock.now
        failSent(error)
    }

    private func failSent(_ error: RabbitError) {
        let open = sent[sentHead...]
        sent = []
        sentHead = 0
        firstTag = 1
        sentBytes = 0
        for message in open where !message.isAnswered {
            // The broker returned it, so it does not have it, whatever became of the confirm.
            close(message, message.returned.map { .returned($0) } ?? .unknown(error))
        }
    }

    private func failQueued(_ error: RabbitError) {
        let open = queue[queueHead...]
        queue = []
        queueHead = 0
        for batch in open {
            while batch.next < batch.messages.count {
                settle(batch, batch.next, .notSent(error))
                batch.next += 1
            }
        }
    }
}
