extension OpenAPI {
    static let senders = #"""
          /in/{token}:
            get:
              operationId: greetSource
              summary: What a sender asks once when it is set up, such as Meta's challenge.
              description: |
                Only of kinds of sources whose senders ask that; the query is the sender's own. Others are answered with 405.
              security: []
              parameters:
                - $ref: "#/components/parameters/SourceToken"
              responses:
                "200":
                  description: The challenge, as its sender wants it.
                  content:
                    text/plain:
                      schema: { type: string }
                default: { $ref: "#/components/responses/Problem" }
            post:
              operationId: receiveEvent
              summary: Take events of a client's system, which proves itself as its kind does.
              description: |
                The path is printed by `trunkline source add` and is a secret. The body is taken as it is sent, of whatever media
                type, at most 1 MiB, and held against the sender's proof before anything is read of it. What is answered 2xx is
                stored, once, however often it comes, and runs later; or it is kept as a refusal, where its sender cannot help
                it. What means nothing here is answered 2xx too. Unproven requests are answered 401 without a body, and only
                counted.
              security: []
              parameters:
                - $ref: "#/components/parameters/SourceToken"
              requestBody:
                required: true
                content:
                  "*/*":
                    schema: {}
              responses:
                "200":
                  description: All events of the request are stored, now or before, or kept as refusals. Some senders want a body of their own here.
                "401":
                  description: The sender did not prove itself.
                default: { $ref: "#/components/responses/Problem" }

        """#
}
