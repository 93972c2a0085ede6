import Foundation
import Testing

/// The library's documents show only code that compiles, and speak only of what is there.
struct DocumentationTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    private static let catalog = root.appending(path: "Sources/TrunklineClient/TrunklineClient.docc")

    static let documents = [
        "Sources/TrunklineClient/TrunklineClient.docc/TrunklineClient.md",
        "Sources/TrunklineClient/TrunklineClient.docc/Sending.md",
        "docs/client.md",
    ]

    @Test("each block of Swift in a document is a snippet that compiles", arguments: documents)
    func blocksCompile(_ path: String) throws {
        let snippets = Set(try Self.snippets().values)
        let blocks = Self.blocks(in: try Self.text(path)).filter { !$0.hasPrefix(".package(") }
        #expect(!blocks.isEmpty)
        for block in blocks { #expect(snippets.contains(block), "no snippet has the text:\n\(block)") }
    }

    @Test("each snippet is shown somewhere")
    func snippetsAreShown() throws {
        let shown = Set(try Self.documents.flatMap { Self.blocks(in: try Self.text($0)) })
        for (name, text) in try Self.snippets() { #expect(shown.contains(text), "\(name)") }
    }

    @Test("every article of the catalog is reached from its first page")
    func articlesAreReached() throws {
        let first = try Self.text("Sources/TrunklineClient/TrunklineClient.docc/TrunklineClient.md")
        let articles = try FileManager.default.contentsOfDirectory(atPath: Self.catalog.path)
            .filter { $0.hasSuffix(".md") && $0 != "TrunklineClient.md" }
        #expect(articles.count == 2)
        for article in articles { #expect(first.contains("<doc:\(article.dropLast(3))>")) }
    }

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// The blocks of Swift of a Markdown text, without their fences.
    private static func blocks(in text: String) -> [String] {
        text.components(separatedBy: "```swift\n").dropFirst().compactMap { $0.components(separatedBy: "\n```").first }
    }

    private static func snippets() throws -> [String: String] {
        var snippets: [String: String] = [:]
        var open: (name: String, lines: [String])?
        for line in try text("Tests/TrunklineClientTests/Snippets/Snippets.swift").components(separatedBy: "\n") {
            let bare = line.drop { $0 == " " }
            if bare.hasPrefix("// snippet ") {
                open = (String(bare.dropFirst(11)), [])
            } else if bare == "// end", let done = open {
                snippets[done.name] = done.lines.joined(separator: "\n")
                open = nil
            } else {
                // A function's body is indented by four.
                open?.lines.append(String(line.dropFirst(4)))
            }
        }
        return snippets
    }
}
