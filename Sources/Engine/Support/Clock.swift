import Glibc

/// Times are nanoseconds in Int64, as on the wire.
enum Clock {
    /// Nanoseconds since the epoch.
    static func wall() -> Int64 { read(CLOCK_REALTIME) }

    /// Nanoseconds on a clock that never jumps, for timeouts.
    static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
