import TestKit
import Testing

@testable import PostgresDriver

@Suite("Types", .timeLimit(.minutes(2)))
struct TypeTests {
    private static let echo = PostgresStatement(
        name: "echo",
        sql: """
            SELECT $1::text, $2::int4, $3::int8, $4::float8, $5::bool, $6::bytea, $7::timestamptz, $8::uuid,
                   $9::text[], $10::int4[], $11::int8[], $12::bool[], $13::bytea[], $14::timestamptz[], $15::uuid[]
            """,
        parameterTypes: [
            .text, .int4, .int8, .float8, .bool, .bytea, .timestamptz, .uuid, .textArray, .int4Array, .int8Array,
            .boolArray, .byteaArray, .timestamptzArray, .uuidArray,
        ]
    )

    @Test("every type comes back as it went, NULLs and empty values too")
    func everyTypeRoundTrips() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("TypeTests seed: \(seed)")
        var generator = SeededGenerator(seed: seed)
        var random = Samples(generator: generator)
        _ = generator.next()
        try await withClient(
            PostgresConnection.Configuration(
                url: try serverURL(),
                applicationName: "tests",
                statements: [Self.echo]
            )
        ) { client in
            _ = try await client.connect()
            for round in 0..<300 {
                let sent: [PostgresParameter] = [
                    random.maybe { .text($0.text()) }, random.maybe { .int4($0.number()) },
                    random.maybe { .int8($0.number()) }, random.maybe { .float8($0.double()) },
                    random.maybe { .bool($0.bool()) }, random.maybe { .bytes($0.bytes()) },
                    random.maybe { .timestamp(microseconds: $0.time()) }, random.maybe { .uuid($0.uuid()) },
                    random.maybe { .textArray($0.array { $0.text() }) },
                    random.maybe { .int4Array($0.array { $0.number() }) },
                    random.maybe { .int8Array($0.array { $0.number() }) },
                    random.maybe { .boolArray($0.array { $0.bool() }) },
                    random.maybe { .byteaArray($0.array { $0.bytes() }) },
                    random.maybe { .timestampArray($0.array { $0.time() }) },
                    random.maybe { .uuidArray($0.array { $0.uuid() }) },
                ]
                let rows = try await client.execute(Self.echo, sent).get()
                let received: [PostgresParameter] = [
                    rows.text(0, 0).map { .text($0) } ?? .null, rows.int4(0, 1).map { .int4($0) } ?? .null,
                    rows.int8(0, 2).map { .int8($0) } ?? .null, rows.float8(0, 3).map { .float8($0) } ?? .null,
                    rows.bool(0, 4).map { .bool($0) } ?? .null, rows.bytes(0, 5).map { .bytes($0) } ?? .null,
                    rows.timestamp(0, 6).map { .timestamp(microseconds: $0) } ?? .null,
                    rows.uuid(0, 7).map { .uuid($0) } ?? .null, rows.textArray(0, 8).map { .textArray($0) } ?? .null,
                    rows.int4Array(0, 9).map { .int4Array($0) } ?? .null,
                    rows.int8Array(0, 10).map { .int8Array($0) } ?? .null,
                    rows.boolArray(0, 11).map { .boolArray($0) } ?? .null,
                    rows.byteaArray(0, 12).map { .byteaArray($0) } ?? .null,
                    rows.timestampArray(0, 13).map { .timestampArray($0) } ?? .null,
                    rows.uuidArray(0, 14).map { .uuidArray($0) } ?? .null,
                ]
                try #require(sent == received, "seed \(seed), round \(round)")
                for column in 0..<15 { #expect(rows.isNull(0, column) == (sent[column] == .null)) }
            }
        }
    }

