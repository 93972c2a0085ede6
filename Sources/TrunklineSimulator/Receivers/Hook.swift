import Crypto
import Foundation

/// A receiver of signed webhooks (Standard Webhooks 1.0.0) under `/hooks/NAME`. It comes into being with its first request.
struct Hook: Sendable {
    static let prefix = "/hooks/"
    /// How far a delivery's time may be away, in both directions.
    static let tolerance: Int64 = 300

    /// What a hook is signed for unless it was given secrets of its own: anybody can work it out from its name, so that nothing
    /// has to be told to whoever sets up a destination.
    static func usualSecret(of name: String) -> String {
        secretPrefix + Data(SHA256.hash(data: Data("trunkline-hook:\(name)".utf8))).base64EncodedString()
    }

    private static let secretPrefix = "whsec_"

    /// The bytes of a written secret; nil when it is none.
    static func key(of secret: String) -> SymmetricKey? {
        guard secret.hasPrefix(secretPrefix),
            let bytes = Data(base64Encoded: String(secret.dropFirst(secretPrefix.count))),
            (24...64).contains(bytes.count)
        else { return nil }
        return SymmetricKey(data: bytes)
    }

    let name: String
    /// Its own, kept in memory only; empty: the usual one.
    var secrets: [String] = []

    var accepted: [String] { secrets.isEmpty ? [Hook.usualSecret(of: name)] : secrets }
}

/// What a receiver looks at of a request.
struct HookRequest: Sendable {
    var id: String?
    var timestamp: String?
    var signature: String?
    /// The header `X-EZW-Delivery-Id`.
    var deliveryID: String?
    var contentType: String?

    /// Checks a delivery as the reference libraries do.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: its id, and the seconds that it was sent at.
    func verified(body: [UInt8], secrets: [String], now: Int64) throws(APIRefusal) -> (id: String, sentAt: Int64) {
        guard let id, !id.isEmpty, let timestamp, let signature else {
            throw .invalid("the headers webhook-id, webhook-timestamp and webhook-signature are needed")
        }
        guard !id.contains("."), deliveryID == id else {
            throw .invalid("'webhook-id' must hold no dot and be the same as 'X-EZW-Delivery-Id'")
        }
        guard let sentAt = Int64(timestamp), abs(now - sentAt) <= Hook.tolerance else {
            throw .invalid("'webhook-timestamp' must be seconds since 1970, at most 5 min from now")
        }
        let signed = Data("\(id).\(timestamp).".utf8) + Data(body)
        let codes = signature.split(separator: " ").compactMap { part in
            part.hasPrefix("v1,") ? Data(base64Encoded: String(part.dropFirst(3))) : nil
        }
        let isGood = secrets.compactMap(Hook.key).contains { key in
            codes.contains { HMAC<SHA256>.isValidAuthenticationCode($0, authenticating: signed, using: key) }
        }
        guard isGood else {
            throw APIRefusal(status: 401, code: "signature_refused", message: "no signature is good")
        }
        guard contentType?.lowercased().hasPrefix("application/json") == true, (try? JSON.parse(body)) != nil else {
            throw .invalid("the body must be JSON, and announced as application/json")
        }
        return (id, sentAt)
    }
}
