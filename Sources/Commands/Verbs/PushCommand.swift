import Glibc
import OCI

/// `push`: send an image to a registry.
enum PushCommand {
    private static let allTags = Flag.toggle("all-tags", short: "a", "Push all tags of an image to the repository")
    private static let quiet = Flag.toggle("quiet", short: "q", "Suppress verbose output")

    static var command: Command {
        Command(
            spellings: ["push", "image push"], summary: "Upload an image to a registry", usage: "[OPTIONS] NAME[:TAG]",
            options: [
                allTags.option, ContainerCreation.contentTrust.option, ContainerCreation.platform.option,
                quiet.option,
            ],
            operands: .exactly(1), completion: .images
        ) { invocation in
            let reference = try imageReference(invocation.operands[0])
            let isAll = invocation[allTags]
            if isAll && reference.tag != nil { throw CommandFailure("tag can't be used with --all-tags/-a") }
            if !isAll && reference.tag == nil && !invocation[quiet] {
                output("Using default tag: \(ImageReference.defaultTag)\n")
            }
            let platform = invocation[ContainerCreation.platform]
            let answer = try invocation.engine().stream(
                .POST, "/images/\(reference.name)/push",
                [
                    "platform": platform.isEmpty ? nil : platform,
                    "tag": isAll ? nil : reference.withDefaultTag.tag,
                ], credentials: try registryCredentials(reference, invocation.settings) ?? Credentials().header)
            let progress = PullProgress(descriptor: invocation[quiet] ? nil : STDOUT_FILENO)
            try answer.eachDocument { try progress.show($0) }
            if invocation[quiet] { output(reference.withDefaultTag.description + "\n") }
            return 0
        }
    }
}
