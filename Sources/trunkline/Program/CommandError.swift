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
        if let error = error as? CommandError {
            self = error
            return
        }
        let explanation = Explanation(error)
        let exit: Exit =
            switch explanation.kind {
            case .failed: .failed
            case .usage: .usage
            case .refused: .refused
            case .unreachable: .unreachable
            }
        self.init(exit, explanation.words)
    }
}
