import CLinux
import Glibc

/// Where a file system puts what is in a directory.
public enum DirectoryPlacement {
    /// Says that the directories in the one at `path` have nothing to do with each other (the `T` of chattr(1)), so that
    /// ext4 puts each into a part of the disk that has room, with all that is in it.
    ///
    /// Without it they all share one part, and a file there is made by looking for an inode that is free. An ext4 without
    /// a journal passes over those that were freed in the last minutes (`recently_deleted` of fs/ext4/ialloc.c), one by
    /// one and for each file anew: after an image of 15,000 files was removed, the next took ten times as long to unpack.
    /// A hint only: where the file system doesn't know it, nothing happens.
    public static func spread(at path: String) {
        guard let directory = try? FileDescriptor(path, O_RDONLY | O_DIRECTORY) else { return }
        var flags: UInt32 = 0
        guard clinux_get_file_flags(directory.raw, &flags) == 0, flags & CLINUX_TOP_DIRECTORY_FLAG == 0 else { return }
        _ = clinux_set_file_flags(directory.raw, flags | CLINUX_TOP_DIRECTORY_FLAG)
    }
}