    @Test("the server understands the values as we mean them")
    func theServerAgrees() async throws {
        try await PostgresSession.withSession(url: try serverURL(), applicationName: "tests") { session in
            let rows = try await session.query(
                """
                SELECT $1::timestamptz::text, $2::int8[]::text, $3::text[]::text, $4::uuid::text, $5::bytea::text,
                       $6::bool[]::text, array_length($7::int4[], 1), $8::jsonb, $9::numeric::text, $10::float8::text,
                       'abc'::name, 7::int2, '{"a": 1}'::json
                """,
                [
                    .timestamp(microseconds: 1_700_000_000_123_456), .int8Array([1, nil, -3]),
                    .textArray(["a", nil, "", "ü\"x"]), .uuid(Array(0..<16)), .bytes([0, 255, 1]),
                    .boolArray([true, nil, false]), .int4Array([]), .text(#"{"k": "שלום"}"#), .text("12.50"),
                    .float8(1.5),
                ]
            )
            #expect(rows.text(0, 0) == "2023-11-14 22:13:20.123456+00")
            #expect(rows.text(0, 1) == "{1,NULL,-3}")
            #expect(rows.text(0, 2) == #"{a,NULL,"","ü\"x"}"#)
            #expect(rows.text(0, 3) == "00010203-0405-0607-0809-0a0b0c0d0e0f")
            #expect(rows.text(0, 4) == #"\x00ff01"#)
            #expect(rows.text(0, 5) == "{t,NULL,f}")
            #expect(rows.isNull(0, 6))
            #expect(rows.text(0, 7) == #"{"k": "שלום"}"#)
            #expect(rows.text(0, 8) == "12.50")
            #expect(rows.text(0, 9) == "1.5")
            #expect(rows.text(0, 10) == "abc")
            #expect(rows.int2(0, 11) == 7)
            #expect(rows.int4(0, 11) == 7)
            #expect(rows.int8(0, 11) == 7)
            #expect(rows.text(0, 12) == #"{"a": 1}"#)
            #expect(rows.columnNames[10] == "name")
            #expect(rows.affectedRows == 1)
        }
    }

    @Test("1970, 2000 and the times before them")
    func epochs() async throws {
        try await PostgresSession.withSession(url: try serverURL(), applicationName: "tests") { session in
            let times: [Int64] = [0, -1, 1, 946_684_800_000_000, 946_684_799_999_999, -2_208_988_800_000_000]
            let rows = try await session.query(
                "SELECT t, t::text FROM unnest($1::timestamptz[]) t",
                [.timestampArray(times)]
            )
            #expect((0..<rows.count).map { rows.timestamp($0, 0) } == times)
            #expect(rows.text(0, 1) == "1970-01-01 00:00:00+00")
            #expect(rows.text(3, 1) == "2000-01-01 00:00:00+00")
            #expect(rows.text(5, 1) == "1900-01-01 00:00:00+00")
        }
    }

    @Test("infinite times are a programmer's error, both ways")
    func infinityTraps() async {
        await #expect(processExitsWith: .failure) { _ = Wire.microsecondsSince1970(.max) }
        await #expect(processExitsWith: .failure) { _ = Wire.microsecondsSince1970(.min) }
        await #expect(processExitsWith: .failure) { _ = Wire.microsecondsSince2000(.min) }
    }

    @Test("reading a column as another type is a programmer's error")
    func wrongTypeTraps() async {
        await #expect(processExitsWith: .failure) {
            try await PostgresSession.withSession(url: try serverURL(), applicationName: "tests") { session in
                _ = try await session.query("SELECT 1::int8").bool(0, 0)
            }
        }
    }

    @Test("a NUL in text fails before anything is sent, and only that statement")
    func textWithNUL() async throws {
        try await withClient(
            PostgresConnection.Configuration(url: try serverURL(), applicationName: "tests", statements: [Self.echo])
        ) { client in
            _ = try await client.connect()
            let text = PostgresStatement(name: "", sql: "SELECT $1", parameterTypes: [.text])
            let array = PostgresStatement(name: "", sql: "SELECT $1", parameterTypes: [.textArray])
            await client.submit([
                (text, [.text("one")]), (text, [.text("secret\u{0}value")]),
                (array, [.textArray(["a", "secret\u{0}"])]),
                (text, [.text("two")]),
            ])
            try await eventually("four answers") { client.answers.count == 4 }
            let failed = client.answers.compactMap(\.error)
            #expect(failed.map(\.code) == [.invalidParameter, .invalidParameter])
            #expect(failed.allSatisfy { !$0.outcomeUnknown && !$0.isRetriable && !$0.message.contains("secret") })
            #expect(client.answers.compactMap { try? $0.get().text(0, 0) } == ["one", "two"])
            #expect(client.losses.isEmpty)
        }
    }
}

/// Random values with a bent for the ends of their ranges.
private struct Samples {
    var generator: SeededGenerator

    mutating func maybe(_ make: (inout Samples) -> PostgresParameter) -> PostgresParameter {
        Int.random(in: 0..<8, using: &generator) == 0 ? .null : make(&self)
    }

    mutating func array<Element>(_ make: (inout Samples) -> Element) -> [Element?] {
        let counts = [0, 1, 2, 3, 40]
        let count = counts.randomElement(using: &generator)!
        return (0..<count).map { _ in Int.random(in: 0..<4, using: &generator) == 0 ? nil : make(&self) }
    }

    mutating func number<Number: FixedWidthInteger & SignedInteger>() -> Number {
        let edges: [Number] = [0, 1, -1, .min, .max]
        return Bool.random(using: &generator)
            ? edges.randomElement(using: &generator)! : Number.random(in: .min ... .max, using: &generator)
    }

    mutating func double() -> Double {
        let edges: [Double] = [0, -0.0, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, 1.5]
        return edges.randomElement(using: &generator)!
    }

    mutating func bool() -> Bool { Bool.random(using: &generator) }

    /// Years 1900 to 2199.
    mutating func time() -> Int64 {
        Int64.random(in: -2_208_988_800_000_000...7_258_118_400_000_000, using: &generator)
    }

    mutating func uuid() -> [UInt8] { (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) } }

    mutating func bytes() -> [UInt8] {
        let count = [0, 1, 7, 300].randomElement(using: &generator)!
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    mutating func text() -> String {
        let pieces = ["", "a", "שלום", "ü", "👩‍👩‍👧", "\"", "\\", "{}", ",", "NULL", "\n", "\u{1}", "𝄞", "e\u{301}", " "]
        let count = Int.random(in: 0...12, using: &generator)
        return (0..<count).map { _ in pieces.randomElement(using: &generator)! }.joined()
    }
}
