internal import Foundation
package import TestKit

/// The folders in which the commands of a checkout keep what they start, and how each is cleared of what an earlier command,
/// ended or killed, has left.
package struct Rooms: Sendable {
    package let checkout: Checkout

    package init(_ checkout: Checkout) { self.checkout = checkout }

    private var mark: RunMark { RunMark(root: checkout.root) }
    package var test: String { checkout.state + "/test" }
    package var demo: String { checkout.state + "/demo" }
    package var chaos: String { checkout.state + "/chaos" }

    /// The same checkout with the notes of its servers in a folder of one command.
    package func checkout(noting folder: String) -> Checkout {
        Checkout(root: checkout.root, instances: folder + "/instances", say: Terminal.note)
    }

    /// Ends what a run of tests has started, and removes everything of it.
    package func clearTest() async throws {
        mark.endAll()
        let noted = checkout(noting: test)
        try await noted.stopInstances()
        try await ProductServers(folder: test, checkout: noted).remove()
        removeFiles(test)
    }

    /// Ends what a run of chaos has started; its evidence stays.
    package func clearChaos() async throws {
        mark.endAll()
        let noted = checkout(noting: chaos)
        try await noted.stopInstances()
        try await PrivateBroker(folder: chaos + "/broker", checkout: noted).remove()
        try await PrivateDatabase(folder: chaos + "/database", checkout: noted).remove()
        removeFiles(noted.instances, chaos + "/commands")
    }

    /// Ends what the demo has started; its evidence stays.
    package func clearDemo() async throws {
        try await endProcesses(of: demo)
        try await ProductServers(folder: demo, checkout: checkout).remove()
    }

    /// Of which there are records in `processes/`.
    private func endProcesses(of folder: String) async throws {
        for name in names(in: folder + "/processes") where name.hasSuffix(".pid") {
            try await ProcessRecord("\(folder)/processes/\(name)").end(SIGTERM, within: .seconds(20))
        }
    }

    /// Ends everything that this checkout has started, by whatever command; what `up` started keeps its data.
    package func clearAll() async throws {
        mark.endAll()
        if isFolder(chaos) { try await clearChaos() }
        if isFolder(test) { try await clearTest() }
        try await endProcesses(of: demo)
        let kept = Checkout(root: checkout.root, instances: checkout.state + "/instances", say: Terminal.note)
        try await kept.stopInstances()
        if isFolder(demo) { try await ProductServers(folder: demo, checkout: kept).remove() }
        if isFolder(checkout.state) { try await ProductServers(folder: checkout.state, checkout: kept).stop() }
    }
}
