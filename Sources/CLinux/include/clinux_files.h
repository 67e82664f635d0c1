#pragma once
// Calls on files that Swift's Glibc module leaves out. Each returns what the C library's did.
#include <stddef.h>
#include <sys/types.h>

// Extended attributes: xattr(7).
int clinux_fsetxattr(int fd, const char *name, const void *value, size_t size);
int clinux_setxattr(const char *path, const char *name, const void *value, size_t size);
int clinux_lsetxattr(const char *path, const char *name, const void *value, size_t size);
ssize_t clinux_fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t clinux_flistxattr(int fd, char *list, size_t size);
ssize_t clinux_getxattr(const char *path, const char *name, void *value, size_t size);
ssize_t clinux_lgetxattr(const char *path, const char *name, void *value, size_t size);
ssize_t clinux_llistxattr(const char *path, char *list, size_t size);

// lseek(2) with SEEK_DATA and SEEK_HOLE.
off_t clinux_seek_data(int fd, off_t offset);
off_t clinux_seek_hole(int fd, off_t offset);

int clinux_syncfs(int fd);
// Starts writing a range's dirty pages without waiting for them: sync_file_range(2).
int clinux_start_writeback(int fd, off_t offset, off_t length);
// Shares all of `from`'s blocks with `to` where the file system can: FICLONE of ioctl_ficlonerange(2).
int clinux_clone_file(int to, int from);

// FS_TOPDIR_FL of <linux/fs.h>, the T of chattr(1).
#define CLINUX_TOP_DIRECTORY_FLAG 0x00020000u
// A file's flags, as lsattr(1) and chattr(1) show and set them: ioctl_iflags(2).
int clinux_get_file_flags(int fd, unsigned int *flags);
int clinux_set_file_flags(int fd, unsigned int flags);
