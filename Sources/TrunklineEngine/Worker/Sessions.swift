internal import Logging
internal import PostgresDriver

/// The three sessions of the database: whether all that work needs are there, and whether one of them is only silent.
final class Sessions {
    /// A session that has not answered for that long is asked about.
    private static let patience: Duration = .seconds(5)

    private let here: Surroundings
    private let control: any FleetLedger
    private let intake: any JobLedger
    private let settler: any OutcomeLedger
    private var backends: [ObjectIdentifier: PostgresBackend] = [:]
    /// Why the database cannot be used.
    private var absence = Absence()
    /// Since when a session is missing that taking or settling needs.
    private var incompleteSince: Instant?
    /// How often in a row the server said of a session that it waits for us while we wait for it.
    private var frozen: [ObjectIdentifier: Int] = [:]

    init(_ here: Surroundings, _ ports: WorkerPorts) {
        self.here = here
        control = ports.control
        intake = ports.intake
        settler = ports.settler
    }

    /// Whether taking and settling have theirs.
    var areComplete: Bool { intake.isConnected && settler.isConnected }

    /// What others may have to end when this worker falls silent.
    var known: [PostgresBackend] { backends.values.sorted { $0.pid < $1.pid } }

    // MARK: Coming and going

    func connect() {
        for session in [control, intake, settler] as [any LedgerSession] {
            session.onConnectFailure = { [weak self] error in self?.failed(error) }
        }
        control.connect()
        intake.connect()
        settler.connect()
    }

    func connected(_ session: any LedgerSession, _ backend: PostgresBackend) {
        backends[ObjectIdentifier(session)] = backend
    }

    func lost(_ session: any LedgerSession, called name: String, _ error: PostgresError) {
        here.log.warning("database connection lost", metadata: ["connection": "\(name)", "error": "\(error)"])
        backends[ObjectIdentifier(session)] = nil
    }

    func close() {
        control.close()
        intake.close()
        settler.close()
    }

    // MARK: Absence

    /// A try to connect failed. Said once per state: a full connection table lasts for minutes.
    private func failed(_ error: PostgresError) {
        if absence.began(error) {
            here.log.warning("the database cannot be used; waiting for it", metadata: ["error": "\(error)"])
        }
    }

    /// A heartbeat was written: nothing is missing any more, if all sessions are there.
    func databaseAnswered() {
        guard areComplete else { return }
        if absence.ended() { here.log.notice("the database can be used again") }
    }

    /// Whether a session has been missing for too long that taking or settling needs, for example because the server has no
    /// connection free. Such a worker must not go on renewing: its shards belong to those that can work.
    func areLacking(at now: Instant) -> Bool {
        guard !areComplete else {
            incompleteSince = nil
            return false
        }
        let since = incompleteSince ?? now
        incompleteSince = since
        return now - since > here.timing.actingLimit
    }

    // MARK: Silence

    /// libpq waits for ever on a wire that is frozen. A session that has answered nothing for a while is looked at through
    /// the one that renews: when the server says twice that it waits for us, while we wait for it, the wire between is dead.
    /// A statement that really takes long is left alone.
    func lookAtSilentOnes(mayAct: Bool, at now: Instant) {
        for (name, session) in [("intake", intake), ("settle", settler)] as [(String, any LedgerSession)] {
            let id = ObjectIdentifier(session)
            guard let since = session.silentSince, now - since > Self.patience, let backend = backends[id] else {
                frozen[id] = nil
                continue
            }
            guard control.isConnected, mayAct else { continue }
            control.waitsForUs(backend) { [weak self] result in
                guard let self, case .success(let waits) = result, session.silentSince == since else { return }
                let times = waits ?? true ? (frozen[id] ?? 0) + 1 : 0
                frozen[id] = times
                guard times >= 2 else { return }
                frozen[id] = nil
                session.drop("the \(name) session answers nothing, and the server waits for it")
            }
        }
    }
}
