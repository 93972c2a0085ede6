extension SourceFact {
    package struct Order: Sendable, Hashable {
        package let record: Record
        package let moment: OrderMoment
        /// What customers know it by: `#1042`.
        package let number: String?
        /// The sender's own word for its state.
        package let state: String?
        /// The sender's own word for its payment.
        package let payment: String?
        package let person: Person
        package let total: Money?
        package let items: [Item]
        package let shipment: Shipment?
        /// Where it is picked up, for people.
        package let pickupPlace: String?
        package let links: [Link]
        package let details: [String: String]

        package init(
            record: Record,
            moment: OrderMoment,
            number: String? = nil,
            state: String? = nil,
            payment: String? = nil,
            person: Person = Person(),
            total: Money? = nil,
            items: [Item] = [],
            shipment: Shipment? = nil,
            pickupPlace: String? = nil,
            links: [Link] = [],
            details: [String: String] = [:]
        ) {
            self.record = record
            self.moment = moment
            self.number = number
            self.state = state
            self.payment = payment
            self.person = person
            self.total = total
            self.items = items
            self.shipment = shipment
            self.pickupPlace = pickupPlace
            self.links = links
            self.details = details
        }
    }

    /// A parcel.
    package struct Shipment: Sendable, Hashable {
        /// The sender's id of it; the tracking number where it has none.
        package let id: String?
        package let company: String?
        package let trackingNumber: String?
        package let trackingURL: String?
        /// By the sender's own word.
        package let expectedAt: Timestamp?

        package init(
            id: String?,
            company: String? = nil,
            trackingNumber: String? = nil,
            trackingURL: String? = nil,
            expectedAt: Timestamp? = nil
        ) {
            self.id = id
            self.company = company
            self.trackingNumber = trackingNumber
            self.trackingURL = trackingURL
            self.expectedAt = expectedAt
        }
    }

    /// What happened to an order. Each that a customer may be told about once has its own key; a revision stands in it only
    /// where a repeat is a new message.
    package enum OrderMoment: Sendable, Hashable {
        case confirmed
        case paid
        /// `place`: where the sender says which of several, its id of it.
        case ready(place: String?)
        /// `shipment`: nil where the sender tells parcels apart by nothing.
        case shipped(shipment: String?)
        /// A parcel has a number that it did not have; only news if it differs from the one that was told.
        case trackingChanged(shipment: String, number: String)
        case outForDelivery(shipment: String?)
        case delivered(shipment: String?)
        /// Another day, another place, a failed try: `what` is the sender's own word.
        case deliveryChanged(what: String, shipment: String?)
        case cancelled
        /// `refund`: nil where the sender tells refunds apart by nothing.
        case refunded(refund: String?)
        case invoiced(at: Timestamp?)
        /// A state of the sender's own, by its word.
        case reached(status: String)
        /// Something about it is new, and no notice is about that.
        case changed
        /// It is gone at the sender: nothing more is to be said about it.
        case removed

        /// The word in keys and rules.
        package var word: String {
            switch self {
            case .confirmed: "confirmed"
            case .paid: "paid"
            case .ready: "ready"
            case .shipped: "shipped"
            case .trackingChanged: "tracking"
            case .outForDelivery: "out_for_delivery"
            case .delivered: "delivered"
            case .deliveryChanged: "delivery-changed"
            case .cancelled: "cancelled"
            case .refunded: "refunded"
            case .invoiced: "invoice"
            case .reached(let status): "status-" + status
            case .changed: "changed"
            case .removed: "removed"
            }
        }
    }
}
