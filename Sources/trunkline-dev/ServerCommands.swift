internal import ArgumentParser
internal import TestKit
internal import TrunklineDev

struct Broker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A private RabbitMQ in a folder of its own.")

    enum Action: String, ExpressibleByArgument, CaseIterable { case start, stop, restart, kill, remove }

    @OptionGroup var place: Place

    @Argument(help: "kill: SIGKILL to the broker.")
    var action: Action

    @Argument(help: "Its folder, where it writes the file env.")
    var folder: String

    func run() async throws {
        let (action, broker) = (action, PrivateBroker(folder: absolute(folder), checkout: place.checkout))
        try await perform { isInterrupted in
            if isInterrupted, action == .start || action == .restart { try await broker.stop() }
        } _: {
            switch action {
            case .start: try await broker.start()
            case .stop: try await broker.stop()
            case .restart: try await broker.restart()
            case .kill: try await broker.kill()
            case .remove: try await broker.remove()
            }
        }
    }
}

struct Database: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A private PostgreSQL in a folder of its own.")

    enum Action: String, ExpressibleByArgument, CaseIterable {
        case start, stop, restart, crash, remove, standby, promote
    }

    @OptionGroup var place: Place

    @Argument(help: "crash: SIGKILL to the server and all its children.")
    var action: Action

    @Argument(help: "Its folder, where it writes the file env.")
    var folder: String

    @Argument(help: "standby: the folder of the database to stream from.")
    var source: String?

    func validate() throws {
        guard (action == .standby) == (source != nil) else {
            throw ValidationError("a standby, and nothing else, needs the folder of another database")
        }
    }

    func run() async throws {
        let checkout = place.checkout
        let (action, database) = (action, PrivateDatabase(folder: absolute(folder), checkout: checkout))
        let source = source.map { PrivateDatabase(folder: absolute($0), checkout: checkout) }
        try await perform { isInterrupted in
            if isInterrupted, [.start, .restart, .standby].contains(action) { try await database.stop() }
        } _: {
            switch action {
            case .start: try await database.start()
            case .stop: try await database.stop()
            case .restart: try await database.restart()
            case .crash: try await database.crash()
            case .remove: try await database.remove()
            case .promote: try await database.promote()
            case .standby: if let source { try await database.start(asStandbyOf: source) }
            }
        }
    }
}
