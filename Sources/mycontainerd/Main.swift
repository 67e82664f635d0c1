import ArgumentParser
import CLinux
import Glibc
import LinuxKernel

/// The daemon's entry: arguments in, exit status out. Everything is in `Daemon`.
@main
struct Main {
    static func main() async {
        StandardStreams.open()
        // What a burst leaves free in one heap is of no use to the threads of another.
        clinux_limit_heaps(2)
        let arguments = DaemonOptions.normalized(Array(CommandLine.arguments.dropFirst()))
        let options: DaemonOptions
        do {
            options = try DaemonOptions.parse(arguments)
        } catch {
            DaemonOptions.exit(withError: error)
        }
        do {
            try await Daemon.run(options)
        } catch {
            Log.write(.error, "\(error)")
            exit(1)
        }
    }
}
