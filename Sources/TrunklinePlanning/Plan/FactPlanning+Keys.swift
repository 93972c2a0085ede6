internal import TrunklineCore

extension FactPlanning {
    /// The fact's own key, and what the rule puts behind it; nil for a fact that has none.
    func key(_ rule: NoticeRule) throws(Refusal) -> IdempotencyKey? {
        let own: IdempotencyKey?
        if let before = rule.before, case .appointment(let appointment) = fact {
            own = try appointment.reminderKey(from: source.id, offset: before.description)
        } else {
            own = try fact.key(from: source.id)
        }
        guard let key = try own.map({ own throws(Refusal) in try own.extended(rule.keySuffix) }) else { return nil }
        // Moved and moved back: the reminder of that start was cancelled, and is due again.
        let isBack = known.notices.contains { $0.key == key && $0.isCancelled && $0.factAt < factAt }
        guard isBack, rule.moment == .appointmentReminder else { return key }
        let moment = factAt.rfc3339.prefix { $0 != "." && $0 != "Z" }.filter { $0 != "-" && $0 != ":" }
        return try key.extended(":" + moment + "Z")
    }

    /// The thing of which only the newest notice counts. Parcels, refunds and invoices stand beside each other: one of them
    /// never replaces another one.
    func supersedeKey(_ rule: NoticeRule, _ key: IdempotencyKey) -> String? {
        switch rule.moment {
        case .orderRefunded, .invoiceIssued, .orderDeliveryChanged, .leadCreated: return nil
        case .orderShipped, .orderTrackingChanged, .orderOutForDelivery, .orderDelivered:
            guard let parcel else { return nil }
            return subject + ":parcel:" + Digest.hex(Digest.sha256(parcel.utf8).prefix(8)) + rule.keySuffix.hashed
        default: return subject + rule.keySuffix.hashed
        }
    }

    /// What tells the fact's parcel from the order's others; nil where nothing does.
    private var parcel: String? {
        guard case .order(let order) = fact else { return nil }
        switch order.moment {
        case .shipped(let id), .outForDelivery(let id), .delivered(let id): return id
        case .trackingChanged(let id, _): return id
        default: return nil
        }
    }

    /// By the sender's own words, here or in what is known of the order.
    private func isWhollyRefunded(_ order: SourceFact.Order) -> Bool {
        var words = [order.state, order.payment]
        if case .order(let known) = known.record { words += [known.state, known.payment] }
        return words.contains { $0?.lowercased() == "refunded" }
    }

    // MARK: What the fact ends

    /// The notices planned earlier that are not to be sent any more; nil when the fact ends none.
    func cancellations(keeping keys: [IdempotencyKey]) -> [Plan.Cancellation]? {
        guard stale == nil else { return nil }
        switch fact {
        case .order(let order):
            switch order.moment {
            case .cancelled: return [ended(order, "the order was cancelled", keys)]
            // Of a part that was given back the rest still comes, and most senders do not say which of the two it was.
            case .refunded where isWhollyRefunded(order): return [ended(order, "the order was refunded", keys)]
            case .removed:
                return [cancellation(subject, [subject + ":*"], keys, "the order is gone at its sender") { _ in true }]
            default: return nil
            }
        case .appointment(let appointment):
            switch appointment.moment {
            case .booked:
                return appointment.previousID == nil ? nil : [moved(appointment, keys)].compactMap { $0 }
            case .moved:
                let own = cancellation(subject, [subject + ":*"], keys, "the appointment was moved") { _ in true }
                return [own] + [moved(appointment, keys)].compactMap { $0 }
            case .cancelled:
                return [cancellation(subject, [subject + ":*"], keys, "the appointment was cancelled") { _ in true }]
            case .reminder: return nil
            }
        case .contact, .lead: return nil
        }
    }

    private func ended(_ order: SourceFact.Order, _ reason: String, _ keys: [IdempotencyKey]) -> Plan.Cancellation {
        let ends = Moment.allCases.compactMap(\.cancelledWithOrder)
        return cancellation(subject, ends.map { subject + ":" + $0 }, keys, reason) { $0.cancelledWithOrder != nil }
    }

    /// Those of the appointment that this one stands for, where its sender gives a moved one a new id.
    private func moved(_ appointment: SourceFact.Appointment, _ keys: [IdempotencyKey]) -> Plan.Cancellation? {
        guard let id = appointment.previousID, id != appointment.record.id else { return nil }
        let before = SourceFact.appointment(
            .init(record: .init(id: id, at: nil), moment: .moved, person: appointment.person, start: nil)
        ).subject(from: source.id)
        return cancellation(before, [before + ":*"], keys, "the appointment was moved") { _ in true }
    }

    private func cancellation(
        _ subject: String,
        _ patterns: [String],
        _ keeping: [IdempotencyKey],
        _ reason: String,
        _ isMeant: (Moment) -> Bool
    ) -> Plan.Cancellation {
        let waiting = known.notices.filter { notice in
            notice.subject == subject && notice.isWaiting && isMeant(notice.moment) && notice.factAt <= factAt
                && !keeping.contains(notice.key)
        }
        return Plan.Cancellation(
            subject: subject,
            patterns: patterns,
            keys: waiting.map(\.key).sorted { $0.value < $1.value },
            keeping: keeping,
            factAt: factAt,
            reason: reason
        )
    }
}

extension IdempotencyKey {
    /// With something behind it; what is too long becomes the digest of itself behind its first word, never shorter.
    fileprivate func extended(_ suffix: String) throws(Refusal) -> IdempotencyKey {
        let text = value + suffix
        guard text.utf8.count > 128 else { return try IdempotencyKey(text) }
        let word = value.prefix { $0 != ":" }
        return try IdempotencyKey(word + ":" + Digest.hex(Digest.sha256(text.utf8)))
    }
}

extension String {
    /// Two rules for one fact send two notices, of which neither replaces the other.
    fileprivate var hashed: String { isEmpty ? "" : ":" + Digest.hex(Digest.sha256(utf8).prefix(4)) }
}
