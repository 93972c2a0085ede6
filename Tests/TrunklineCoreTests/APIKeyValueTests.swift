import Testing

@testable import TrunklineCore

@Suite struct APIKeyValueTests {
    @Test func aSecretIsReadAsItWasMade() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let secret = APIKeySecret(using: &random)
            #expect(secret.text.utf8.count == 47 && secret.text.hasPrefix("trk_"))
            let read = try #require(APIKeySecret(presented: secret.text))
            #expect(read == secret && read.digest == Digest.sha256(secret.text.utf8))
            #expect(!"\(secret)".contains(secret.text.dropFirst(4).prefix(8)))
        }
    }

    @Test(arguments: [
        "", "trk_", "trk_" + String(repeating: "a", count: 42), "trk_" + String(repeating: "a", count: 44),
        "trk-" + String(repeating: "a", count: 43), "trk_" + String(repeating: "a", count: 42) + "+",
        "trk_" + String(repeating: "a", count: 42) + "é", "trk_" + String(repeating: "a", count: 42) + " ",
        "ezw_line_" + String(repeating: "a", count: 38),
    ])
    func whatNoKeyCanBeIsNone(text: String) {
        #expect(APIKeySecret(presented: text) == nil)
    }

    @Test func scopesAreAList() throws {
        #expect(try APIScope.list(parsing: "send") == [.send])
        #expect(try APIScope.list(parsing: "read,send,operate") == [.send, .read, .operate])
        for text in ["", "send,", "send,send", "Send", "all", "send read"] {
            #expect(throws: Refusal.self, "\(text)") { try APIScope.list(parsing: text) }
        }
    }
}
