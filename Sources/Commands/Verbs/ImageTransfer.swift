import Glibc
import OCI

/// What `pull` and `push` have in common.
enum ImageTransfer {
    static let quiet = Flag.toggle("quiet", short: "q", "Suppress verbose output")

    static func options(_ allTags: Flag<Bool>) -> [Option] {
        [allTags.option, ContainerCreation.contentTrust.option, ContainerCreation.platform.option, quiet.option]
    }

    /// The image that is named, and whether all its tags are meant. Where none is named, it says which one is taken.
    static func reference(
        _ invocation: Invocation, _ allTags: Flag<Bool>
    ) throws -> (reference: ImageReference, isAll: Bool) {
        let reference = try imageReference(invocation.operands[0])
        let isAll = invocation[allTags]
        let isWhole = reference.tag == nil && reference.digest == nil
        if isAll && !isWhole { throw CommandFailure("tag can't be used with --all-tags/-a") }
        if !isAll && isWhole && !invocation[quiet] {
            output("Using default tag: \(ImageReference.defaultTag)\n")
        }
        return (reference, isAll)
    }

    static func progress(_ invocation: Invocation) -> PullProgress {
        PullProgress(descriptor: invocation[quiet] ? nil : STDOUT_FILENO)
    }
}
