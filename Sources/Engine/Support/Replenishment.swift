import Synchronization

/// When what is kept ready for starts is made anew: a moment after a container has ended, or some time after a start,
/// whatever comes first. Earlier, it would compete for the processors with the container, or with the answer to whoever
/// waits for its end.
final class Replenishment: Sendable {
    private static let afterStart = Duration.milliseconds(30)
    private static let afterEnd = Duration.milliseconds(1)

    /// Whether something was taken and nobody has made another yet.
    private let isMissing = Atomic(false)

    /// A container was started: something was taken.
    func started(_ replenish: @escaping @Sendable () -> Void) {
        if isMissing.exchange(true, ordering: .acquiringAndReleasing) { return }
        plan(Replenishment.afterStart, replenish)
    }

    /// A container has ended.
    func ended(_ replenish: @escaping @Sendable () -> Void) {
        if isMissing.load(ordering: .acquiring) { plan(Replenishment.afterEnd, replenish) }
    }

    private func plan(_ delay: Duration, _ replenish: @escaping @Sendable () -> Void) {
        Task {
            try? await Task.sleep(for: delay)
            if isMissing.exchange(false, ordering: .acquiringAndReleasing) { replenish() }
        }
    }
}
