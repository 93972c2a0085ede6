/// Something that happened at a sender, in the words that planning reads. Closed: what a notice can be about is here or nowhere.
///
/// Texts are the sender's, cleaned of blanks only; absent is nil, never empty. Holds customers' data: its description shows none.
package enum SourceFact: Sendable, Hashable {
    case order(Order)
    case contact(Contact)
    case lead(Lead)
    case appointment(Appointment)

    package var record: Record {
        switch self {
        case .order(let order): order.record
        case .contact(let contact): contact.record
        case .lead(let lead): lead.record
        case .appointment(let appointment): appointment.record
        }
    }

    package var person: Person {
        switch self {
        case .order(let order): order.person
        case .contact(let contact): contact.person
        case .lead(let lead): lead.person
        case .appointment(let appointment): appointment.person
        }
    }
}

extension SourceFact: CustomStringConvertible, CustomReflectable {
    /// The kind and the moment: safe to log.
    package var description: String {
        switch self {
        case .order(let order): "order \(order.moment.word)"
        case .contact: "contact"
        case .lead: "lead"
        case .appointment(let appointment): "appointment \(appointment.moment.rawValue)"
        }
    }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension SourceFact {
    /// Which record of the sender a fact is about, and as of when.
    package struct Record: Sendable, Hashable {
        /// The sender's id, as text: a number is never read as one.
        package let id: String
        /// When it happened by the sender's own clock: of two facts about one record the later one holds. Nil where the sender
        /// does not say; then the time of receipt is the best there is.
        package let at: Timestamp?
        /// The sender's version of the record, where it has one.
        package let version: String?
        /// When the record was made, where the sender says it: an old record is no news.
        package let createdAt: Timestamp?

        package init(id: String, at: Timestamp?, version: String? = nil, createdAt: Timestamp? = nil) {
            self.id = id
            self.at = at
            self.version = version
            self.createdAt = createdAt
        }
    }

    /// Whom a fact is about.
    package struct Person: Sendable, Hashable {
        package let name: String?
        package let firstName: String?
        /// As they were given, the one to try first in front: none of them is known to be a number.
        package let phones: [String]
        /// The country of the record, two capital letters: what makes a national number readable.
        package let country: String?
        /// As the sender has it: `es-ES`, `es`.
        package let language: String?

        package init(
            name: String? = nil,
            firstName: String? = nil,
            phones: [String] = [],
            country: String? = nil,
            language: String? = nil
        ) {
            self.name = name
            self.firstName = firstName
            var seen: Set<String> = []
            self.phones = phones.filter { seen.insert($0).inserted }
            self.country = country.flatMap(Self.countryCode)
            self.language = language
        }

        private static func countryCode(_ text: String) -> String? {
            let upper = text.uppercased()
            guard upper.utf8.count == 2, upper.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else { return nil }
            return upper
        }
    }

    /// An exact amount, as orders are kept with it.
    package typealias Money = OrderFacts.Amount

    /// Addresses that a notice may lead to.
    package struct Link: Sendable, Hashable {
        package enum Kind: String, Sendable, Hashable, CaseIterable {
            case status, payment, invoice, tracking, cancel, reschedule, meeting, record
        }

        package let kind: Kind
        package let url: String

        package init(_ kind: Kind, _ url: String) {
            self.kind = kind
            self.url = url
        }
    }

    package struct Item: Sendable, Hashable {
        package let title: String
        /// As the sender writes it.
        package let quantity: String?

        package init(title: String, quantity: String?) {
            self.title = title
            self.quantity = quantity
        }
    }
}

extension SourceFact {
    /// A person that a sender knows.
    package struct Contact: Sendable, Hashable {
        package let record: Record
        package let person: Person
        /// What else the sender says, by its own names.
        package let details: [String: String]

        package init(record: Record, person: Person, details: [String: String] = [:]) {
            self.record = record
            self.person = person
            self.details = details
        }
    }

    /// A person who asked to be written to: the first touch.
    package struct Lead: Sendable, Hashable {
        package let record: Record
        package let person: Person
        /// The sender's word for where it comes from: a form, a campaign, `checkout`.
        package let origin: String?
        package let details: [String: String]

        package init(record: Record, person: Person, origin: String? = nil, details: [String: String] = [:]) {
            self.record = record
            self.person = person
            self.origin = origin
            self.details = details
        }
    }

    package struct Appointment: Sendable, Hashable {
        /// The raw value is the word in keys.
        package enum Moment: String, Sendable, Hashable, CaseIterable {
            case booked, moved, cancelled
            /// The sender keeps the time itself, and says that it has come.
            case reminder
        }

        package let record: Record
        package let moment: Moment
        package let person: Person
        /// Nil only where a cancelled one does not say it.
        package let start: Timestamp?
        package let end: Timestamp?
        /// The zone in which people read the start (IANA).
        package let timeZone: String?
        /// The id that a moved one had before, where the sender gives a new one: its reminders are that one's.
        package let previousID: String?
        package let title: String?
        package let place: String?
        package let staff: String?
        package let links: [Link]
        package let details: [String: String]

        package init(
            record: Record,
            moment: Moment,
            person: Person,
            start: Timestamp?,
            end: Timestamp? = nil,
            timeZone: String? = nil,
            previousID: String? = nil,
            title: String? = nil,
            place: String? = nil,
            staff: String? = nil,
            links: [Link] = [],
            details: [String: String] = [:]
        ) {
            self.record = record
            self.moment = moment
            self.person = person
            self.start = start
            self.end = end
            self.timeZone = timeZone
            self.previousID = previousID
            self.title = title
            self.place = place
            self.staff = staff
            self.links = links
            self.details = details
        }
    }
}

extension OrderFacts.Amount {
    /// Nil for what is not an amount or a currency: senders are not told, and an amount with an exponent is not read.
    package init?(amount: String, currency: String) {
        guard let amount = try? Self(amount: amount, currency: currency.uppercased(), field: "total") else {
            return nil
        }
        self = amount
    }
}
