import LinuxKernel
import Testing

@Suite struct DetachedThreadTests {
    private final class Held: Sendable {}

    /// A thread that isn't there can close nothing: whatever it was to work on goes at once.
    @Test func whatAThreadWasToWorkOnGoesWhenNoneStarts() throws {
        weak var held: Held?
        do {
            let made = Held()
            held = made
            #expect(throws: SystemError.self) {
                try DetachedThread.start(stackSize: 1 << 60) { withExtendedLifetime(made) {} }
            }
        }
        #expect(held == nil)
    }
}
