import LinuxKernel
import MonitorProtocol
import OCI

/// The options of one mount of the configuration, sorted by what they are for (runtime-spec config.md, "Linux mount
/// options"; mount(8)).
struct MountOptions {
    /// `bind` or `rbind` was among them.
    var bind = false
    var recursiveBind = false
    /// For this mount only.
    var attributes = MountAttributes()
    /// For this mount and all below it (`rro`, `rnosuid` …).
    var recursiveAttributes = MountAttributes()
    var propagation: MountPropagation?
    var recursivePropagation = false
    var copyUp = false
    /// `idmap` or `ridmap`.
    var mapIdentities = false
    var mapRecursively = false
    /// `z` or `Z`, ours and not the specification's: what is bound gets the container's SELinux label.
    var relabeling: Relabeling?
    /// The filesystem's own options, `key=value` or a flag.
    var data: [Substring] = []

    enum Relabeling {
        /// Other containers may use it, too.
        case shared
        case own
    }

    init(_ options: [String]) {
        for option in options {
            for piece in option.split(byte: ",") { add(piece) }
        }
    }

    private mutating func add(_ option: Substring) {
        switch option {
        case "defaults", "async", "nomand", "mand", "rw_sb", "noiversion", "loud", "silent", "remount": return
        case "bind": bind = true
        case "rbind":
            bind = true
            recursiveBind = true
        case "tmpcopyup": copyUp = true
        case "z": relabeling = .shared
        case "Z": relabeling = .own
        case "idmap": mapIdentities = true
        case "ridmap":
            mapIdentities = true
            mapRecursively = true
        default:
            if let propagation = Self.propagations[String(option)] {
                self.propagation = propagation.0
                recursivePropagation = propagation.1
            } else if let change = Self.attributes[String(option)] {
                attributes.apply(change)
            } else if option.first == "r", let change = Self.attributes[String(option.dropFirst())] {
                recursiveAttributes.apply(change)
            } else {
                data.append(option)
            }
        }
    }

    private static let propagations: [String: (MountPropagation, Bool)] = [
        "private": (.isPrivate, false), "rprivate": (.isPrivate, true),
        "slave": (.slave, false), "rslave": (.slave, true),
        "shared": (.shared, false), "rshared": (.shared, true),
        "unbindable": (.unbindable, false), "runbindable": (.unbindable, true),
    ]

    private static let attributes: [String: MountAttributes] = [
        "ro": MountAttributes(set: MountAttributes.readOnly),
        "rw": MountAttributes(clear: MountAttributes.readOnly),
        "nosuid": MountAttributes(set: MountAttributes.noSuid),
        "suid": MountAttributes(clear: MountAttributes.noSuid),
        "nodev": MountAttributes(set: MountAttributes.noDevices),
        "dev": MountAttributes(clear: MountAttributes.noDevices),
        "noexec": MountAttributes(set: MountAttributes.noExecution),
        "exec": MountAttributes(clear: MountAttributes.noExecution),
        "nodiratime": MountAttributes(set: MountAttributes.noDirectoryAccessTime),
        "diratime": MountAttributes(clear: MountAttributes.noDirectoryAccessTime),
        "nosymfollow": MountAttributes(set: MountAttributes.noSymlinkFollowing),
        "symfollow": MountAttributes(clear: MountAttributes.noSymlinkFollowing),
        // The access time bits are one field: the kernel wants all of it cleared when one value is set.
        "relatime": MountAttributes(clear: MountAttributes.accessTime),
        "norelatime": MountAttributes(clear: MountAttributes.accessTime),
        "noatime": MountAttributes(set: MountAttributes.noAccessTime, clear: MountAttributes.accessTime),
        "atime": MountAttributes(clear: MountAttributes.accessTime),
        "strictatime": MountAttributes(set: MountAttributes.strictAccessTime, clear: MountAttributes.accessTime),
        "nostrictatime": MountAttributes(clear: MountAttributes.accessTime),
    ]
}

extension MountAttributes {
    /// The later option wins.
    mutating func apply(_ change: MountAttributes) {
        self.set = self.set & ~change.clear | change.set
        self.clear = self.clear & ~change.set | change.clear
    }
}
