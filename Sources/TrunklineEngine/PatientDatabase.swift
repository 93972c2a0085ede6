internal import PostgresDriver

/// A connection that is made again when it is lost, and statements that are given again when they may succeed: after
/// deadlocks, locks that were not granted, restarts. For statements that may be repeated. For one task at a time.
final class PatientDatabase {
    private static let patience: Duration = .seconds(30)

    /// People's questions may take longer than a server's limit for the statements of the job path.
    static let withoutLimit = [("statement_timeout", "0")]

    private let url: String
    private let applicationName: String
    private let settings: [(String, String)]
    private let silenceLimit: Duration?
    private let clock = ContinuousClock()
    private var open: PostgresSession?

    /// - Parameters:
    ///   - settings: server settings, set for every connection.
    ///   - silenceLimit: see ``PostgresSession/open(url:applicationName:connectTimeout:settings:silenceLimit:)``.
    init(
        url: String,
        applicationName: String,
        settings: [(String, String)] = withoutLimit,
        silenceLimit: Duration? = nil
    ) {
        self.url = url
        self.applicationName = applicationName
        self.settings = settings
        self.silenceLimit = silenceLimit
    }

    func close() async {
        await open?.close()
        open = nil
    }

    func session() async throws -> PostgresSession {
        if let open { return open }
        let session = try await PostgresSession.open(
            url: url,
            applicationName: applicationName,
            settings: settings,
            silenceLimit: silenceLimit
        )
        open = session
        return session
    }

    func perform<R>(_ body: (PostgresSession) async throws -> R) async throws -> R {
        var deadline: ContinuousClock.Instant?
        var tries = 0
        var wasConnected = false
        while true {
            do {
                let session = try await session()
                wasConnected = true
                return try await body(session)
            } catch let error as PostgresError where error.isRetriable && (wasConnected || error.code != .cannotConnect)
            {
                if error.isConnectionLost { await close() }
                let limit = deadline ?? clock.now + Self.patience
                deadline = limit
                tries += 1
                // Full jitter: two that deadlocked must not meet again at the same moment.
                let pause = Duration.milliseconds(Int.random(in: 1...min(1_000, 20 << min(tries, 6))))
                guard clock.now + pause < limit else { throw error }
                try await clock.sleep(for: pause)
            }
        }
    }
}
