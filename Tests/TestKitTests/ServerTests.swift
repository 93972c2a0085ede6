import Foundation
import TestKit
import Testing

/// What the kit asks of the servers that all tests share.
@Suite struct ServerTests {
    @Test func aVirtualHostIsMadeLookedAtAndGone() async throws {
        let control = try BrokerControl.shared()
        let name = freshName("kit")
        try await control.makeVirtualHost(name)
        #expect(try await control.queues(of: name).isEmpty)
        // A classic queue and a quorum queue, by the broker itself.
        try await control.evaluate(
            """
            lists:foreach(fun({Queue, Type}) ->
                {new, _} = rabbit_amqqueue:declare(
                    rabbit_misc:r(<<"\(name)">>, queue, Queue), true, false,
                    [{<<"x-queue-type">>, longstr, Type}], none, <<"tests">>)
            end, [{<<"one">>, <<"classic">>}, {<<"two">>, <<"quorum">>}])
            """
        )
        func counts() async throws -> [String: [Int]] {
            try await control.queues(of: name).mapValues { [$0.ready, $0.messages, $0.consumers] }
        }
        #expect(try await counts() == ["one": [0, 0, 0], "two": [0, 0, 0]])
        #expect(try await control.consumers(of: name).isEmpty)
        try await control.deleteQueue("one", of: name)
        #expect(try await counts() == ["two": [0, 0, 0]])
        try await control.deleteVirtualHost(name)
        await #expect(throws: KitError.self) { try await control.deleteQueue("two", of: name) }
    }

    @Test func whatTheBrokerCannotEvaluateIsSaid() async throws {
        let control = try BrokerControl.shared()
        #expect(try await control.evaluate(#"io:put_chars("said")"#) == "said")
        #expect(try await control.version().first?.isNumber == true)
        for expressions in ["ok = not_ok", "nobody:knows()", "throw(it)", "syntax ("] {
            await #expect(throws: KitError.self, "\(expressions)") { try await control.evaluate(expressions) }
        }
    }

    @Test func aDatabaseIsCopiedFromItsTemplateAndGone() async throws {
        let template = TemplateDatabase { url in
            try await TestDatabase.execute("create table of_the_template (x int)", on: url)
        }
        var last = ""
        for _ in 1...2 {
            try await TestDatabase.with(template: try await template.name()) { url in
                last = url
                try await TestDatabase.execute("insert into of_the_template values (1)", on: url)
            }
        }
        let gone = last
        let error = await #expect(throws: KitError.self) { try await TestDatabase.execute("select 1", on: gone) }
        #expect(error?.description.contains("does not exist") == true)
    }
}
