/// Sums of sizes that others say, or that somebody's sparse files have: a sum that is out of range must not end the program
/// that adds them up.
extension Int64 {
    /// The sum, or as much as there can be.
    public func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? (other > 0 ? .max : .min) : sum
    }
}

extension Sequence<Int64> {
    /// The sum, or as much as there can be.
    public func clampedSum() -> Int64 { reduce(0) { $0.addingClamped($1) } }
}
