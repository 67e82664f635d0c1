import EngineAPI
import Glibc
import LinuxKernel

extension Engine {
    /// Settles a new container's labels, after its references to others have become ids; nil where the host has none.
    func settleLabels(
        _ id: String, _ host: HostConfig, _ modes: NamespaceModes
    ) throws(EngineError) -> ContainerLabels? {
        guard case .ready(let contexts) = selinux else { return nil }
        var options = try SecurityOptions(host.securityOpt ?? []).labels
        if options.isEmpty {
            options =
                host.privileged || modes.ipc == .host || modes.pid == .host
                ? ["disable"] : try labelsOfJoined(modes)
        }
        let labels = try LabelOptions.labels(options, contexts) { () throws(EngineError) in
            try selinuxLevels.allocate(for: id)
        }
        for label in [labels.process, labels.mount] where !label.isEmpty {
            guard let context = SecurityContext(label), SELinuxKernel.accepts(context) else {
                selinuxLevels.release(id)
                throw .invalid("the SELinux policy of this host doesn't know the label \(label): look at label=… again")
            }
        }
        if let level = SecurityContext(labels.process)?.level { selinuxLevels.reserve(level, for: id) }
        return labels
    }

    private func labelsOfJoined(_ modes: NamespaceModes) throws(EngineError) -> [String] {
        var found: [String]?
        for mode in [modes.ipc, modes.pid] {
            guard case .container(let other) = mode, let labels = try registry.resolve(other).record.document.labels,
                let options = LabelOptions.like(labels.process)
            else { continue }
            guard found == nil || found == options else {
                throw .invalid("--ipc and --pid containers SELinux labels aren't the same")
            }
            found = options
        }
        return found ?? []
    }

    /// The container's labels; nil while the host has no SELinux.
    func labels(of record: ContainerRecord) -> ContainerLabels? {
        guard case .ready = selinux else { return nil }
        return record.document.labels
    }

    /// Gives what images brought before there was SELinux a label that containers may read. What comes later takes after
    /// the directory.
    func labelLayers() {
        guard case .ready(let contexts) = selinux else { return }
        do throws(SystemError) {
            let layers = try FileDescriptor(imageStore.layersDirectory, O_RDONLY | O_DIRECTORY)
            if FileLabels.label(of: layers.raw) == contexts.layers { return }
            try FileLabels.relabel(layers.raw, contexts.layers)
            log("labeled the images' layers for SELinux: \(contexts.layers)")
        } catch {
            log(
                "the images' layers could not be labeled for SELinux, so that containers may be denied to run: \(error)"
            )
        }
    }

    /// hostname, hosts and resolv.conf, which containers with one network share, have a label that all may read.
    func labelNetworkFiles(_ record: ContainerRecord, in directory: String) throws {
        guard let text = labels(of: record)?.mount, let label = SecurityContext(text) else { return }
        for name in ["hostname", "hosts", "resolv.conf"] {
            let file = try FileDescriptor("\(directory)/\(name)", O_RDONLY | O_NOFOLLOW)
            try FileLabels.set(label.withoutCategories, on: file.raw)
        }
    }
}
