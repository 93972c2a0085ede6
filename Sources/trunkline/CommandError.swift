internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore
internal import TrunklineEngine

/// Why a command ends otherwise than well: a sentence for a person and the exit code for a script.
struct CommandError: Error, Sendable, CustomStringConvertible {
    /// Exit codes are an interface (README): scripts decide by them.
    enum Exit: Int32, Sendable {
        /// Something failed.
        case failed = 1
        /// The command was not called rightly, or its configuration is not usable.
        case usage = 2
        /// Refused by a rule: validation, policy, or a state that does not allow it.
        case refused = 3
        /// Broker or database cannot be reached.
        case unreachable = 4
    }

    let exit: Exit
    /// One sentence without a secret or a customer's data. Empty: the command has said all already.
    let message: String

    init(_ exit: Exit, _ message: String) {
        self.exit = exit
        self.message = message
    }

    /// Ends the command with `exit` and says nothing more.
    static func silent(_ exit: Exit) -> CommandError { CommandError(exit, "") }

    var description: String { message }

    /// Any error of Trunkline's own modules as what the command says and exits with.
    init(_ error: any Error) {
        switch error {
        case let error as CommandError: self = error
        case let error as Refusal: self.init(.refused, error.reason)
        case let error as PostgresError where error.code == .invalidURL: self.init(.usage, error.message)
        case let error as PostgresError:
            let isAway = error.isConnectionLost || error.code == .cannotConnect
            self.init(
                isAway ? .unreachable : .failed,
                "database: \(error.message)" + (error.sqlState.map { " (\($0))" } ?? "")
            )
        case let error as RabbitError:
            let configuration = error.code == .invalidConfiguration
            let isAway = error.isConnectionLost || [.tlsRefused, .loginRefused, .timedOut].contains(error.code)
            self.init(configuration ? .usage : isAway ? .unreachable : .failed, "broker: \(error.message)")
        case let error as any ExplainedError:
            self.init(error.isRefusal ? .refused : .failed, error.description)
        default: self.init(.failed, String(describing: error))
        }
    }
}
