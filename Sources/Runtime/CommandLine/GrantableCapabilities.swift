import LinuxKernel
import OCI

extension RuntimeSpec.Capabilities {
    /// The sets without what can't be given, each with a warning (runtime-spec config.md: "Any value which cannot be mapped
    /// to a relevant kernel interface, or cannot be granted otherwise, MUST be logged as a warning").
    func grantable(_ log: RuntimeLog) -> RuntimeSpec.Capabilities {
        let available = Capabilities.available
        var named: Set<String> = []
        func usable(_ names: [String]?) -> [String]? {
            names?.filter { name in
                let number = Capabilities.number(of: name)
                if let number, available.rawValue & 1 << UInt64(number) != 0 { return true }
                if named.insert(name).inserted {
                    log.warning(
                        number == nil
                            ? "capability \(name) is unknown and left out"
                            : "capability \(name) cannot be granted and is left out")
                }
                return false
            }
        }
        var sets = RuntimeSpec.Capabilities(
            bounding: usable(bounding), effective: usable(effective), inheritable: usable(inheritable),
            permitted: usable(permitted), ambient: usable(ambient))
        // The kernel raises only what is permitted and inheritable (capabilities(7)).
        let possible = Set(sets.permitted ?? []).intersection(sets.inheritable ?? [])
        sets.ambient = sets.ambient?.filter { name in
            if possible.contains(name) { return true }
            log.warning("ambient capability \(name) is left out: it is not among the permitted and inheritable ones")
            return false
        }
        return sets
    }
}
