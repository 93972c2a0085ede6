import Foundation
import HTTPTypes
import Logging
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations
import Yams

@testable import TrunklineGateway

/// The document says what the gateway does: the same routes, and examples that are what they are examples of.
@Suite struct OpenAPITests {
    private static func document() throws -> [String: Any] {
        try #require(try Yams.load(yaml: OpenAPI.text) as? [String: Any])
    }

    private static func gateway() throws -> Gateway {
        try Gateway(
            GatewayConfiguration(
                host: "127.0.0.1",
                port: 0,
                databaseURL: "postgresql://nobody@127.0.0.1:1/none",
                amqpURL: "amqp://127.0.0.1:1/",
                carriers: .standard,
                sources: .standard,
                events: .standard,
                now: { Timestamp(microseconds: 0) }
            ),
            logger: Logger(label: "tests")
        )
    }

    private struct Operation {
        let path: String
        let method: String
        let node: [String: Any]
    }

    private static func operations() throws -> [Operation] {
        let paths = try #require(try document()["paths"] as? [String: [String: Any]])
        return paths.flatMap { path, methods in
            methods.map { Operation(path: path, method: $0.uppercased(), node: $1 as? [String: Any] ?? [:]) }
        }
    }

    @Test func theRoutesAreThoseOfTheGateway() throws {
        let described = Set(try Self.operations().map { "\($0.method) \($0.path)" })
        let real = Set(try Self.gateway().routes.map { "\($0.method.rawValue) \($0.pattern)" })
        #expect(described == real)
    }

    @Test func parametersBodiesAndKeysAreThoseOfTheRoutes() throws {
        let document = try Self.document()
        let routes = try Self.gateway().routes
        for operation in try Self.operations() {
            let route = try #require(
                routes.first { $0.method.rawValue == operation.method && $0.pattern == operation.path }
            )
            let parameters = (operation.node["parameters"] as? [[String: Any]] ?? []).map {
                Schema.resolve($0, document)
            }
            func names(_ place: String) -> Set<String> {
                Set(parameters.filter { $0["in"] as? String == place }.compactMap { $0["name"] as? String })
            }
            #expect(names("query") == route.parameters, "\(operation.path)")
            let parts = operation.path.split(separator: "/").filter { $0.hasPrefix("{") }
            #expect(names("path") == Set(parts.map { String($0.dropFirst().dropLast()) }), "\(operation.path)")
            #expect((operation.node["requestBody"] != nil) == (route.body != .none), "\(operation.path)")
            #expect((operation.node["security"] != nil) == (route.access == .everybody), "\(operation.path)")
            if case .key(let scope) = route.access {
                let summary = operation.node["summary"] as? String ?? ""
                #expect(summary.localizedCaseInsensitiveContains("scope \(scope.rawValue)"), "\(operation.path)")
            }
        }
    }

    /// Every media type that has a schema and an example, wherever it stands.
    private static func examples(_ node: Any, _ path: String = "") -> [(path: String, schema: Any, example: Any)] {
        var found: [(path: String, schema: Any, example: Any)] = []
        if let object = node as? [String: Any] {
            if let schema = object["schema"], let example = object["example"] { found.append((path, schema, example)) }
            for (name, value) in object where name != "example" { found += examples(value, path + "/" + name) }
        } else if let list = node as? [Any] {
            for (index, value) in list.enumerated() { found += examples(value, path + "/\(index)") }
        }
        return found
    }

    @Test func everyExampleIsWhatItsSchemaSays() throws {
        let document = try Self.document()
        let examples = Self.examples(document)
        #expect(examples.count >= 18)
        for (path, schema, example) in examples {
            let faults = Schema.faults(of: example, schema, document, "")
            #expect(faults.isEmpty, "\(path): \(faults)")
        }
        // The validator itself: what must not pass does not.
        let schemas = try #require((document["components"] as? [String: Any])?["schemas"] as? [String: Any])
        let job = try #require(schemas["SendJob"])
        let bad: [[String: Any]] = [
            [:], ["line": 1, "to": "+972501234567", "body": "a", "purpose": "order"],
            ["line": "a", "to": "972501234567", "body": "a", "purpose": "order"],
            ["line": "a", "to": "+972501234567", "body": "", "purpose": "order"],
            ["line": "a", "to": "+972501234567", "body": "a", "purpose": "campaign"],
            ["line": "a", "to": "+972501234567", "body": "a", "purpose": "order", "colour": "red"],
        ]
        for value in bad { #expect(!Schema.faults(of: value, job, document, "").isEmpty, "\(value)") }
    }

    /// What the examples of requests say is what the readers of requests take.
    @Test func theExamplesOfRequestsAreTaken() throws {
        for operation in try Self.operations() where operation.method == "POST" && operation.path.hasPrefix("/v1/") {
            let body = operation.node["requestBody"] as? [String: Any]
            let content = (body?["content"] as? [String: Any])?["application/json"] as? [String: Any]
            guard let example = content?["example"] as? [String: Any] else { continue }
            let jobs = example["messages"] as? [[String: Any]] ?? [example]
            for job in jobs {
                let json = Array(try JSONSerialization.data(withJSONObject: job))
                switch operation.path {
                case "/v1/messages", "/v1/messages/batch": _ = try SendJob.decode(addressed: json)
                case "/v1/deliveries": _ = try DeliverJob.decode(addressed: json)
                default: #expect(operation.path.hasSuffix("/reschedule"))
                }
            }
        }
    }

    @Test func everyPurposeAndProblemIsThere() throws {
        let document = try Self.document()
        let schemas = try #require((document["components"] as? [String: Any])?["schemas"] as? [String: [String: Any]])
        let purpose = (schemas["SendJob"]?["properties"] as? [String: [String: Any]])?["purpose"]
        #expect(purpose?["enum"] as? [String] == Purpose.allCases.map(\.rawValue))
        let type = (schemas["Problem"]?["properties"] as? [String: [String: Any]])?["type"]
        let told = try Problem.Kind.allCases.map { kind in
            let problem = Problem(kind, "").answer(instance: "1")
            return (try JSONSerialization.jsonObject(with: Data(problem.body)) as? [String: Any])?["type"] as? String
        }
        #expect(type?["enum"] as? [String] == told)
    }
}

