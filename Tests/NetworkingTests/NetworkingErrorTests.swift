import Networking
import Testing

@Suite struct NetworkingErrorTests {
    @Test func isItsSentence() {
        #expect("\(NetworkingError(.conflict, "port 80 is taken"))" == "port 80 is taken")
    }
}
