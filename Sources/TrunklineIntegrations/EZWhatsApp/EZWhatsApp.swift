package import TrunklineCore

/// The EZWhatsApp Channel API, as pure functions: what to ask, and what an answer means. No I/O and no clock.
///
/// Only 202 and the shape of a good health answer are documented; everything else here is decided on the status alone and
/// on the safe side (`docs/delivery-guarantees.md`).
package enum EZWhatsApp {
    /// Bodies up to this size are looked into, in bytes.
    package static let maximumAnswerBytes = 65_536

    /// Where a line's API lives: `https://app.ezw.solutions/api/v1`. The token goes to this origin only.
    package struct BaseURL: Sendable, Hashable, CustomStringConvertible {
        /// Without a slash at the end.
        package let value: String

        /// Scheme, host and port: what a line's token may be sent to.
        package let origin: String

        /// `https` with a host, or `http` to a loopback address where that is allowed; no user name, query or fragment.
        /// Throws a refusal on the field `base-url`.
        package init(_ text: String, mayBeLoopback: Bool = true) throws(Refusal) {
            func refused(_ reason: String) -> Refusal {
                Refusal(kind: .invalid, field: "base-url", reason: "base URL \(reason)")
            }
            let address = try WebAddress(
                text,
                field: "base-url",
                name: "base URL",
                longest: 512,
                mayBeLoopback: mayBeLoopback
            )
            var path = address.rest[...]
            if path.contains("?") || path.contains("#") { throw refused("must not hold a query or a fragment") }
            if path.contains("@") { throw refused("must not hold a user name or password") }
            while path.hasSuffix("/") { path.removeLast() }
            origin = address.origin
            value = address.origin + path
        }

        package var description: String { value }
    }

    /// A line's secret. Its description shows the last four characters only.
    package struct Token: Sendable, Hashable {
        /// The secret itself: goes into the `Authorization` header and nowhere else.
        package let value: String

        /// What every token begins with.
        package static let prefix = "ezw_line_"

        /// The prefix and after it the characters of a bearer token (RFC 6750, 2.1), at most 512 in all. Nothing else is
        /// ever sent as a token, wherever it was read: no key, no password, no URL has this form.
        /// Throws a refusal on the field `token`.
        package init(_ value: String) throws(Refusal) {
            let secret = value.utf8.dropFirst(Self.prefix.utf8.count)
            guard value.hasPrefix(Self.prefix), !secret.isEmpty, value.utf8.count <= 512,
                secret.allSatisfy(Self.isTokenCharacter)
            else {
                throw Refusal(
                    kind: .invalid,
                    field: "token",
                    reason:
                        "the token does not look like \(Self.prefix)… (letters, digits and -._~+/=; at most 512; it has "
                        + "\(value.utf8.count) bytes)"
                )
            }
            self.value = value
        }

        private static func isTokenCharacter(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "-._~+/=".utf8.contains(byte)
            }
        }

        /// What may be shown: `…abcd`.
        package var lastFour: String { "…" + value.suffix(4) }
    }
}

extension EZWhatsApp.Token: CustomStringConvertible, CustomReflectable {
    package var description: String { lastFour }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
