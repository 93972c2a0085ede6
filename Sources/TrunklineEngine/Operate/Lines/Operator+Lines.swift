package import TrunklineCore

/// Lines: lanes to WhatsApp numbers.
extension Operator {
    // MARK: Looking

    /// A line, also a removed one. Throws ``LaneError/unknown(_:)``.
    package func line(_ id: LineID) async throws -> Line { Line(id, try await lane(.line(id))) }

    /// All lines in order of their ids, of one workspace or of all.
    package func allLines(workspace: WorkspaceID? = nil, withRemoved: Bool = false) async throws -> [Line] {
        try await allLanes("line:", workspace: workspace, withRemoved: withRemoved).compactMap { record in
            record.name.line.map { Line($0, record) }
        }
    }

    // MARK: Changing

    /// Makes a line; one that was removed from the same workspace comes back. Throws ``LaneError`` when the id is taken.
    package func addLine(
        _ id: LineID,
        workspace: WorkspaceID,
        carrier: any Carrier,
        baseURL: CarrierAddress,
        token: LaneSecret,
        pace: Pace,
        dailyCap: DailyCap = .unlimited,
        timeZone: String = "UTC"
    ) async throws -> Line {
        let new = NewLane(
            workspace: workspace,
            carrier: carrier.kind,
            address: baseURL,
            secret: token,
            pace: pace,
            dailyCap: dailyCap,
            timeZone: timeZone,
            policy: carrier.policy
        )
        return Line(id, try await addLane(.line(id), new))
    }

    /// Changes a line; workers follow within a second. A new host needs the token again.
    package func changeLine(_ id: LineID, _ changes: LineChanges) async throws -> Line {
        Line(id, try await changeLane(.line(id), changes.ofLane, usual: .standard))
    }

    /// Holds a line: from now on no send of it begins; its jobs wait. Replaces an earlier hold.
    ///
    /// - Parameter until: nil until it is resumed; in the future, at most a year.
    package func holdLine(_ id: LineID, reason: String, until: Timestamp?) async throws -> Line {
        Line(id, try await holdLane(.line(id), reason: reason, until: until))
    }

    /// Ends the operator's hold, and makes the probe of a closed gate due. The gate stays what it is until it is asked.
    package func resumeLine(_ id: LineID) async throws -> Line { Line(id, try await resumeLane(.line(id))) }

    /// Removes a line that has no unfinished jobs: it accepts no more. Its id, its keys and its finished jobs stay.
    package func removeLine(_ id: LineID) async throws -> Line { Line(id, try await removeLane(.line(id))) }
}
