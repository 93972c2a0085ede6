/// As much of media types as the gateway must know.
enum MediaType {
    /// `application/json`, in UTF-8 where a charset is named.
    static func isJSON(_ contentType: String?) -> Bool {
        guard let contentType else { return false }
        let parts = contentType.lowercased().split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" } }
        guard parts.first == "application/json" else { return false }
        return parts.dropFirst().allSatisfy { parameter in
            guard parameter.hasPrefix("charset=") else { return true }
            return ["charset=utf-8", "charset=\"utf-8\"", "charset=utf8"].contains(parameter)
        }
    }

    /// Whether values of `Accept` allow a type.
    static func accepts(_ values: [String], _ type: String) -> Bool {
        let family = (type.split(separator: "/").first ?? "") + "/*"
        for range in values.flatMap({ $0.lowercased().split(separator: ",") }) {
            let parts = range.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" } }
            guard let name = parts.first, name == "*/*" || name == family || name == type else { continue }
            if !parts.dropFirst().contains(where: { ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains($0) }) {
                return true
            }
        }
        return false
    }
}
