extension OpenAPI {
    static let schemas = #"""
        components:
          securitySchemes:
            key:
              type: http
              scheme: bearer
              description: An API key, `trk_` and 43 characters.
          parameters:
            IdempotencyKey:
              name: Idempotency-Key
              in: header
              description: The message's key, in place of the body's member `key`; both must be the same where both are given.
              schema: { $ref: "#/components/schemas/Key" }
            DropInKey:
              name: Idempotency-Key
              in: header
              required: true
              description: Any text. One outside of a key's grammar is known here as `h:` and its SHA-256 in hexadecimal.
              schema: { type: string, minLength: 1 }
            Message:
              name: message
              in: path
              required: true
              description: The id of a message or a delivery, or the key of a message.
              schema: { type: string, minLength: 1, maxLength: 128 }
            SourceToken:
              name: token
              in: path
              required: true
              description: The source's token. A secret.
              schema: { type: string, pattern: "^[A-Za-z0-9_-]{20,128}$" }
            By:
              name: by
              in: query
              description: Which of the two the name is, where it could be both.
              schema: { enum: [id, key] }
          responses:
            Accepted:
              description: |
                It is accepted, and will end in exactly one visible state. `accepted` is committed; `queued_unverified` is what only the
                broker has, while the database is away, and has no id yet.
              headers:
                Location:
                  description: Where its story is told.
                  schema: { type: string }
                Idempotency-Replayed:
                  description: "`true` when an earlier request brought it in."
                  schema: { const: "true" }
                Trunkline-Warning:
                  description: Habits that make a retry another message; nothing is refused for them.
                  schema: { type: string }
              content:
                application/json:
                  schema: { $ref: "#/components/schemas/Accepted" }
                  example: { id: "17", key: "order:acme.1042:ready", line: acme-il, state: accepted }
            FactVerdict:
              description: What became of the facts.
              content:
                application/json:
                  schema: { $ref: "#/components/schemas/FactVerdict" }
                  example: { verdict: stored, older: [name] }
            Problem:
              description: Why it was not done. 503 and 429 say with `Retry-After` when to ask again; the same request again is always safe.
              content:
                application/problem+json:
                  schema: { $ref: "#/components/schemas/Problem" }
                  example:
                    type: "urn:trunkline:problem:key-conflict"
                    title: The key was used for other content
                    status: 422
                    detail: "the key order:acme.1042:ready is another notice already; the same key must come with the same content"
                    field: key
                    givenContent: 0f343b0931126a20f133d67c2b018a3b
                    storedContent: 60303ae22b998861bce3b28f33eec1be
                    job: "17"
                    line: acme-il
                    instance: 4bf92f3577b34da6
            EZWhatsAppError:
              description: Why it was not done, in EZWhatsApp's shape. A key with other content is 409.
              content:
                application/json:
                  schema: { $ref: "#/components/schemas/EZWhatsAppError" }
                  example: { error: { code: idempotency_conflict, message: the key is another notice already } }
          schemas:
            Key:
              type: string
              pattern: "^[A-Za-z0-9._:-]{1,128}$"
            Time:
              type: string
              format: date-time
            Tags:
              type: object
              maxProperties: 20
              additionalProperties: { type: string, maxLength: 256 }
            SendJob:
              description: One notice to one person.
              type: object
              additionalProperties: false
              required: [line, to, body, purpose]
              properties:
                schema: { const: trunkline.send.v1 }
                line: { type: string, pattern: "^[A-Za-z0-9._-]{1,64}$" }
                key: { $ref: "#/components/schemas/Key" }
                to:
                  description: The recipient in E.164.
                  type: string
                  pattern: "^\\+[1-9][0-9]{7,14}$"
                body:
                  description: The text; at most 4,096 UTF-16 units, no control character but newline.
                  type: string
                  minLength: 1
                  maxLength: 4096
                button:
                  type: object
                  additionalProperties: false
                  required: [text, url]
                  properties:
                    text: { type: string, minLength: 1, maxLength: 20 }
                    url: { type: string, pattern: "^https://", maxLength: 2000 }
                purpose: { enum: [order, pickup, invoice, delivery, appointment, reminder, first_touch, account] }
                notBefore: { $ref: "#/components/schemas/Time" }
                sendBefore: { $ref: "#/components/schemas/Time" }
                supersedeKey: { $ref: "#/components/schemas/Key" }
                factAt: { $ref: "#/components/schemas/Time" }
                orderingKey: { $ref: "#/components/schemas/Key" }
                tags: { $ref: "#/components/schemas/Tags" }
            DeliverJob:
              description: One event for one destination.
              type: object
              additionalProperties: false
              required: [destination, type, timestamp, data]
              properties:
                schema: { const: trunkline.deliver.v1 }
                destination: { type: string, pattern: "^[A-Za-z0-9._-]{1,64}$" }
                key: { $ref: "#/components/schemas/Key" }
                type: { type: string, pattern: "^[A-Za-z0-9._-]{1,64}$" }
                timestamp: { $ref: "#/components/schemas/Time" }
                data: { type: object }
                notBefore: { $ref: "#/components/schemas/Time" }
                sendBefore: { $ref: "#/components/schemas/Time" }
                supersedeKey: { $ref: "#/components/schemas/Key" }
                factAt: { $ref: "#/components/schemas/Time" }
                orderingKey: { $ref: "#/components/schemas/Key" }
                tags: { $ref: "#/components/schemas/Tags" }
            Texts:
              type: object
              maxProperties: 50
              additionalProperties: { type: string }
            Amount:
              type: object
              additionalProperties: false
              required: [amount, currency]
              properties:
                amount: { type: string, pattern: "^-?[0-9]{1,15}(\\.[0-9]{1,6})?$" }
                currency: { type: string, pattern: "^[A-Z]{3}$" }
            ContactFacts:
              description: An absent field says nothing; an empty text, list or object says that there is nothing any more.
              type: object
              additionalProperties: false
              properties:
                factAt: { $ref: "#/components/schemas/Time" }
                name: { type: string, maxLength: 200 }
                email: { type: string, maxLength: 254 }
                language: { type: string, maxLength: 35 }
                country: { type: string, maxLength: 2 }
                status: { type: string, maxLength: 64 }
                consent: { type: string, enum: [given, withdrawn, ""] }
                ids: { $ref: "#/components/schemas/Texts" }
                tags: { type: array, maxItems: 50, items: { type: string } }
                notes: { type: array, maxItems: 50, items: { type: string } }
                links: { $ref: "#/components/schemas/Texts" }
                loyalty: { type: object }
                metrics: { type: object }
            OrderFacts:
              description: An absent field says nothing; an empty text, list or object says that there is nothing any more.
              type: object
              additionalProperties: false
              properties:
                factAt: { $ref: "#/components/schemas/Time" }
                phone: { type: string }
                number: { type: string, maxLength: 64 }
                state: { type: string, maxLength: 64 }
                placedAt: { $ref: "#/components/schemas/Time" }
                total: { $ref: "#/components/schemas/Amount" }
                refunded: { $ref: "#/components/schemas/Amount" }
                discounts: { $ref: "#/components/schemas/Amount" }
                items: { type: array }
                parcels: { type: array }
                links: { $ref: "#/components/schemas/Texts" }
            FactVerdict:
              type: object
              additionalProperties: false
              required: [verdict, older]
              properties:
                verdict:
                  description: Something changed; all of it was known; nothing changed, and newer facts stand against what was said.
                  enum: [stored, same, older]
                older: { type: array, items: { type: string }, description: Fields of which a newer fact is kept. }
            Accepted:
              type: object
              additionalProperties: false
              required: [key, state]
              properties:
                id: { type: string, pattern: "^[1-9][0-9]*$" }
                key: { $ref: "#/components/schemas/Key" }
                line: { type: string }
                destination: { type: string }
                state: { enum: [accepted, queued_unverified] }
            BatchResults:
              type: object
              additionalProperties: false
              required: [results]
              properties:
                results:
                  type: array
                  items:
                    type: object
                    additionalProperties: false
                    required: [status, replayed]
                    properties:
                      status: { type: integer }
                      replayed: { type: boolean }
                      warnings: { type: array, items: { enum: [key_holds_time, key_is_random, same_text] } }
                      message: { $ref: "#/components/schemas/Accepted" }
                      problem: { $ref: "#/components/schemas/Problem" }
            Story:
              type: object
              additionalProperties: false
              required: [job, sentence, state, scheduled, cancelWanted, attempt, tries, attempts, actions]
              properties:
                job: { type: string }
                sentence: { type: string }
                key: { type: string }
                line: { type: string }
                destination: { type: string }
                to: { type: string, description: Masked. }
                purpose: { type: string }
                state:
                  enum: [accepted, waiting, sending, unknown, parked, sent, cancelled, expired, superseded, discarded]
                reason: { type: string }
                acceptedAt: { $ref: "#/components/schemas/Time" }
                endedAt: { $ref: "#/components/schemas/Time" }
                dueAt: { $ref: "#/components/schemas/Time" }
                sendBefore: { $ref: "#/components/schemas/Time" }
                scheduled: { type: boolean }
                cancelWanted: { type: boolean }
                supersededBy: { type: string }
                behind: { type: string }
                attempt: { type: integer }
                tries: { type: integer }
                maybeSentSince: { $ref: "#/components/schemas/Time" }
                remoteId: { type: string }
                attempts:
                  type: array
                  items:
                    type: object
                    additionalProperties: false
                    required: [number, startedAt, endedAt, outcome]
                    properties:
                      number: { type: integer }
                      startedAt: { $ref: "#/components/schemas/Time" }
                      endedAt: { $ref: "#/components/schemas/Time" }
                      outcome: { type: string }
                      reason: { type: string }
                      status: { type: integer }
                actions:
                  type: array
                  items:
                    type: object
                    additionalProperties: false
                    required: [at, action, by]
                    properties:
                      at: { $ref: "#/components/schemas/Time" }
                      action: { type: string }
                      by: { type: string }
                      why: { type: string }
            Cancelled:
              type: object
              additionalProperties: false
              required: [id, key, verdict]
              properties:
                id: { type: string }
                key: { $ref: "#/components/schemas/Key" }
                verdict: { enum: [cancelled, in_the_air] }
            Rescheduled:
              type: object
              additionalProperties: false
              required: [id, key, notBefore, scheduled]
              properties:
                id: { type: string }
                key: { $ref: "#/components/schemas/Key" }
                notBefore: { $ref: "#/components/schemas/Time" }
                scheduled: { type: boolean, description: Whether that is in the future. }
            Readiness:
              type: object
              additionalProperties: false
              required: [status, database, broker, keys]
              properties:
                status: { enum: [ready, not_ready] }
                database: { type: string, description: "`ok`, or why it is not." }
                broker: { type: string }
                keys: { type: string }
            Problem:
              description: https://www.rfc-editor.org/rfc/rfc9457
              type: object
              required: [type, title, status, detail]
              properties:
                type:
                  type: string
                  enum:
                    - urn:trunkline:problem:malformed
                    - urn:trunkline:problem:invalid-field
                    - urn:trunkline:problem:unknown-parameter
                    - urn:trunkline:problem:unauthenticated
                    - urn:trunkline:problem:forbidden
                    - urn:trunkline:problem:not-found
                    - urn:trunkline:problem:unknown-lane
                    - urn:trunkline:problem:method-not-allowed
                    - urn:trunkline:problem:not-acceptable
                    - urn:trunkline:problem:gone
                    - urn:trunkline:problem:too-late
                    - urn:trunkline:problem:ambiguous
                    - urn:trunkline:problem:too-large
                    - urn:trunkline:problem:unsupported-media-type
                    - urn:trunkline:problem:key-conflict
                    - urn:trunkline:problem:unreadable
                    - urn:trunkline:problem:policy
                    - urn:trunkline:problem:late
                    - urn:trunkline:problem:rate-limited
                    - urn:trunkline:problem:overloaded
                    - urn:trunkline:problem:unavailable
                    - urn:trunkline:problem:failed
                title: { type: string }
                status: { type: integer }
                detail: { type: string, description: One sentence. }
                field: { type: string, description: The path of the field at fault. }
                instance: { type: string, description: "The request's id, as in `X-Request-Id`." }
                givenContent: { type: string, description: What names the content of this request. }
                storedContent: { type: string, description: What names the content under that key. }
                job: { type: string }
                line: { type: string }
                destination: { type: string }
            Text:
              type: object
              additionalProperties: false
              required: [to, body]
              properties:
                to: { type: string }
                body: { type: string }
                ctaUrlButton:
                  type: object
                  additionalProperties: false
                  required: [displayText, url]
                  properties:
                    displayText: { type: string, maxLength: 20 }
                    url: { type: string }
            Queued:
              type: object
              required: [status, attemptId, lineId]
              properties:
                status: { const: queued }
                attemptId: { type: string }
                lineId: { type: string }
            LineHealth:
              type: object
              required: [health, line]
              properties:
                health:
                  type: object
                  required: [status]
                  properties:
                    status:
                      type: object
                      required: [code, text]
                      properties: { code: { type: integer }, text: { type: string } }
                line:
                  type: object
                  required: [lifecycleState, effectiveSendState, sendable]
                  properties:
                    lifecycleState: { type: string }
                    effectiveSendState: { type: string }
                    sendable: { type: boolean }
            EZWhatsAppError:
              type: object
              required: [error]
              properties:
                error:
                  type: object
                  required: [code, message]
                  properties:
                    code: { type: string }
                    message: { type: string }
                    field: { type: string }

        """#
}
