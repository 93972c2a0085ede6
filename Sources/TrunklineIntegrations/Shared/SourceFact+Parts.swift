internal import TrunklineCore

/// An exact amount, from a text or from a number as it was written.
func money(_ amount: JSONValue?, _ currency: JSONValue?) -> SourceFact.Money? {
    guard let amount = amount?.word, let currency = currency?.given else { return nil }
    return SourceFact.Money(amount: amount, currency: currency)
}

/// Those of the addresses that are there.
func links(_ candidates: (SourceFact.Link.Kind, JSONValue?)...) -> [SourceFact.Link] {
    candidates.compactMap { kind, url in url?.given.map { SourceFact.Link(kind, $0) } }
}
