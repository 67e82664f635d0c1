import Commands
import Glibc

@main
struct Main {
    static func main() {
        exit(CommandLineProgram.main(Array(CommandLine.arguments.dropFirst())))
    }
}
