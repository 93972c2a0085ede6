import Foundation
import Testing

/// What can be counted of "one desk accepts, one operator operates": commands know neither SQL nor drivers, and files and
/// functions stay short enough to be read in one go.
@Suite struct SourceRulesTests {
    private struct Source {
        let path: String
        let lines: [Substring]
    }

    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func sources(under folder: String) throws -> [Source] {
        let base = root.appending(path: folder)
        let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        let sources = try names.filter { $0.hasSuffix(".swift") }.sorted().map { name in
            let text = try String(contentsOf: base.appending(path: name), encoding: .utf8)
            return Source(
                path: folder + "/" + name,
                lines: text.split(separator: "\n", omittingEmptySubsequences: false)
            )
        }
        try #require(sources.count > 1, "there are sources under \(folder)")
        return sources
    }

    // MARK: Commands

    /// The line's fault against "no driver, no SQL"; nil without one.
    private static func fault(_ line: Substring) -> String? {
        if line.contains(/^\s*(?:\w+\s+)?import (?:PostgresDriver|RabbitDriver|CurlDriver)\b/) {
            return "a command imports a driver"
        }
        if line.contains(/\b(?:from|into|update|join|table|call|select)\s+trunkline\./.ignoresCase()) {
            return "a command knows SQL"
        }
        return nil
    }

    @Test func commandsKnowNeitherDriversNorSQL() throws {
        for source in try Self.sources(under: "Sources/trunkline") {
            for (number, line) in source.lines.enumerated() {
                if let fault = Self.fault(line) { Issue.record("\(source.path):\(number + 1): \(fault)") }
            }
        }
    }

    @Test(
        arguments: [
            ("internal import PostgresDriver", true), ("import RabbitDriver", true), ("public import CurlDriver", true),
            ("    \"select 1 from trunkline.jobs\"", true), ("UPDATE trunkline.lines set x = 1", true),
            ("    select trunkline.accept($1)", true),
            ("internal import TrunklineEngine", false), ("/// like 'trunkline line add'", false),
            ("let name = \"trunkline.worker\"", false), ("// imports PostgresDriver", false),
        ]
    )
    func theRuleFindsWhatItIsFor(_ line: String, _ isFault: Bool) {
        #expect((Self.fault(Substring(line)) != nil) == isFault)
    }

    // MARK: The engine

    /// It knows outside systems only through Core's ports.
    @Test func theEngineNamesNoIntegration() throws {
        for source in try Self.sources(under: "Sources/TrunklineEngine") {
            for (number, line) in source.lines.enumerated()
            where line.contains("TrunklineIntegrations") || line.contains("EZWhatsApp") {
                Issue.record("\(source.path):\(number + 1): the engine names an integration")
            }
        }
    }

    // MARK: Lengths

    private static let longestFile = 450
    private static let longestFunction = 70

    /// Where the limits hold.
    private static let rooms = [
        "Sources/trunkline", "Sources/TrunklineEngine/Accept", "Sources/TrunklineEngine/Import",
        "Sources/TrunklineEngine/Operate", "Sources/TrunklineEngine/Secrets", "Sources/TrunklineIntegrations",
        "Sources/TestKit/Checkout", "Sources/TestKit/Servers", "Sources/TrunklineDev", "Sources/trunkline-dev",
        "Sources/TrunklineGateway", "Sources/EventLoop", "Sources/RabbitDriver", "Sources/PostgresDriver",
        "Sources/CurlDriver",
    ]

    /// Functions and initializers with how many lines each has. The formatter sees to it that one ends with a brace under
    /// the first letter of its first line, and that the brace that opens it is on its first line or on one as far left.
    private static func functions(_ lines: [Substring]) -> [(name: Substring, lines: Int)] {
        lines.indices.compactMap { start in
            let line = lines[start]
            guard line.contains(/^\s*(?:[@\w()]+\s+)*(?:func\s+\S+|init[?<(])/), !line.contains(/^\s*\/\//) else {
                return nil
            }
            let indent = line.prefix { $0 == " " }
            guard !line.hasSuffix("}"), hasBody(lines[start...], indent),
                let end = lines[start...].firstIndex(of: indent + "}")
            else { return nil }
            return (line.drop { $0 == " " }, end - start + 1)
        }
    }

    /// A requirement of a protocol has none.
    private static func hasBody(_ lines: ArraySlice<Substring>, _ indent: Substring) -> Bool {
        if lines.first?.hasSuffix("{") ?? false { return true }
        for line in lines.dropFirst() where !line.hasPrefix(indent + " ") {
            if line == indent + "{" || line.hasPrefix(indent + ")") && line.hasSuffix("{") { return true }
            if !line.hasPrefix(indent + ")") { return false }
        }
        return false
    }

    @Test(arguments: rooms)
    func filesAndFunctionsAreShort(_ room: String) throws {
        for source in try Self.sources(under: room) {
            Self.checkLength(source)
            for function in Self.functions(source.lines) where function.lines > Self.longestFunction {
                Issue.record("\(source.path): '\(function.name)' has \(function.lines) lines")
            }
        }
    }

    private static func checkLength(_ source: Source) {
        #expect(source.lines.count <= longestFile, "\(source.path) has \(source.lines.count) lines")
    }

    /// A worker's file is the order of its turns: what is to be done is a part's.
    @Test func theWorkerIsReadInOneLook() throws {
        let worker = try #require(
            Self.sources(under: "Sources/TrunklineEngine/Worker").first { $0.path.hasSuffix("/Worker.swift") }
        )
        #expect(worker.lines.count <= 250, "\(worker.path) has \(worker.lines.count) lines")
    }

    /// It installs, builds and hands over; whatever grows belongs into the program, where it has types and tests.
    @Test func theScriptStaysShort() throws {
        let script = try String(contentsOf: Self.root.appending(path: "dev"), encoding: .utf8)
        let lines = script.count { $0 == "\n" }
        #expect((100..<350).contains(lines), "dev has \(lines) lines")
    }

    @Test func functionsAreMeasured() {
        let text = """
            struct A {
                func short() { body() }
                private static func long(
                    _ a: Int
                ) async throws {
                    if a { x() }
                }

                init?(b: Int) {
                    self.b = b
                }
                init() {}
                func wrapped() throws
                    -> Result<Int, any Error>
                {
                    body()
                }
            }
            protocol P {
                func required()
                func requiredToo(
                    a: Int
                )
            }

            struct B {
            }
            """
        let found = Self.functions(text.split(separator: "\n", omittingEmptySubsequences: false))
        #expect(found.map(\.lines) == [5, 3, 5])
    }
}
