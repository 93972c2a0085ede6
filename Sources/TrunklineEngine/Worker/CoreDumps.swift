internal import CPlatform
internal import Glibc

/// A core file would hold keys, tokens and customers' texts: there are none unless somebody asks for them.
package enum CoreDumps {
    /// `allowed` in the environment: cores are written as the system says.
    package static let variable = "TRUNKLINE_CORE_DUMPS"

    static var areAllowed: Bool { getenv(variable).map { String(cString: $0) } == "allowed" }

    /// For the whole process. Where it fails the program goes on: it is no worse off than before.
    package static func forbidUnlessAllowed() {
        if !areAllowed { _ = tl_forbid_cores() }
    }
}
