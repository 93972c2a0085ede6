internal import PostgresDriver
package import TrunklineCore

/// Contacts: what senders say about people.
///
/// A workspace sees and changes its own only. The newest fact wins, field by field, by the sender's clock; giving the same
/// again changes nothing. Inside ``Operator/transaction(_:)`` these are part of it, and contacts come before orders there, and
/// both before jobs (the order of locks).
extension Operator {
    /// Stores what is said about people, and gives a verdict for each, in their order. At most 1,000 in one call.
    package func putContacts(
        _ contacts: [(phone: PhoneNumber, facts: ContactFacts)],
        workspace: WorkspaceID
    ) async throws -> [FactVerdict] {
        if contacts.isEmpty { return [] }
        let rows = try await query(
            "select item, verdict, older from trunkline.put_contacts($1, $2, $3, $4)",
            RecordRows.parameters(contacts.map { ($0.phone.value, $0.facts) }, workspace)
        )
        return try RecordRows.verdicts(rows, count: contacts.count)
    }

    /// The same for one. Throws the refusal of the rule that needs a clock.
    package func putContact(
        _ phone: PhoneNumber,
        _ facts: ContactFacts,
        workspace: WorkspaceID,
        now: Timestamp
    ) async throws -> FactVerdict {
        try facts.validate(now: now)
        return try await putContacts([(phone, facts)], workspace: workspace)[0]
    }

    /// Whom a workspace knows under a number; nil when nobody said anything about it.
    package func contact(_ phone: PhoneNumber, workspace: WorkspaceID) async throws -> Contact? {
        let rows = try await query(
            "select phone, \(RecordRows.columns) from trunkline.contacts where workspace = $1 and phone = $2",
            [.text(workspace.value), .text(phone.value)]
        )
        let contacts: [Contact] = try RecordRows.records(rows, workspace) { try PhoneNumber($0) }
        return contacts.first
    }
}
