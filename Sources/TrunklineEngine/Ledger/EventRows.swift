package import TrunklineCore

/// A received event, named by its kind of source.
package struct NamedEvent: Sendable {
    package let event: WebhookJob
    package let key: EventKey
    /// The number under which it keeps its order in its source's lane.
    package let person: Int64

    package init(_ event: WebhookJob, _ name: EventName) {
        self.event = event
        key = name.key
        person = TakeBatch.person(name.orderingName)
    }
}

/// An event whose attempt has begun.
package struct EventAttempt: Sendable, Hashable {
    package let job: Int64
    package let attempt: Int32
    package let source: SourceID
    /// As it is stored.
    package let key: String
}

/// An event as it is stored, for its job.
package struct LoadedEvent: Sendable {
    package let job: Int64
    package let event: StoredEvent
    /// Retention has dropped its bytes.
    package let isEmptied: Bool
}

/// What is to be committed of an event that was run.
package struct EventRun: Sendable {
    /// The stored word.
    package enum Word: String, Sendable, Hashable {
        case planned, ignored, refused
    }

    package let attempt: EventAttempt
    package let workspace: WorkspaceID
    package let word: Word
    /// Of an ignored or refused one its word; of a planned one what was left out, if anything was.
    package let reason: String?
    package let plan: EventPlan
    /// What each of the plan's notices is sent with, in their order.
    package let requests: [[UInt8]]
}

/// What became of events that were run.
package struct EventRunAnswer: Sendable, Hashable {
    package struct NewJob: Sendable, Hashable {
        package let job: Int64
        package let lane: Int32
    }

    /// Those of ``OutcomeLedger/settle(_:by:_:)`` to `sent`.
    package var settled: [SettleAnswer] = []
    /// Which nobody was told of.
    package var made: [NewJob] = []
}

/// Whatever runs received events. In a world without them there is none.
package protocol EventLedger: AnyObject {
    var isConnected: Bool { get }
    /// The events of these jobs as they are stored, with what their operators said. None for one that is not stored.
    func loadEvents(_ attempts: [EventAttempt], _ done: @escaping LedgerReply<[LoadedEvent]>)
    /// What events are planned with, by workspace: what was asked for, and the rules in force.
    ///
    /// - Parameter known: rules that the caller has; of another revision they are read.
    func knowledge(
        _ needs: [(workspace: WorkspaceID, needs: EventNeeds)],
        rules known: [EventKnowledge.Rules],
        _ done: @escaping LedgerReply<[WorkspaceID: EventKnowledge]>
    )
    /// Commits what follows from events together with the ends of their jobs; what was committed for a job before is not done
    /// again.
    func runEvents(_ runs: [EventRun], by boot: BootID, _ done: @escaping LedgerReply<EventRunAnswer>)
}
