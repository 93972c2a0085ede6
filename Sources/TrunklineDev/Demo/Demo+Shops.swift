internal import Foundation
internal import TestKit

/// Two shops whose orders come as signed webhooks, to two gateways of which one is killed halfway.
extension Demo {
    struct Shop {
        let id: String
        let kind: String
        let line: String

        var workspace: String { String(id.prefix { $0 != "-" }) }
    }

    static let shops = [
        Shop(id: "acme-store", kind: "shopify", line: "acme-shop"),
        Shop(id: "bolt-store", kind: "woocommerce", line: "bolt-shop"),
    ]
    private static let ordersOfShop = 125
    /// Of each order: that it was placed, and that a parcel left.
    static let webhooks = shops.count * ordersOfShop * 2
    private static let gateways = [1, 2]

    /// What `demo/shops.py` has done.
    struct Posted: Decodable {
        /// Posts that were answered well.
        let posted: Int
        /// Tries that were not.
        let again: Int
        /// Of the notices that follow.
        let keys: [String]
    }

    /// Sources, their rules, and two gateways. Returns what the shops need to know.
    func openShops() async throws -> String {
        var ports: [UInt16] = []
        for number in Self.gateways {
            ports.append(try await startGateway(number))
        }
        struct Added: Decodable { let intakePath: String }
        var shops: [[String: String]] = []
        let file = folder + "/secret"
        for shop in Self.shops {
            let secret = UUID().uuidString
            try writePrivately(secret, to: file)
            let said = try await say([
                "source", "add", shop.id, "--kind", shop.kind, "--workspace", shop.workspace, "--line", shop.line,
                "--country", "IL", "--secret-file", file, "--json",
            ])
            let path = try JSONDecoder().decode(Added.self, from: Data(said.utf8)).intakePath
            shops.append(["kind": shop.kind, "id": shop.id, "path": path, "secret": secret])
            try await step("rules", ["apply", "-f", checkout.root + "/demo/\(shop.workspace).yaml"])
        }
        removeFiles(file)
        for (number, port) in zip(Self.gateways, ports) {
            try await eventually("gateway \(number); see .dev/demo/gateway-\(number).log", within: .seconds(20)) {
                (try? await SmallRequest.send("GET", "/readyz", to: port)) != nil
            }
        }
        let setup: [String: Any] = ["gateways": ports.map(Int.init), "orders": Self.ordersOfShop, "shops": shops]
        return String(decoding: try JSONSerialization.data(withJSONObject: setup), as: UTF8.self)
    }

    /// Returns where it listens.
    @discardableResult
    func startGateway(_ number: Int) async throws -> UInt16 {
        let port = try await PortLeases().port("gateway-\(number)", of: folder)
        try await start("gateway-\(number)", ["gateway", "--listen", "127.0.0.1:\(port)"])
        return port
    }

    /// Lets the shops post everything, while a gateway is killed and started again.
    func post(_ setup: String) async throws -> Posted {
        Terminal.log(
            "Two shops post \(Self.webhooks) signed webhooks, each twice, to two gateways"
        )
        let progress = folder + "/posted.txt"
        async let outcome = Command.run(
            "/usr/bin/python3",
            [checkout.root + "/demo/shops.py", progress],
            input: setup
        )
        try await eventually("half of the webhooks to be taken", within: .seconds(120)) {
            text(of: progress).split(separator: "\n").count >= Self.webhooks
        }
        let gateway = record("gateway-1")
        guard let pid = gateway.pid else { throw failure("gateway-1") }
        try await gateway.kill()
        Terminal.note(
            "killed gateway 1 (SIGKILL to process \(pid)); the shops post to the other one, and it starts again"
        )
        try await Task.sleep(for: .seconds(2))
        try await startGateway(1)
        let output = try await outcome.requireSuccess("demo/shops.py").output
        return try JSONDecoder().decode(Posted.self, from: Data(output.utf8))
    }
}
