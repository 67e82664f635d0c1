import Glibc
import OCI

/// `pull`: get an image from a registry.
enum PullCommand {
    private static let allTags = Flag.toggle("all-tags", short: "a", "Download all tagged images in the repository")

    static var command: Command {
        Command(
            spellings: ["pull", "image pull"], summary: "Download an image from a registry",
            usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
            options: ImageTransfer.options(allTags), operands: .exactly(1), completion: .images
        ) { invocation in
            let (reference, isAll) = try ImageTransfer.reference(invocation, allTags)
            try pull(
                invocation.operands[0], platform: invocation[ContainerCreation.platform], allTags: isAll,
                invocation.engine(), ImageTransfer.progress(invocation), settings: invocation.settings)
            output((isAll ? reference.repository : reference.withDefaultTag).description + "\n")
            return 0
        }
    }

    /// Pulls and shows how it goes.
    static func pull(
        _ image: String, platform: String, allTags: Bool = false, _ engine: EngineClient, _ progress: PullProgress,
        settings: ClientConfiguration?
    ) throws {
        let reference = try imageReference(image)
        let tag = reference.digest?.description ?? reference.tag ?? (allTags ? "" : ImageReference.defaultTag)
        let answer = try engine.stream(
            .POST, "/images/create",
            [
                "fromImage": reference.name, "platform": platform.isEmpty ? nil : platform,
                "tag": tag.isEmpty ? nil : tag,
            ], credentials: try registryCredentials(reference, settings))
        try answer.eachDocument { try progress.show($0) }
    }
}

/// What the user has for the registry of an image, as the daemon takes it; nil where that is nothing.
func registryCredentials(_ reference: ImageReference, _ settings: ClientConfiguration?) throws(CommandFailure)
    -> String?
{
    guard let settings else { return nil }
    let found = try CredentialStore(settings).credentials(CredentialStore.key(host: reference.domain))
    return found.isEmpty ? nil : found.header
}
