internal import ArgumentParser
internal import TrunklineChaos

@main
struct TrunklineChaosProgram: AsyncParsableCommand {
    func run() async throws {}
}
