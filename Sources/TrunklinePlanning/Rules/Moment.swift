package import TrunklineCore

/// What happened, as rules name it (`when`). The raw value is the word in `trunkline.yaml` and in the tags of notices.
package enum Moment: String, Sendable, Hashable, CaseIterable {
    case orderConfirmed = "order.confirmed"
    case orderPaid = "order.paid"
    case orderReady = "order.ready"
    case orderShipped = "order.shipped"
    case orderTrackingChanged = "order.tracking_changed"
    case orderOutForDelivery = "order.out_for_delivery"
    case orderDelivered = "order.delivered"
    case orderDeliveryChanged = "order.delivery_changed"
    case orderCancelled = "order.cancelled"
    case orderRefunded = "order.refunded"
    /// A state of the sender's own: `if: {status: …}` says which.
    case orderStatus = "order.status"
    case invoiceIssued = "invoice.issued"
    case leadCreated = "lead.created"
    case appointmentBooked = "appointment.booked"
    case appointmentMoved = "appointment.moved"
    case appointmentCancelled = "appointment.cancelled"
    /// With `before`, planned when an appointment is booked or moved; without, when the sender says that the time has come.
    case appointmentReminder = "appointment.reminder"

    package enum Kind: String, Sendable, Hashable { case order, lead, appointment }

    package var kind: Kind {
        switch self {
        case .leadCreated: .lead
        case .appointmentBooked, .appointmentMoved, .appointmentCancelled, .appointmentReminder: .appointment
        default: .order
        }
    }

    /// Of a notice whose rule names none.
    var purpose: Purpose {
        switch self {
        case .orderConfirmed, .orderPaid, .orderCancelled, .orderRefunded, .orderStatus: .order
        case .orderReady: .pickup
        case .orderShipped, .orderTrackingChanged, .orderOutForDelivery, .orderDelivered, .orderDeliveryChanged:
            .delivery
        case .invoiceIssued: .invoice
        case .leadCreated: .firstTouch
        case .appointmentBooked, .appointmentMoved, .appointmentCancelled: .appointment
        case .appointmentReminder: .reminder
        }
    }

    /// How long after the fact a notice of it is still worth sending, where its rule does not say it. Notices about an
    /// appointment are also worthless from its start on.
    var lifetime: Duration {
        switch self {
        case .orderOutForDelivery: .seconds(12 * 3_600)
        case .orderConfirmed, .orderPaid, .orderDeliveryChanged, .leadCreated: .seconds(86_400)
        case .orderShipped, .orderTrackingChanged, .orderDelivered, .orderStatus: .seconds(2 * 86_400)
        case .orderReady, .orderCancelled, .orderRefunded, .invoiceIssued: .seconds(7 * 86_400)
        case .appointmentBooked, .appointmentMoved, .appointmentCancelled, .appointmentReminder: .seconds(7 * 86_400)
        }
    }

    /// How far an order has come: what says less than what was told already is no news. Nil for what stands beside that.
    var stage: Int? {
        switch self {
        case .orderConfirmed: 0
        case .orderPaid: 1
        case .orderReady, .orderShipped, .orderTrackingChanged: 2
        case .orderOutForDelivery: 3
        case .orderDelivered: 4
        case .orderCancelled: 5
        default: nil
        }
    }

    /// Whether an order's notice is about one parcel, and no other parcel's notice replaces it.
    var isOfParcel: Bool {
        switch self {
        case .orderShipped, .orderTrackingChanged, .orderOutForDelivery, .orderDelivered, .orderDeliveryChanged: true
        default: false
        }
    }

    /// The end of keys of this moment behind the order, as a pattern: what an order that is cancelled cancels. Nil for what
    /// stays true: money that was given back, an invoice.
    var cancelledWithOrder: String? {
        switch self {
        case .orderConfirmed: "confirmed*"
        case .orderPaid: "paid*"
        case .orderReady: "ready*"
        case .orderShipped: "shipped*"
        case .orderTrackingChanged: "tracking*"
        case .orderOutForDelivery: "out_for_delivery*"
        case .orderDelivered: "delivered*"
        case .orderDeliveryChanged: "delivery-changed*"
        case .orderStatus: "status-*"
        default: nil
        }
    }

    /// The moment of a fact; nil for one that no notice is about.
    package init?(_ fact: SourceFact) {
        switch fact {
        case .order(let order):
            switch order.moment {
            case .confirmed: self = .orderConfirmed
            case .paid: self = .orderPaid
            case .ready: self = .orderReady
            case .shipped: self = .orderShipped
            case .trackingChanged: self = .orderTrackingChanged
            case .outForDelivery: self = .orderOutForDelivery
            case .delivered: self = .orderDelivered
            case .deliveryChanged: self = .orderDeliveryChanged
            case .cancelled: self = .orderCancelled
            case .refunded: self = .orderRefunded
            case .invoiced: self = .invoiceIssued
            case .reached: self = .orderStatus
            case .changed, .removed: return nil
            }
        case .contact: return nil
        case .lead: self = .leadCreated
        case .appointment(let appointment):
            switch appointment.moment {
            case .booked: self = .appointmentBooked
            case .moved: self = .appointmentMoved
            case .cancelled: self = .appointmentCancelled
            case .reminder: self = .appointmentReminder
            }
        }
    }
}
