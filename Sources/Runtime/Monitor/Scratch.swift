import CLinux
import Glibc

/// The one buffer through which all output and input passes; its pages are given back when things are quiet.
enum Scratch {
    static let size = 64 << 10

    nonisolated(unsafe) private static let buffer: UnsafeMutableRawBufferPointer = {
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else { fatalError("no memory for a buffer of 64 KiB") }
        return UnsafeMutableRawBufferPointer(start: memory, count: size)
    }()

    /// Not to be nested.
    static func withBuffer<Result>(_ use: (UnsafeMutableRawBufferPointer) -> Result) -> Result { use(buffer) }

    /// Gives unused memory back to the kernel: a monitor spends its life waiting.
    static func trim() {
        _ = madvise(buffer.baseAddress, size, MADV_DONTNEED)
        clinux_malloc_trim()
        Memory.releaseStack()
    }
}

/// Giving memory back to the kernel. Every container has a monitor, so each page counts hundreds of times.
enum Memory {
    /// Gives back the stack below the caller, which deeper calls (decoding, setting a container up) have used.
    @inline(never)
    static func releaseStack() {
        let depth: UInt = 512 << 10
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 16) { here in
            // Two pages for the call itself. Where nothing is mapped madvise says ENOMEM and goes on.
            let end = (UInt(bitPattern: here.baseAddress) & ~4095) - 8192
            _ = madvise(UnsafeMutableRawPointer(bitPattern: end - depth), Int(depth), MADV_DONTNEED)
        }
    }

    /// Takes the gaps between what lives on the heap, for good, so that what a fork allocates comes from fresh pages at
    /// its end: in a gap it would make the fork copy the whole page, and each fork its own.
    static func fillHoles() {
        // Blocks up to this many bytes are kept by glibc's thread cache when they are freed: they would be gaps again.
        let cached = 1032
        var end: UInt = 0
        var size = 64 << 10
        while size >= 24 {
            while let block = malloc(size) {
                let address = UInt(bitPattern: block)
                if address < end { continue }
                end = address
                if size > cached { free(block) }
                break
            }
            size -= size > cached ? 512 : 16
        }
    }
}
