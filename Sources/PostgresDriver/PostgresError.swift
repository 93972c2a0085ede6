/// What went wrong with a connection or a statement. Every field is safe to log.
package struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of failure.
    package enum Code: String, Sendable, Hashable {
        /// There was no connection when the statement was given; it was never sent.
        case notConnected
        /// The connection ended before the statement's end was read. ``PostgresError/outcomeUnknown`` says whether the
        /// statement may have been carried out.
        case connectionLost
        /// The server refused the statement; ``PostgresError/sqlState`` says why. Nothing of it was committed.
        case server
        /// The server answered something that this driver cannot go on after; the connection was dropped.
        case protocolViolation
        /// A connection could not be made.
        case cannotConnect
        /// The database URL cannot be read; nothing was tried.
        case invalidURL
        /// A parameter that PostgreSQL cannot store (text with a NUL, too many bytes); the statement was never sent.
        case invalidParameter
    }

    package var code: Code
    /// The five characters of PostgreSQL's error code, where the server gave one.
    package var sqlState: String?
    /// The violated constraint's name, where the server gave one.
    package var constraint: String?
    /// The server's primary message, or ours. Never DETAIL, HINT or CONTEXT, which hold customers' values; and quoted
    /// values of data errors (class 22) are blotted out.
    package var message: String
    /// Where in the SQL the server found the error: characters, counted from 1.
    package var position: Int?
    /// The statement's bytes may have reached the server and its end was not read: it may have been committed or not, and
    /// only the database can tell. False when it was surely never sent, and when the server said that it failed.
    package var outcomeUnknown: Bool

    package init(
        code: Code,
        sqlState: String? = nil,
        constraint: String? = nil,
        message: String,
        position: Int? = nil,
        outcomeUnknown: Bool = false
    ) {
        self.code = code
        self.sqlState = sqlState
        self.constraint = constraint
        self.message = message
        self.position = position
        self.outcomeUnknown = outcomeUnknown
    }

    /// The connection was or is gone, as opposed to: the server refused this statement.
    package var isConnectionLost: Bool { code == .connectionLost || code == .notConnected }

    /// It waited too long for somebody's lock, or met another that waited for it: the same again may succeed.
    package var isLockFault: Bool { isRetriable || sqlState == "55P03" || sqlState == "57014" }

    /// The same statement may succeed later although nobody changed it, the data or the configuration. Says nothing about
    /// whether repeating is safe: see ``outcomeUnknown``.
    package var isRetriable: Bool {
        switch code {
        case .notConnected, .connectionLost: return true
        case .protocolViolation, .invalidParameter, .invalidURL: return false
        case .cannotConnect, .server:
            guard let sqlState else { return code == .cannotConnect }
            switch sqlState.prefix(2) {
            // 08 connection, 40 serialization and deadlock, 53 resources, 57 operator intervention (shutdown, cancel,
            // start-up), 58 system errors of the server.
            case "08", "40", "53", "57", "58": return true
            default:
                // A lock that was not granted; a server that is (still) a standby.
                return sqlState == "55P03" || sqlState == "25006"
            }
        }
    }

    package var description: String {
        var text = "PostgreSQL \(code.rawValue)"
        if let sqlState { text += " \(sqlState)" }
        if let constraint { text += " (\(constraint))" }
        text += ": \(message)"
        if outcomeUnknown { text += " [outcome unknown]" }
        return text
    }
}
