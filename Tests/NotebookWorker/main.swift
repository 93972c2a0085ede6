internal import Foundation
internal import Logging
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineTesting

// A worker that also carries to notebooks: the program's own has only carriers of real systems. It reads the variables that the
// program reads, takes crash and freeze points as it does, and works until it is killed.

func variable(_ name: String) -> String {
    guard let value = ProcessInfo.processInfo.environment[name] else { fatalError("\(name) is not set") }
    return value
}

let configuration = WorkerConfiguration(
    databaseURL: variable("TRUNKLINE_DATABASE_URL"),
    amqpURL: variable("TRUNKLINE_AMQP_URL"),
    masterKey: try MasterKey(base64: String(contentsOfFile: variable("TRUNKLINE_MASTER_KEY_FILE"), encoding: .utf8)),
    host: "tests",
    version: "0",
    carriers: .withNotebook
)
try await WorkerProcess(configuration: configuration, logger: Logger(label: "notebook-worker")).run()
