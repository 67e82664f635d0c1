import Commands
import Glibc
import LinuxKernel

@main
struct Main {
    static func main() {
        StandardStreams.open()
        exit(CommandLineProgram.main(RawBytes.arguments))
    }
}