/// As much of JSON Schema as the document uses.
enum Schema {
    static func resolve(_ node: [String: Any], _ document: [String: Any]) -> [String: Any] {
        guard let reference = node["$ref"] as? String else { return node }
        var at: Any? = document
        for part in reference.dropFirst(2).split(separator: "/") { at = (at as? [String: Any])?[String(part)] }
        return at as? [String: Any] ?? ["type": "of a reference that leads nowhere"]
    }

    static func faults(of value: Any, _ schema: Any, _ document: [String: Any], _ path: String) -> [String] {
        let schema = resolve(schema as? [String: Any] ?? [:], document)
        var faults: [String] = []
        let types = (schema["type"] as? [String]) ?? (schema["type"] as? String).map { [$0] } ?? []
        if !types.isEmpty, !types.contains(where: { isA(value, $0) }) { faults.append("\(path) is not \(types)") }
        if let constant = schema["const"], "\(constant)" != "\(value)" { faults.append("\(path) is not \(constant)") }
        if let words = schema["enum"] as? [String], !words.contains(value as? String ?? "") {
            faults.append("\(path) is none of \(words)")
        }
        if let text = value as? String { faults += textFaults(text, schema, path) }
        if let list = value as? [Any] {
            if let most = schema["maxItems"] as? Int, list.count > most { faults.append("\(path) is too long") }
            if let items = schema["items"] {
                for (index, item) in list.enumerated() {
                    faults += Self.faults(of: item, items, document, "\(path)/\(index)")
                }
            }
        }
        if let object = value as? [String: Any] { faults += objectFaults(object, schema, document, path) }
        return faults
    }

    private static func textFaults(_ text: String, _ schema: [String: Any], _ path: String) -> [String] {
        var faults: [String] = []
        if let pattern = schema["pattern"] as? String, text.range(of: pattern, options: .regularExpression) == nil {
            faults.append("\(path) does not match \(pattern)")
        }
        if let least = schema["minLength"] as? Int, text.count < least { faults.append("\(path) is too short") }
        if let most = schema["maxLength"] as? Int, text.count > most { faults.append("\(path) is too long") }
        if schema["format"] as? String == "date-time", Timestamp(rfc3339: text) == nil {
            faults.append("\(path) is no time")
        }
        return faults
    }

    private static func objectFaults(
        _ object: [String: Any],
        _ schema: [String: Any],
        _ document: [String: Any],
        _ path: String
    ) -> [String] {
        let properties = schema["properties"] as? [String: Any] ?? [:]
        var faults = (schema["required"] as? [String] ?? []).filter { object[$0] == nil }.map {
            "\(path)/\($0) is missing"
        }
        for (name, value) in object {
            if let property = properties[name] {
                faults += Self.faults(of: value, property, document, "\(path)/\(name)")
            } else if schema["additionalProperties"] as? Bool == false {
                faults.append("\(path)/\(name) is not known")
            } else if let rest = schema["additionalProperties"] as? [String: Any] {
                faults += Self.faults(of: value, rest, document, "\(path)/\(name)")
            }
        }
        return faults
    }

    private static func isA(_ value: Any, _ type: String) -> Bool {
        switch type {
        case "object": value is [String: Any]
        case "array": value is [Any]
        case "string": value is String
        case "integer": value is Int
        case "boolean": value is Bool
        case "null": value is NSNull
        default: false
        }
    }
}
