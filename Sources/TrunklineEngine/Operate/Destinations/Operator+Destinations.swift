package import TrunklineCore

/// Destinations: lanes to clients' systems.
extension Operator {
    // MARK: Looking

    /// A destination, also a removed one. Throws ``LaneError/unknown(_:)``.
    package func destination(_ id: DestinationID) async throws -> Destination {
        Destination(id, try await lane(.destination(id)))
    }

    /// All destinations in order of their ids, of one workspace or of all.
    package func allDestinations(workspace: WorkspaceID? = nil, withRemoved: Bool = false) async throws -> [Destination]
    {
        try await allLanes("destination:", workspace: workspace, withRemoved: withRemoved).compactMap { record in
            record.name.destination.map { Destination($0, record) }
        }
    }

    // MARK: Changing

    /// Makes a destination; one that was removed from the same workspace comes back. Pace and horizon are its carrier's unless
    /// the operator said otherwise.
    ///
    /// Throws ``LaneError`` when the id is taken, and the carrier's refusal of an address.
    ///
    /// - Parameter mayBePrivate: whether the address may be in a private network.
    package func addDestination(
        _ id: DestinationID,
        workspace: WorkspaceID,
        carrier: any Carrier,
        url: String,
        mayBePrivate: Bool = false,
        secret: LaneSecret,
        pace: PaceChange = PaceChange(),
        dailyCap: DailyCap = .unlimited,
        timeZone: String = "UTC"
    ) async throws -> Destination {
        let usual = carrier.policy.pace
        let new = NewLane(
            workspace: workspace,
            carrier: carrier.kind,
            address: try carrier.address(url, mayBePrivate: mayBePrivate),
            secret: secret,
            pace: try pace.applied(to: usual, usual: usual),
            dailyCap: dailyCap,
            timeZone: timeZone,
            policy: carrier.policy
        )
        return Destination(id, try await addLane(.destination(id), new))
    }

    /// Changes a destination; workers follow within a second. A new host needs the secret again.
    ///
    /// - Parameter carriers: those that this program knows.
    package func changeDestination(
        _ id: DestinationID,
        _ changes: DestinationChanges,
        carriers: [any Carrier]
    ) async throws -> Destination {
        let name = LaneName.destination(id)
        let kind = try await lane(name).carrier
        guard let carrier = carriers.first(where: { $0.kind.value == kind }) else {
            throw LaneError.kindUnknownHere(name, kind: kind)
        }
        let ofLane = LaneChanges(
            address: try changes.url.map { try carrier.address($0, mayBePrivate: changes.mayBePrivate) },
            secret: changes.secret,
            pace: changes.pace,
            dailyCap: changes.dailyCap,
            timeZone: changes.timeZone
        )
        return Destination(id, try await changeLane(name, ofLane, usual: carrier.policy.pace))
    }

    /// Holds a destination: from now on no delivery to it begins; its jobs wait. Replaces an earlier hold.
    ///
    /// - Parameter until: nil until it is resumed; in the future, at most a year.
    package func holdDestination(_ id: DestinationID, reason: String, until: Timestamp?) async throws -> Destination {
        Destination(id, try await holdLane(.destination(id), reason: reason, until: until))
    }

    /// Ends the operator's hold, and makes the probe of a closed gate due. The gate stays what it is until it is asked.
    package func resumeDestination(_ id: DestinationID) async throws -> Destination {
        Destination(id, try await resumeLane(.destination(id)))
    }

    /// Removes a destination that has no unfinished jobs: it accepts no more. Its id, its keys and its finished jobs stay.
    package func removeDestination(_ id: DestinationID) async throws -> Destination {
        Destination(id, try await removeLane(.destination(id)))
    }
}
