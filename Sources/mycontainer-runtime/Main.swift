import Runtime

@main
struct Main {
    static func main() {
        RuntimeCommandLine.main(CommandLine.arguments)
    }
}
