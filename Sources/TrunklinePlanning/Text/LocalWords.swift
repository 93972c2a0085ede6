internal import Foundation
internal import TrunklineCore

/// Money and times as people of one language and country write them: Foundation's ICU knows how.
struct LocalWords {
    let locale: Locale
    let zone: TimeZone

    /// - Parameters:
    ///   - language: of the template, so that a text is in one language.
    ///   - country: of the customer: Spanish in Mexico writes other amounts than in Spain.
    init(language: LanguageTag, country: String?, zone: TimeZone) {
        let region = language.region ?? country
        locale = Locale(identifier: region.map { language.base + "_" + $0 } ?? language.base)
        self.zone = zone
    }

    /// Nil for an amount that cannot be written exactly.
    func money(_ money: SourceFact.Money) -> String? {
        let point = money.amount.firstIndex(of: ".")
        let fraction = point.map { money.amount[money.amount.index(after: $0)...] } ?? ""
        let needed = fraction.reversed().drop { $0 == "0" }.count
        // Decimal holds 38 digits.
        guard money.amount.utf8.count <= 30, let amount = Decimal(string: money.amount, locale: Self.plain) else {
            return nil
        }
        var style = Decimal.FormatStyle.Currency(code: money.currency).locale(locale)
        let usual = Self.digits(money.currency)
        // An amount is never rounded: it is what the customer pays.
        if needed > usual { style = style.precision(.fractionLength(needed)) }
        return amount.formatted(style)
    }

    private static let plain = Locale(identifier: "en_US_POSIX")

    /// How many digits behind the point a currency has: ICU tells it only by writing nothing with them.
    private static func digits(_ currency: String) -> Int {
        let zero = Decimal(0).formatted(
            Decimal.FormatStyle.Currency(code: currency).locale(Locale(identifier: "en_US"))
        )
        guard let point = zero.lastIndex(of: ".") else { return 0 }
        return zero[zero.index(after: point)...].prefix { $0 == "0" }.count
    }

    /// `martes, 3 de noviembre`.
    func day(_ moment: Timestamp) -> String {
        style.weekday(.wide).day().month(.wide).format(moment.date)
    }

    /// `9:30`, `9:30 AM`.
    func time(_ moment: Timestamp) -> String {
        style.hour().minute().format(moment.date)
    }

    private var style: Date.FormatStyle {
        Date.FormatStyle(
            date: .omitted,
            time: .omitted,
            locale: locale,
            calendar: Calendar(identifier: .gregorian),
            timeZone: zone
        )
    }
}
