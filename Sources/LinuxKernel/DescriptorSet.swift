import Glibc

/// Several descriptors with one owner, closed together.
public struct DescriptorSet: ~Copyable, Sendable {
    public private(set) var raw: [Int32] = []

    public init() {}

    /// Takes a descriptor over and returns its number.
    @discardableResult
    public mutating func adopt(_ descriptor: consuming FileDescriptor) -> Int32 {
        let number = descriptor.release()
        raw.append(number)
        return number
    }

    deinit {
        for descriptor in raw { close(descriptor) }
    }
}
