import Glibc
import OCI

/// `push`: send an image to a registry.
enum PushCommand {
    private static let allTags = Flag.toggle("all-tags", short: "a", "Push all tags of an image to the repository")

    static var command: Command {
        Command(
            spellings: ["push", "image push"], summary: "Upload an image to a registry", usage: "[OPTIONS] NAME[:TAG]",
            options: ImageTransfer.options(allTags), operands: .exactly(1), completion: .images
        ) { invocation in
            let (reference, isAll) = try ImageTransfer.reference(invocation, allTags)
            let platform = invocation[ContainerCreation.platform]
            let answer = try invocation.engine().stream(
                .POST, "/images/\(reference.name)/push",
                [
                    "platform": platform.isEmpty ? nil : platform,
                    "tag": isAll ? nil : reference.withDefaultTag.tag,
                ], credentials: try registryCredentials(reference, invocation.settings) ?? Credentials().header)
            let progress = ImageTransfer.progress(invocation)
            try answer.eachDocument { try progress.show($0) }
            if invocation[ImageTransfer.quiet] { output(reference.withDefaultTag.description + "\n") }
            return 0
        }
    }
}
