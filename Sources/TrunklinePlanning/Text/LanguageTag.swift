internal import Foundation

/// A language as senders write it (`es`, `es-ES`, `es_ES`, the old `iw`), in the one form of BCP 47.
package struct LanguageTag: Sendable, Hashable, CustomStringConvertible {
    /// `es-ES`.
    package let value: String
    /// `es`; with its script where that is not the usual one: `zh-Hant`.
    package let base: String
    /// Two capital letters.
    package let region: String?

    /// Nil for what is no tag of a language.
    package init?(_ text: String) {
        let isTag =
            (2...35).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
                default: false
                }
            }
        guard isTag else { return nil }
        let parts = Locale.identifier(.bcp47, from: text).split(separator: "-").map(String.init)
        guard let language = parts.first, (2...3).contains(language.utf8.count),
            language.utf8.allSatisfy({ (0x61...0x7A).contains($0) })
        else { return nil }
        let rest = parts.dropFirst()
        let script = rest.first { $0.utf8.count == 4 && $0.utf8.allSatisfy { $0 > 0x40 } }
        let region = rest.first { $0.utf8.count == 2 }?.uppercased()
        let base = [language, script].compactMap { $0 }.joined(separator: "-")
        self.base = base
        self.region = region
        value = [base, region].compactMap { $0 }.joined(separator: "-")
    }

    package var description: String { value }
}
