package import TrunklineCore

/// What became of one row of a file of contacts.
package struct ContactRowVerdict: Sendable {
    /// The header is row 1, as a spreadsheet shows it.
    package let row: Int
    /// Why it is no contact, or what became of it.
    package let outcome: Result<FactVerdict, Refusal>
}

/// Takes the contacts of one CSV file into a workspace, in batches, as the bytes come. Good rows go on whatever is wrong with
/// others; the same file again changes nothing, unless a row says no `factAt`: then it is newer than what was said before.
/// For one task.
package final class ContactImport {
    private let install: Operator
    private let workspace: WorkspaceID
    private let country: String?
    private let now: () -> Timestamp
    private let tell: ([ContactRowVerdict]) -> Void
    private var table: MappedTable
    private var open: [(row: Int, contact: Result<(phone: PhoneNumber, facts: ContactFacts), Refusal>)] = []

    /// - Parameters:
    ///   - map: made for ``FieldMap/Target/contact``; nil when the columns are called like the fields.
    ///   - country: the two-letter country that local phone numbers are read in, where a row does not say it.
    ///   - now: the wall clock, for the rule that needs one.
    ///   - tell: gets the verdicts, batch by batch, one per row and in the order of the rows.
    package init(
        map: FieldMap?,
        country: String?,
        into install: Operator,
        workspace: WorkspaceID,
        now: @escaping () -> Timestamp,
        tell: @escaping ([ContactRowVerdict]) -> Void
    ) {
        table = MappedTable(map: map, for: .contact)
        self.install = install
        self.workspace = workspace
        self.country = country
        self.now = now
        self.tell = tell
    }

    /// Takes the next bytes. Throws a `Refusal` for what is no table, a ``FieldMapError`` when map and columns do not fit, and
    /// what the database throws: then the run is over, and what was told stays.
    package func push(_ chunk: [UInt8]) async throws { try await add(table.push(chunk)) }

    /// The file has ended: tells the verdicts that are still out.
    package func finish() async throws {
        try await add(table.finish())
        try await store()
    }

    private func add(_ rows: [MappedTable.Row]) async throws {
        for row in rows {
            let contact = Result { () throws(Refusal) in
                let contact = try row.content.get().contact(country: country)
                try contact.facts.validate(now: now())
                return contact
            }
            open.append((row.number, contact))
            if open.count >= TakeBatch.usualLimit { try await store() }
        }
    }

    private func store() async throws {
        let batch = open
        open = []
        let good = batch.compactMap { try? $0.contact.get() }
        var verdicts = try await install.putContacts(good, workspace: workspace)[...]
        tell(
            batch.map { row, contact in
                ContactRowVerdict(row: row, outcome: contact.map { _ in verdicts.removeFirst() })
            }
        )
    }
}
