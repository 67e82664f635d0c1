import Engine
import EngineAPI

/// The platforms whose programs run here.
enum Platform {
    #if arch(x86_64)
        static let architecture = "amd64"
    #elseif arch(arm64)
        static let architecture = "arm64"
    #endif

    /// Refuses a platform that is not the host's: there is nothing here that could run or pull for another.
    static func check(_ text: String?, since: APIVersion, _ version: APIVersion) throws(Failure) {
        guard let text, version >= since else { return }
        let parts = text.lowercased().split(byte: "/").map(String.init)
        let wanted = parts.count == 1 && parts[0] == "linux" ? ["linux", architecture] : parts
        let names = ["x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"]
        let machine = wanted.count > 1 ? wanted[1] : wanted.first ?? ""
        guard wanted.first == "linux" || wanted.count == 1, names[machine, default: machine] == architecture else {
            throw Failure(
                .notFound, "no image for platform \(text): this daemon only has linux/\(architecture)")
        }
    }

    /// The platform that a request picks with the parameter `name`, a JSON document; nil where it picks none, or where its
    /// version of the API has no such parameter.
    static func picked(
        _ name: String, of request: Request, since: APIVersion
    ) throws -> Descriptor.Platform? {
        let texts = request.query.all(name).filter { !$0.isEmpty }
        guard let text = texts.first, request.version >= since else { return nil }
        if texts.count > 1 { throw Failure.badRequest("multiple platforms are not supported: an image has one here") }
        let platform: Descriptor.Platform
        do {
            platform = try JSON.decode(Descriptor.Platform.self, from: Array(text.utf8))
        } catch {
            throw Failure.badRequest("failed to parse platform: \(error)")
        }
        if platform.os.isEmpty || platform.architecture.isEmpty {
            throw Failure.badRequest("both OS and Architecture must be provided")
        }
        return platform
    }

    /// Refuses to take an image for one of another platform, where a request picks one.
    static func check(
        _ image: String, _ engine: Engine, _ name: String, of request: Request, since: APIVersion
    ) async throws {
        guard let wanted = try picked(name, of: request, since: since) else { return }
        let found = try await engine.inspectImage(image)
        let has = Descriptor.Platform {
            $0.os = found.os
            $0.architecture = found.architecture
            $0.variant = found.variant
        }
        guard has.os == wanted.os, has.architecture == wanted.architecture,
            wanted.variant.isEmpty || wanted.variant == has.variant
        else {
            throw Failure(
                .notFound,
                "image with reference \(image) was found but its platform (\(text(has))) does not match the specified platform "
                    + "(\(text(wanted)))")
        }
    }

    static func text(_ platform: Descriptor.Platform) -> String {
        [platform.os, platform.architecture, platform.variant].filter { !$0.isEmpty }.joined(separator: "/")
    }
}
