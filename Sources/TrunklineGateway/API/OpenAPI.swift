internal import HTTPTypes

/// The description of the API, served at `/openapi.yaml`.
enum OpenAPI {
    static let mediaType = "application/yaml"

    static var routes: [Route] {
        [
            Route(.get, "/openapi.yaml", .everybody, produces: mediaType) { _ in
                Answer(status: 200, contentType: mediaType, body: Array(text.utf8))
            }
        ]
    }

    static let text = head + paths + senders + schemas
}
