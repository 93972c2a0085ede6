import Foundation
import PackagePlugin

/// Puts the files of `migrations/` and `migrations/functions/` into the program, so that it needs no folder beside it.
///
/// Not `.embedInCode`: that writes every byte as an element of an array, which takes the compiler seconds per file.
@main
struct EmbedMigrations: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let folder = context.package.directoryURL.appending(path: "migrations")
        let functions = folder.appending(path: "functions")
        let files = try [folder, functions].flatMap { folder in
            try FileManager.default.contentsOfDirectory(atPath: folder.path)
                .filter { $0.hasSuffix(".sql") }
                .map { folder.appending(path: $0) }
        }
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedMigrations.swift")
        return [
            .buildCommand(
                displayName: "Embedding the migrations",
                executable: try context.tool(named: "EmbedMigrationsTool").url,
                arguments: [output.path, folder.path],
                // The folders too: this plan is not made anew when only a file is added, but a folder's time changes then.
                // A file that is renamed before its release is a "missing input" until Package.swift is touched.
                inputFiles: [folder, functions] + files,
                outputFiles: [output]
            )
        ]
    }
}
