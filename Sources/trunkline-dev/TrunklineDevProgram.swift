internal import ArgumentParser
internal import Foundation
internal import Glibc
internal import TestKit
internal import TrunklineDev

/// What `./dev` hands over to, when everything that it needs is installed and built; not a product that is shipped.
@main
struct TrunklineDevProgram: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trunkline-dev",
        abstract: "The servers, the demo, the tests, the chaos and the benches of a checkout. Started by ./dev.",
        subcommands: [
            Up.self, Down.self, Test.self, Sanitize.self, DemoCommand.self, Chaos.self, Bench.self, Judge.self,
            Broker.self,
            Database.self, Port.self,
        ]
    )
}

/// The checkout that is worked on.
struct Place: ParsableArguments {
    @Option(help: ArgumentHelp("The checkout.", valueName: "folder"))
    var root = FileManager.default.currentDirectoryPath

    var checkout: Checkout { Checkout(root: root, say: Terminal.note) }
    var rooms: Rooms { Rooms(checkout) }

    /// The built trunkline, which lies beside this program.
    var program: String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("trunkline").path
    }
}

/// As ``Terminal/run(failing:cleanUp:_:)``, for a command.
func perform<Value: Sendable>(
    failing: String = "dev: ",
    cleanUp: @escaping @Sendable (_ isInterrupted: Bool) async throws -> Void = { _ in },
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    do {
        return try await Terminal.run(failing: failing, cleanUp: cleanUp, body)
    } catch {
        throw ExitCode(error.code)
    }
}

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Starts a private RabbitMQ and PostgreSQL and writes .dev/env."
    )

    @OptionGroup var place: Place

    func run() async throws {
        let checkout = place.checkout
        let servers = ProductServers(folder: checkout.state, checkout: checkout)
        let wereRunning = servers.areRunning
        try await perform { isInterrupted in
            if isInterrupted, !wereRunning { try await servers.stop() }
        } _: {
            try await servers.startSayingSo(checkout)
            Terminal.note("source .dev/env to use them; ./dev down stops them")
        }
    }
}

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stops everything that this checkout has started.")

    @OptionGroup var place: Place

    func run() async throws {
        let rooms = place.rooms
        try await perform {
            // To its end, even when interrupted: half of it would have to be found again.
            try await shielded { try await rooms.clearAll() }
            Terminal.log("Everything that this checkout started has ended.")
        }
    }
}

struct Test: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs the built tests against servers of their own.")

    @OptionGroup var place: Place

    @Argument(parsing: .captureForPassthrough, help: "For swift test.")
    var arguments: [String] = []

    func run() async throws {
        let (rooms, program, arguments) = (place.rooms, place.program, arguments)
        let status = try await perform { _ in
            try await rooms.clearTest()
        } _: {
            try await TestRun(rooms, arguments: arguments, program: program).run()
        }
        if status != 0 { throw ExitCode(status) }
    }
}

struct Sanitize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Builds and runs the tests of loop, drivers and engine under a sanitizer, and says what each target came to."
    )

    @OptionGroup var place: Place

    @Argument(help: "Of two, which one; else both, one after the other.")
    var sanitizer: Sanitizer?

    func run() async throws {
        let (rooms, sanitizers) = (place.rooms, sanitizer.map { [$0] } ?? Sanitizer.allCases)
        let status = try await perform { _ in
            try await rooms.clearTest()
        } _: {
            try await SanitizeRun(rooms, sanitizers).run()
        }
        if status != 0 { throw ExitCode(status) }
    }
}

extension Sanitizer: ExpressibleByArgument {}

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "The whole way in about a minute, with a worker that is killed halfway, and the proof."
    )

    @OptionGroup var place: Place

    @Flag(help: "Leaves everything running to look around in.")
    var keep = false

    func run() async throws {
        let (rooms, keep) = (place.rooms, keep)
        let demo = Demo(rooms, program: place.program)
        try await perform { isInterrupted in
            if keep, !isInterrupted { return demo.lookAround() }
            try await rooms.clearDemo()
        } _: {
            try await demo.run()
        }
    }
}

struct Port: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reserves a port of this machine for a folder, and prints it."
    )

    @OptionGroup var place: Place

    @Argument(help: "The folder, which must exist.")
    var folder: String

    @Argument(help: "The name of the port in that folder.")
    var name: String

    func run() async throws {
        let (folder, name) = (folder, name)
        try await perform {
            Terminal.write("\(try await PortLeases().port(name, of: absolute(folder)))\n".utf8, to: 1)
        }
    }
}

/// A path from the root on, without links.
func absolute(_ path: String) -> String {
    URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
}
