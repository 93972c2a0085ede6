extension OpenAPI {
    static let head = #"""
        openapi: 3.1.0
        info:
          title: Trunkline
          version: "1"
          description: |
            Gives WhatsApp notices to Trunkline, and asks what became of them.

            Every request but those for health, for this document and of sources' senders needs an API key, made with `trunkline apikey create`. A key
            is of one workspace, and sees and touches nothing of another one.

            A message is named by its key, which says what happened in the business (`order:acme.1042:ready`). The same request
            again is answered like the first time, for ever, with `Idempotency-Replayed: true`; the same key with other content
            is refused with 422.
        servers:
          - url: http://127.0.0.1:8080
        security:
          - key: []

        """#

    static let paths = #"""
        paths:
          /v1/messages:
            post:
              operationId: sendMessage
              summary: Accept one notice. Scope send.
              parameters:
                - $ref: "#/components/parameters/IdempotencyKey"
              requestBody:
                required: true
                content:
                  application/json:
                    schema: { $ref: "#/components/schemas/SendJob" }
                    example:
                      line: acme-il
                      key: "order:acme.1042:ready"
                      to: "+972501234567"
                      body: Your order 1042 is ready.
                      button: { text: See order, url: "https://shop.example/o/1042" }
                      purpose: pickup
                      sendBefore: "2026-12-01T18:00:00Z"
                      supersedeKey: "order:acme.1042"
                      factAt: "2026-12-01T09:00:00Z"
                      tags: { order: "1042" }
              responses:
                "202": { $ref: "#/components/responses/Accepted" }
                default: { $ref: "#/components/responses/Problem" }
          /v1/messages/batch:
            post:
              operationId: sendMessages
              summary: Accept up to 1,000 notices, with a verdict for each. Scope send.
              requestBody:
                required: true
                content:
                  application/json:
                    schema:
                      type: object
                      additionalProperties: false
                      required: [messages]
                      properties:
                        messages:
                          type: array
                          maxItems: 1000
                          items: { $ref: "#/components/schemas/SendJob" }
                    example:
                      messages:
                        - line: acme-il
                          key: "order:acme.1042:ready"
                          to: "+972501234567"
                          body: Your order 1042 is ready.
                          purpose: pickup
              responses:
                "200":
                  description: A result for each message, in their order.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/BatchResults" }
                      example:
                        results:
                          - status: 202
                            replayed: false
                            message: { id: "17", key: "order:acme.1042:ready", line: acme-il, state: accepted }
                          - status: 400
                            replayed: false
                            problem:
                              type: "urn:trunkline:problem:invalid-field"
                              title: A field breaks its rule
                              status: 400
                              detail: body is empty
                              field: body
                default: { $ref: "#/components/responses/Problem" }
          /v1/messages/{message}:
            get:
              operationId: getMessage
              summary: What state a message is in, since when, why, and what releases it. Scope read.
              parameters:
                - $ref: "#/components/parameters/Message"
                - $ref: "#/components/parameters/By"
              responses:
                "200":
                  description: The message's story, as `trunkline why --json` tells it.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Story" }
                      example:
                        job: "17"
                        sentence: It was sent at 2026-12-01T10:00:02Z by attempt 1, 1.2 s after it was accepted.
                        key: "order:acme.1042:ready"
                        line: acme-il
                        to: "+97250•••4567"
                        purpose: pickup
                        state: sent
                        acceptedAt: "2026-12-01T10:00:01Z"
                        endedAt: "2026-12-01T10:00:02Z"
                        scheduled: false
                        cancelWanted: false
                        attempt: 1
                        tries: 1
                        attempts:
                          - number: 1
                            startedAt: "2026-12-01T10:00:01Z"
                            endedAt: "2026-12-01T10:00:02Z"
                            outcome: sent
                        actions: []
                default: { $ref: "#/components/responses/Problem" }
          /v1/messages/{message}/cancel:
            post:
              operationId: cancelMessage
              summary: Cancel a message that has not been sent. Scope operate.
              parameters:
                - $ref: "#/components/parameters/Message"
                - $ref: "#/components/parameters/By"
              responses:
                "200":
                  description: It will not be sent.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Cancelled" }
                      example: { id: "17", key: "order:acme.1042:ready", verdict: cancelled }
                "202":
                  description: An attempt runs. If it comes back unsent, the message ends as cancelled.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Cancelled" }
                      example: { id: "17", key: "order:acme.1042:ready", verdict: in_the_air }
                default: { $ref: "#/components/responses/Problem" }
          /v1/messages/{message}/reschedule:
            post:
              operationId: rescheduleMessage
              summary: Give a message that has not begun another time. Scope operate.
              parameters:
                - $ref: "#/components/parameters/Message"
                - $ref: "#/components/parameters/By"
              requestBody:
                required: true
                content:
                  application/json:
                    schema:
                      type: object
                      additionalProperties: false
                      required: [notBefore]
                      properties:
                        notBefore:
                          description: From when on it may be sent; null is now.
                          type: [string, "null"]
                          format: date-time
                    example: { notBefore: "2026-12-01T18:00:00Z" }
              responses:
                "200":
                  description: It has that time now.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Rescheduled" }
                      example: { id: "17", key: "order:acme.1042:ready", notBefore: "2026-12-01T18:00:00Z", scheduled: true }
                default: { $ref: "#/components/responses/Problem" }
          /v1/deliveries:
            post:
              operationId: deliver
              summary: Accept one event for one destination. Scope send.
              parameters:
                - $ref: "#/components/parameters/IdempotencyKey"
              requestBody:
                required: true
                content:
                  application/json:
                    schema: { $ref: "#/components/schemas/DeliverJob" }
                    example:
                      destination: acme-crm
                      key: "message:wamid.77:received"
                      type: message.received
                      timestamp: "2026-12-01T09:00:00Z"
                      data: { conversation: cv_51, words: 12 }
              responses:
                "202": { $ref: "#/components/responses/Accepted" }
                default: { $ref: "#/components/responses/Problem" }
          /v1/contacts/{phone}:
            put:
              operationId: putContact
              summary: Say what is known of a person; the newest fact wins, field by field. Scope send.
              parameters:
                - name: phone
                  in: path
                  required: true
                  description: In E.164, with its plus sign.
                  schema: { type: string, pattern: "^\\+[1-9][0-9]{7,14}$" }
              requestBody:
                required: true
                content:
                  application/json:
                    schema: { $ref: "#/components/schemas/ContactFacts" }
                    example:
                      factAt: "2026-12-01T09:00:00Z"
                      name: Marta Soler
                      language: es-ES
                      ids: { shopify: "88" }
                      tags: [vip]
              responses:
                "200": { $ref: "#/components/responses/FactVerdict" }
                default: { $ref: "#/components/responses/Problem" }
          /v1/orders/{id}:
            put:
              operationId: putOrder
              summary: Say what is known of an order; the newest fact wins, field by field. Scope send.
              parameters:
                - name: id
                  in: path
                  required: true
                  description: Opaque, and the sender's own.
                  schema: { type: string, minLength: 1, maxLength: 128 }
              requestBody:
                required: true
                content:
                  application/json:
                    schema: { $ref: "#/components/schemas/OrderFacts" }
                    example:
                      factAt: "2026-12-01T09:00:00Z"
                      phone: "+34600111222"
                      state: shipped
                      total: { amount: "84.50", currency: EUR }
                      items: [{ title: Mug, quantity: 2 }]
              responses:
                "200": { $ref: "#/components/responses/FactVerdict" }
                default: { $ref: "#/components/responses/Problem" }
          /api/v1/messages/text:
            post:
              operationId: sendText
              summary: As EZWhatsApp's own API, for modules that were built for it. Scope send; the key is bound to a line and a purpose.
              parameters:
                - $ref: "#/components/parameters/DropInKey"
              requestBody:
                required: true
                content:
                  application/json:
                    schema: { $ref: "#/components/schemas/Text" }
                    example:
                      to: "+34600111222"
                      body: Hi Marta, order A-1042 is packed and waiting at the counter.
                      ctaUrlButton: { displayText: See order, url: "https://shop.example/o/A-1042" }
              responses:
                "202":
                  description: Queued.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Queued" }
                      example: { status: queued, attemptId: "17", lineId: acme-es }
                default: { $ref: "#/components/responses/EZWhatsAppError" }
          /api/v1/health:
            get:
              operationId: lineHealth
              summary: As EZWhatsApp's own API, answered from what the workers know of the key's line. Scope send.
              parameters:
                - name: wakeup
                  in: query
                  description: Taken, and without effect.
                  schema: { type: string }
                - name: channel_type
                  in: query
                  description: Taken, and without effect.
                  schema: { type: string }
              responses:
                "200":
                  description: The state of the line.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/LineHealth" }
                      example:
                        health: { status: { code: 4, text: AUTH } }
                        line: { lifecycleState: connected, effectiveSendState: sendable, sendable: true }
                default: { $ref: "#/components/responses/EZWhatsAppError" }
          /healthz:
            get:
              operationId: alive
              summary: Whether the process runs.
              security: []
              responses:
                "200":
                  description: It does.
                  content:
                    application/json:
                      schema:
                        type: object
                        required: [status]
                        properties: { status: { const: alive } }
                      example: { status: alive }
          /readyz:
            get:
              operationId: ready
              summary: Whether messages can be accepted, and which of the two ways in is open.
              security: []
              responses:
                "200":
                  description: At least one way in is open.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Readiness" }
                      example: { status: ready, database: ok, broker: ok, keys: ok }
                "503":
                  description: None is, or the API keys are not known.
                  content:
                    application/json:
                      schema: { $ref: "#/components/schemas/Readiness" }
                      example:
                        status: not_ready
                        database: "database: connection refused"
                        broker: no connection to the broker
                        keys: ok
          /openapi.yaml:
            get:
              operationId: openapi
              summary: This document.
              security: []
              responses:
                "200":
                  description: It.
                  content:
                    application/yaml:
                      schema: { type: string }

        """#
}
