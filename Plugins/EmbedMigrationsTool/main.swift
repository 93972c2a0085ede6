import Foundation

// Usage: EmbedMigrationsTool OUTPUT.swift FOLDER
// Run by the plug-in EmbedMigrations. Refuses what `trunkline migrate` could not apply in order.

func fail(_ message: String) -> Never {
    FileHandle.standardError.write(Data("error: \(message)\n".utf8))
    exit(1)
}

let arguments = CommandLine.arguments
guard arguments.count == 3 else { fail("usage: EmbedMigrationsTool OUTPUT.swift FOLDER") }
let (output, folder) = (arguments[1], arguments[2])
guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { fail("\(folder) cannot be read") }
let files = names.filter { $0.hasSuffix(".sql") }.sorted()
// Without one the program would take every database for a finished one.
guard !files.isEmpty else { fail("there are no migrations in \(folder)") }

var code = """
    // Made from migrations/*.sql at build time.
    enum EmbeddedMigrations {
        struct File: Sendable {
            let version: Int32
            let name: String
            let sql: String
        }

        static let files: [File] = [

    """

for (index, file) in files.enumerated() {
    guard let match = file.wholeMatch(of: /([0-9]{4})_([a-z0-9_]+)\.sql/), let version = Int32(match.1) else {
        fail("migrations/\(file): a migration is named like 0001_initial.sql")
    }
    guard version == index + 1 else {
        fail(
            "migrations/\(file): migrations are numbered from 0001 without a gap; this one should be number \(index + 1)"
        )
    }
    guard let data = FileManager.default.contents(atPath: folder + "/" + file),
        let sql = String(data: data, encoding: .utf8)
    else {
        fail("migrations/\(file) cannot be read as UTF-8")
    }
    // Swift reads either of them in a literal as a line feed, and the checksum would be another.
    guard !sql.unicodeScalars.contains("\r") else {
        fail("migrations/\(file) has carriage returns; its lines must end with LF")
    }
    // More marks than the longest run in the file, so that nothing in it ends the literal or is read as an escape.
    let longest = sql.matches(of: /#+/).map { $0.output.count }.max() ?? 0
    let marks = String(repeating: "#", count: longest + 1)
    code += "        File(version: \(version), name: \"\(match.2)\", sql: \(marks)\"\"\"\n\(sql)\n\"\"\"\(marks)),\n"
}
code += "    ]\n}\n"

do {
    try Data(code.utf8).write(to: URL(filePath: output))
} catch {
    fail("cannot write \(output): \(error)")
}
