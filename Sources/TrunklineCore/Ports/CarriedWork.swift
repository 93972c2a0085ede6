/// What a carrier is given to render.
package enum CarriedWork: Sendable {
    /// A notice to a person, on a line's lane.
    case send(SendJob)
    /// An event for a client's system, on a destination's lane.
    case deliver(DeliverJob)
}
