/// Words of others (a header of a file, a server's message, a stored reason) on their way to a terminal or a log: they must
/// not steer it, hide anything on it, or look like a line of ours.
///
/// What is taken out: control characters (C0, DEL, C1), format characters (with all that turn the direction of writing),
/// and the separators of lines and paragraphs.
public enum Printable {
    /// Whether a character does something other than be shown.
    public static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x7F { return scalar.value < 0x20 }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return true
        default: return false
        }
    }

    /// `text` on one line, each harmful character replaced by U+FFFD.
    public static func line(_ text: String) -> String { replacing(text, except: nil) }

    /// The same for a text of several lines of our own: line breaks stay.
    public static func lines(_ text: String) -> String { replacing(text, except: "\n") }

    /// A JSON document with the same meaning: harmful characters inside its strings are written as escapes.
    ///
    /// - Parameter document: serialized; outside strings it has no harmful character but line breaks.
    public static func json(_ document: String) -> String {
        guard document.unicodeScalars.contains(where: { $0 != "\n" && isHarmful($0) }) else { return document }
        var out = ""
        for scalar in document.unicodeScalars {
            if scalar != "\n", isHarmful(scalar) {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            } else {
                out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    private static func replacing(_ text: String, except kept: Unicode.Scalar?) -> String {
        guard text.unicodeScalars.contains(where: { $0 != kept && isHarmful($0) }) else { return text }
        var out = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { out.append(scalar != kept && isHarmful(scalar) ? "\u{FFFD}" : scalar) }
        return String(out)
    }
}
