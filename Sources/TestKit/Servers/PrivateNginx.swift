internal import Foundation
internal import Glibc

/// Debian's nginx as a reverse proxy of one test: on a free port of 127.0.0.1, unprivileged, with files of its own.
package final class PrivateNginx: Sendable {
    package let port: UInt16
    private let process: ChildProcess
    private let folder: String

    private static let program = "/usr/sbin/nginx"

    /// What it logged of errors so far.
    package var errors: String { text(of: folder + "/error.log") }

    /// Runs `body` with one that listens, and ends it.
    ///
    /// - Parameters:
    ///   - upstreams: ports of 127.0.0.1; connections to them are kept.
    ///   - address: from which it connects to them, of 127.0.0.0/8.
    ///   - settings: directives of the `server` block beside the usual ones, each with its semicolon.
    package static func with<R>(
        _ upstreams: [UInt16],
        from address: String = "127.0.0.1",
        settings: String = "",
        _ body: (PrivateNginx) async throws -> R
    ) async throws -> R {
        let nginx = try await PrivateNginx(upstreams, from: address, settings: settings)
        do {
            let value = try await body(nginx)
            await nginx.stop()
            return value
        } catch {
            await nginx.stop()
            throw error
        }
    }

    private init(_ upstreams: [UInt16], from address: String, settings: String) async throws {
        guard access(Self.program, X_OK) == 0 else { throw KitError("nginx is not installed; run ./dev up first.") }
        folder = temporaryFolder("nginx")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let port = try await PortLeases().port("nginx", of: folder)
        self.port = port
        let file = folder + "/nginx.conf"
        let text = Self.configuration(upstreams, port, folder, from: address, settings)
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        process = try ChildProcess(
            Self.program,
            ["-c", file, "-p", folder, "-e", folder + "/error.log"],
            output: folder + "/out",
            errors: folder + "/out"
        )
        do {
            try await eventually("nginx") {
                guard process.isRunning else { throw KitError("nginx has ended: \(TestKit.text(of: folder + "/out"))") }
                return PortLeases.isListening(port)
            }
        } catch {
            await stop()
            throw error
        }
    }

    private func stop() async {
        // Its worker ends with it, which it would not by SIGKILL.
        process.send(SIGTERM)
        await process.end()
        PortLeases.release(of: folder)
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// As docs/http-api.md says it, with the paths of a test.
    private static func configuration(
        _ upstreams: [UInt16],
        _ port: UInt16,
        _ folder: String,
        from address: String,
        _ settings: String
    ) -> String {
        let servers = upstreams.map { "server 127.0.0.1:\($0) max_fails=1 fail_timeout=1s;" }.joined(separator: " ")
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(folder)/\($0);" }
        return """
            daemon off;
            worker_processes 1;
            pid \(folder)/nginx.pid;
            error_log \(folder)/error.log info;
            events { worker_connections 512; }
            http {
                access_log off;
                \(temporary.joined(separator: " "))
                upstream gateways { \(servers) keepalive 16; keepalive_timeout 60s; }
                server {
                    listen 127.0.0.1:\(port);
                    client_max_body_size 8m;
                    \(settings)
                    location / {
                        proxy_pass http://gateways;
                        proxy_bind \(address);
                        proxy_http_version 1.1;
                        proxy_set_header Connection "";
                        proxy_set_header Host $host;
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                        proxy_next_upstream error timeout http_503 non_idempotent;
                    }
                }
            }

            """
    }
}
