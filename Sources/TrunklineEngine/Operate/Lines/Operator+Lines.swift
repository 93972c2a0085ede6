package import TrunklineCore
package import TrunklineIntegrations

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

    /// A line's token in the clear: for the call that needs it, never for showing.
    ///
    /// - Parameter ownFiles: paths of the program's own secrets, which no reference may name.
    /// - Returns: the only address that it may be sent to, and the token.
    package func access(
        to id: LineID,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> (base: EZWhatsApp.BaseURL, token: EZWhatsApp.Token) {
        let (address, secret) = try await access(toLane: .line(id), masterKey: masterKey, ownFiles: ownFiles)
        return (try EZWhatsApp.BaseURL(address), try EZWhatsApp.Token(String(decoding: secret, as: UTF8.self)))
    }

    // MARK: Changing

    /// Makes a line; one that was removed from the same workspace comes back. Throws ``LaneError`` when the id is taken.
    package func addLine(
        _ id: LineID,
        workspace: WorkspaceID,
        baseURL: EZWhatsApp.BaseURL,
        token: LaneSecret,
        pace: Pace,
        dailyCap: DailyCap = .unlimited,
        timeZone: String = "UTC"
    ) async throws -> Line {
        let carrier = EZWhatsAppCarrier()
        let new = NewLane(
            workspace: workspace,
            carrier: carrier.kind,
            address: CarrierAddress(baseURL),
            secret: token,
            pace: pace,
            dailyCap: dailyCap,
            timeZone: timeZone,
            unknownHorizon: carrier.policy.unknownHorizon
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
