import APIServer
import Engine
import EngineAPI
import Glibc
import OCI

/// The daemon's life: settings, engine, sockets, signals, end.
enum Daemon {
    static func run(_ options: DaemonOptions) async throws {
        if options.version {
            print("mycontainerd version \(ProductVersion.current), API \(APIVersion.newest)")
            return
        }
        let settings = try Settings(options)
        Log.setLevel(settings.logLevel)
        if options.validate {
            print("configuration OK")
            return
        }
        guard geteuid() == 0 else {
            throw StartError(
                "mycontainerd must run as root: it makes namespaces, mounts and cgroups; start it with sudo or as a "
                    + "system service")
        }
        umask(0o022)
        Host.raiseOpenFiles()
        let signals = try Host.signals([SIGTERM, SIGINT, SIGHUP, SIGQUIT])
        try Host.writePidfile(settings.pidfile)
        defer { Host.removePidfile(settings.pidfile) }

        // The engine locks its roots before any socket is touched, so a second daemon disturbs nothing.
        let engine = try await Engine.open(try settings.engineConfiguration()) { Log.write(.info, $0) }
        let server: APIServer
        do {
            server = try await APIServer.start(engine, on: try listen(settings))
        } catch {
            await engine.shutdown(stopContainers: false)
            throw error
        }
        Log.write(.info, "API listens on \(settings.hosts.joined(separator: ", "))")
        Host.notify("READY=1")
        await serve(signals, settings, options, engine)
        Host.notify("STOPPING=1")
        await server.stop()
        await engine.shutdown(stopContainers: !settings.liveRestore)
        Log.write(.info, "stopped")
    }

    /// Until the daemon is told to stop.
    private static func serve(
        _ signals: AsyncStream<Int32>, _ settings: Settings, _ options: DaemonOptions, _ engine: Engine
    ) async {
        var iterator = signals.makeAsyncIterator()
        while let signal = await iterator.next() {
            if signal == SIGHUP {
                reload(options, engine)
                continue
            }
            Log.write(.info, "stopping on \(signal == SIGTERM ? "SIGTERM" : "signal \(signal)")")
            // Whoever insists gets a quick end; containers have monitors of their own and lose nothing.
            Task.detached {
                var stubborn = iterator
                var count = 0
                while await stubborn.next() != nil {
                    count += 1
                    if count == 2 {
                        Log.write(.warning, "stopping at once")
                        exit(1)
                    }
                }
            }
            return
        }
    }

    private static func reload(_ options: DaemonOptions, _ engine: Engine) {
        do {
            let settings = try Settings(options)
            Log.setLevel(settings.logLevel)
            Log.write(.info, "configuration read again")
        } catch {
            Log.write(.error, "the configuration stays as it was: \(error)")
        }
    }

    private static func listen(_ settings: Settings) throws -> [ListeningSocket] {
        let group = try socketGroup(settings.group)
        var sockets: [ListeningSocket] = []
        for host in settings.hosts {
            if host.hasPrefix("unix://") {
                sockets.append(try ListeningSocket.bind(String(host.dropFirst(7)), group: group))
            } else if host.hasPrefix("fd://") {
                let inherited = ListeningSocket.inherited()
                if inherited.isEmpty {
                    throw StartError("no sockets were passed for \(host): systemd's socket unit must start the daemon")
                }
                sockets += inherited
            } else {
                throw StartError(
                    "cannot listen on \"\(host)\": use unix:///path or fd://; the API gives root on this host, so "
                        + "there is no TCP without TLS")
            }
        }
        return sockets
    }

    private static func socketGroup(_ name: String?) throws -> gid_t? {
        guard let name else { return Host.group("mycontainer") }
        if name.isEmpty { return nil }
        guard let group = Host.group(name) else {
            throw StartError("group \(name) not found: make it with groupadd, or choose another --group")
        }
        return group
    }
}
