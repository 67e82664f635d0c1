import EngineAPI
import ImageStore
import OCI

/// What registry directories have.
extension Engine {
    /// dockerd's limits of a search.
    private static let defaultSearchLimit = 25
    private static let maximumSearchLimit = 100

    /// Repositories whose name contains `term`. Nobody rates them; those without an organisation count as official.
    public func searchImages(_ term: String, limit: Int?, filters: Filters) async throws -> [ImageSearchResult] {
        try await perform {
            if let unknown = filters.firstUnknown(["is-automated", "is-official", "stars"]) {
                throw EngineError.invalid("invalid filter '\(unknown)'")
            }
            guard !term.contains("://") else {
                throw EngineError.invalid(
                    "invalid repository name: repository name (\(term)) should not have a scheme")
            }
            let limit = limit.flatMap { $0 == 0 ? nil : $0 } ?? Engine.defaultSearchLimit
            guard (1...Engine.maximumSearchLimit).contains(limit) else {
                throw EngineError.invalid(
                    "limit \(limit) is outside the range of [1, \(Engine.maximumSearchLimit)]")
            }
            for stars in filters["stars"] where UInt(stars) == nil {
                throw EngineError.invalid("invalid filter 'stars=\(stars)'")
            }
            let isOfficial = try filters.flag("is-official")
            if try filters.flag("is-automated") == true { return [] }
            if filters["stars"].contains(where: { UInt($0) ?? 0 > 0 }) { return [] }
            return try await self.imageStore.search(term, in: self.configuration.registries).map { name in
                ImageSearchResult {
                    $0.name = name
                    $0.isOfficial = !name.contains("/")
                }
            }.filter { isOfficial == nil || $0.isOfficial == isOfficial }.prefix(limit).map { $0 }
        }
    }

    /// What a pull of `reference` would find.
    public func inspectDistribution(_ reference: String) async throws -> DistributionInspect {
        try await perform {
            let parsed = try ImageReference(parsing: reference)
            let (root, platforms) = try await self.imageStore.inspect(parsed, in: self.configuration.registries)
            return DistributionInspect {
                $0.descriptor.mediaType = root.mediaType
                $0.descriptor.digest = root.digest.description
                $0.descriptor.size = root.size
                $0.platforms = platforms.map { platform in
                    EngineAPI.Descriptor.Platform {
                        $0.architecture = platform.architecture
                        $0.os = platform.os
                        $0.osVersion = platform.osVersion ?? ""
                        $0.variant = platform.variant ?? ""
                    }
                }
            }
        }
    }
}
