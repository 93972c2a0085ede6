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

/// Names of the SQL files of a folder, in order.
func files(of folder: String) -> [String] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
        fail("\(folder) cannot be read")
    }
    let files = names.filter { $0.hasSuffix(".sql") }.sorted()
    // Without one the program would take every database for a finished one.
    guard !files.isEmpty else { fail("there is no SQL in \(folder)") }
    return files
}

/// The text of a file, `name` for messages.
func text(of path: String, _ name: String) -> String {
    guard let data = FileManager.default.contents(atPath: path), let sql = String(data: data, encoding: .utf8) else {
        fail("\(name) cannot be read as UTF-8")
    }
    // Swift reads either of them in a literal as a line feed, and the checksum would be another.
    guard !sql.unicodeScalars.contains("\r") else {
        fail("\(name) has carriage returns; its lines must end with LF")
    }
    return sql
}

/// A literal that yields `sql`: more marks than the longest run in it, so that nothing in it ends the literal or is read as
/// an escape.
func literal(_ sql: String) -> String {
    let longest = sql.matches(of: /#+/).map { $0.output.count }.max() ?? 0
    let marks = String(repeating: "#", count: longest + 1)
    return "\(marks)\"\"\"\n\(sql)\n\"\"\"\(marks)"
}

/// One file of `migrations/functions/`.
struct Function {
    let name: String
    let sql: String
    /// What its head says that it needs.
    let needs: [String]

    init(_ file: String, in folder: String) {
        let place = "migrations/functions/\(file)"
        guard let match = file.wholeMatch(of: /([a-z_]+)\.sql/) else {
            fail("\(place): a function's file is named like the function, claim.sql")
        }
        name = String(match.1)
        sql = text(of: folder + "/" + file, place)
        let made = sql.matches(of: /(?m)^create or replace function trunkline\.([a-z_]+)\(/).map { String($0.1) }
        guard made == [name] else {
            fail("\(place): begins one function, 'create or replace function trunkline.\(name)(', and no other")
        }
        guard let line = sql.firstMatch(of: /(?m)^-- Needs: ([a-z_, ]+)\.$/) else {
            fail("\(place): its head says which functions it calls: '-- Needs: finish, held_shards.', or nothing")
        }
        needs = line.1 == "nothing" ? [] : line.1.split(separator: ", ").map { String($0) }
    }
}

/// Each after those that it needs, else by name. PostgreSQL looks into the bodies of SQL functions when it makes them.
func inOrder(_ functions: [Function]) -> [Function] {
    let names = Set(functions.map(\.name))
    for function in functions {
        let calls = Set(function.sql.matches(of: /trunkline\.([a-z_]+)\s*\(/).map { String($0.1) })
            .intersection(names).subtracting([function.name])
        guard calls == Set(function.needs) else {
            fail(
                "migrations/functions/\(function.name).sql: its head must say "
                    + "'-- Needs: \(calls.isEmpty ? "nothing" : calls.sorted().joined(separator: ", ")).'"
            )
        }
    }
    var ordered: [Function] = []
    var left = functions
    while !left.isEmpty {
        let there = Set(ordered.map(\.name))
        guard let next = left.firstIndex(where: { there.isSuperset(of: $0.needs) }) else {
            fail("functions need each other: \(left.map(\.name).joined(separator: ", "))")
        }
        ordered.append(left.remove(at: next))
    }
    return ordered
}

var code = """
    // Made from migrations/ at build time.
    enum EmbeddedMigrations {
        struct File: Sendable {
            let version: Int32
            let name: String
            let sql: String
        }

        static let files: [File] = [

    """

for (index, file) in files(of: folder).enumerated() {
    guard let match = file.wholeMatch(of: /([0-9]{4})_([a-z0-9_]+)\.sql/), let version = Int32(match.1) else {
        fail("migrations/\(file): a migration is named like 0001_initial.sql")
    }
    guard version == index + 1 else {
        fail(
            "migrations/\(file): migrations are numbered from 0001 without a gap; this one should be number \(index + 1)"
        )
    }
    let sql = text(of: folder + "/" + file, "migrations/\(file)")
    code += "        File(version: \(version), name: \"\(match.2)\", sql: \(literal(sql))),\n"
}
code += """
        ]

        struct Function: Sendable {
            let name: String
            let sql: String
        }

        static let functions: [Function] = [

    """

let functionFolder = folder + "/functions"
for function in inOrder(files(of: functionFolder).map { Function($0, in: functionFolder) }) {
    code += "        Function(name: \"\(function.name)\", sql: \(literal(function.sql))),\n"
}
code += "    ]\n}\n"

do {
    try Data(code.utf8).write(to: URL(filePath: output))
} catch {
    fail("cannot write \(output): \(error)")
}
