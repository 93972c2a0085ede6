import Foundation
import TestKit
import Testing
import TrunklineEngine

@Suite struct MasterKeyTests {
    private static let text = Data((0..<32).map { UInt8($0) }).base64EncodedString()
    private static let other = Data((0..<32).map { UInt8($0 + 1) }).base64EncodedString()
    private let secret = Array("ezw_line_a_secret_token".utf8)

    @Test func sealsAndOpens() throws {
        let key = try MasterKey(base64: Self.text + "\n")
        let sealed = try key.seal(secret, context: "line:a")
        #expect(sealed.count == secret.count + MasterKey.overhead)
        #expect(try key.open(sealed, context: "line:a") == secret)
    }

    @Test func neverTheSameTwice() throws {
        let key = try MasterKey(base64: Self.text)
        #expect(try key.seal(secret, context: "line:a") != key.seal(secret, context: "line:a"))
    }

    @Test func anotherKeyOpensNothing() throws {
        let sealed = try MasterKey(base64: Self.text).seal(secret, context: "line:a")
        let other = try MasterKey(base64: Self.other)
        #expect(throws: MasterKeyError.doesNotOpen) { try other.open(sealed, context: "line:a") }
    }

    @Test func anotherLinesSecretDoesNotOpen() throws {
        let key = try MasterKey(base64: Self.text)
        let sealed = try key.seal(secret, context: "line:a")
        #expect(throws: MasterKeyError.doesNotOpen) { try key.open(sealed, context: "line:b") }
    }

    @Test func aFlippedBitAnywhereIsNoticed() throws {
        let key = try MasterKey(base64: Self.text)
        let sealed = try key.seal(secret, context: "line:a")
        for index in sealed.indices {
            var damaged = sealed
            damaged[index] ^= 1
            #expect(throws: MasterKeyError.doesNotOpen) { try key.open(damaged, context: "line:a") }
        }
        for length in 0..<sealed.count {
            #expect(throws: MasterKeyError.doesNotOpen) { try key.open(Array(sealed[..<length]), context: "line:a") }
        }
    }

    @Test func saysWhatIsWrongWithAKey() {
        #expect(throws: MasterKeyError.empty) { try MasterKey(base64: " \n") }
        #expect(throws: MasterKeyError.notBase64) { try MasterKey(base64: "not base64!") }
        #expect(throws: MasterKeyError.wrongLength(16)) {
            try MasterKey(base64: Data(repeating: 7, count: 16).base64EncodedString())
        }
        #expect(throws: MasterKeyError.weak) {
            try MasterKey(base64: Data(repeating: 0, count: 32).base64EncodedString())
        }
    }

    @Test func isNeverPrinted() throws {
        let key = try MasterKey(base64: Self.text)
        var dumped = ""
        dump(key, to: &dumped)
        for shown in ["\(key)", String(reflecting: key), String(describing: Optional(key)), dumped] {
            #expect(!shown.contains("0001") && !shown.contains(Self.text) && !shown.lowercased().contains("symmetric"))
        }
    }
}

@Suite struct SecretReferenceTests {
    @Test func readsAndWritesItsText() throws {
        #expect(try SecretReference("env:EZW_TOKEN") == .environment("EZW_TOKEN"))
        #expect(try SecretReference("file:/run/secrets/line a") == .file("/run/secrets/line a"))
        for text in ["env:A_1", "file:/x"] { #expect(try SecretReference(text).text == text) }
    }

    @Test(arguments: ["", "ezw_line_secret", "vault:x", "ENV:A"])
    func refusesOtherKinds(_ text: String) {
        #expect(throws: SecretReferenceError.unknownKind) { try SecretReference(text) }
    }

    @Test(arguments: ["env:", "env:1A", "env:A B", "env:A=B", "env:É"])
    func refusesWhatIsNoVariable(_ text: String) {
        #expect(throws: SecretReferenceError.notAVariable) { try SecretReference(text) }
    }

    @Test(arguments: [
        "TRUNKLINE_MASTER_KEY", "TRUNKLINE_DATABASE_URL_FILE", "PGPASSWORD", "PGPASSFILE", "AMQP_URL", "AMQPURL",
    ])
    func refusesVariablesOfOurOwn(_ name: String) {
        #expect(throws: SecretReferenceError.ownVariable(name)) { try SecretReference("env:" + name) }
    }

    /// By whatever path: a link, a detour.
    @Test func refusesFilesOfOurOwn() throws {
        let files = FileManager.default
        let folder = files.temporaryDirectory.appending(path: freshName("own"))
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? files.removeItem(at: folder) }
        let own = folder.appending(path: "master.key").path
        try Data("ezw_line_looks_like_one".utf8).write(to: URL(filePath: own))
        let link = folder.appending(path: "link").path
        try files.createSymbolicLink(atPath: link, withDestinationPath: own)
        for path in [own, link, folder.path + "/../" + folder.lastPathComponent + "/master.key"] {
            let reference = try SecretReference("file:" + path)
            #expect(throws: SecretReferenceError.ownFile(path)) { try reference.resolve(ownFiles: [own, "/nowhere"]) }
            #expect(try reference.resolve(ownFiles: ["/nowhere"]).count == 23)
        }
    }

    @Test(arguments: ["file:", "file:relative", "file:/a\u{0}b"])
    func refusesWhatIsNoAbsolutePath(_ text: String) {
        #expect(throws: SecretReferenceError.notAPath) { try SecretReference(text) }
    }

    @Test func resolvesAVariable() throws {
        let reference = try SecretReference("env:T")
        #expect(try reference.resolve(environment: ["T": " token \n"]) == Array("token".utf8))
        #expect(throws: SecretReferenceError.missingVariable("T")) { try reference.resolve(environment: [:]) }
        #expect(throws: SecretReferenceError.empty("env:T")) { try reference.resolve(environment: ["T": " "]) }
    }

    @Test func resolvesAFile() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: freshName("secret")).path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let reference = try SecretReference("file:" + path)
        #expect(throws: SecretReferenceError.unreadableFile(path)) { try reference.resolve() }
        try Data("token\r\n".utf8).write(to: URL(filePath: path))
        #expect(try reference.resolve() == Array("token".utf8))
        try Data(repeating: 0x41, count: SecretReference.fileLimit + 1).write(to: URL(filePath: path))
        #expect(throws: SecretReferenceError.tooBig(path)) { try reference.resolve() }
        let folder = FileManager.default.temporaryDirectory.path
        #expect(throws: SecretReferenceError.unreadableFile(folder)) { try SecretReference("file:" + folder).resolve() }
    }
}
