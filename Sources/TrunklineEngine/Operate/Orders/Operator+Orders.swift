internal import PostgresDriver
package import TrunklineCore

/// Orders: as contacts.
extension Operator {
    /// Stores what is said about orders, and gives a verdict for each, in their order. At most 1,000 in one call.
    package func putOrders(
        _ orders: [(id: OrderID, facts: OrderFacts)],
        workspace: WorkspaceID
    ) async throws -> [FactVerdict] {
        if orders.isEmpty { return [] }
        let rows = try await query(
            "select item, verdict, older from trunkline.put_orders($1, $2, $3, $4)",
            RecordRows.parameters(orders.map { ($0.id.value, $0.facts) }, workspace)
        )
        return try RecordRows.verdicts(rows, count: orders.count)
    }

    /// The same for one. Throws the refusal of the rule that needs a clock.
    package func putOrder(
        _ id: OrderID,
        _ facts: OrderFacts,
        workspace: WorkspaceID,
        now: Timestamp
    ) async throws -> FactVerdict {
        try facts.validate(now: now)
        return try await putOrders([(id, facts)], workspace: workspace)[0]
    }

    /// An order of a workspace; nil when nobody said anything about it.
    package func order(_ id: OrderID, workspace: WorkspaceID) async throws -> Order? {
        let rows = try await query(
            "select id, \(RecordRows.columns) from trunkline.orders where workspace = $1 and id = $2",
            [.text(workspace.value), .text(id.value)]
        )
        let orders: [Order] = try RecordRows.records(rows, workspace) { try OrderID($0) }
        return orders.first
    }

    /// The orders of a person, the latest first, and how many there are.
    ///
    /// - Parameter limit: at most so many.
    package func orders(
        of phone: PhoneNumber,
        workspace: WorkspaceID,
        limit: Int
    ) async throws -> (orders: [Order], count: Int) {
        let rows = try await query(
            """
            select id, \(RecordRows.columns), count(*) over () from trunkline.orders where workspace = $1 and phone = $2
            order by (facts ->> 'placedAt') collate "C" desc nulls last, created_at desc, id limit $3
            """,
            [.text(workspace.value), .text(phone.value), .int8(Int64(limit))]
        )
        let orders: [Order] = try RecordRows.records(rows, workspace) { try OrderID($0) }
        return (orders, rows.count > 0 ? Int(rows.int8(0, 5) ?? 0) : 0)
    }
}
