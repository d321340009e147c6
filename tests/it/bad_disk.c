// Loaded before the C library: a disk that fails. Of files under $BAD_DISK_DIR the sync numbered $BAD_DISK_SYNC and all
// behind it fail with EIO; the write numbered $BAD_DISK_WRITE and all behind it find no room.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long syncs, writes;

static int is_under(int fd, const char *dir) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, dir, strlen(dir)) == 0;
}

static int fails(atomic_long *count, const char *name, int fd, int error) {
    const char *from = getenv(name), *dir = getenv("BAD_DISK_DIR");
    if (!from || !dir || !is_under(fd, dir) || atomic_fetch_add(count, 1) + 1 < atol(from)) return 0;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails(&syncs, "BAD_DISK_SYNC", fd, EIO) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return fails(&syncs, "BAD_DISK_SYNC", fd, EIO) ? -1 : REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *from, size_t count) {
    return fails(&writes, "BAD_DISK_WRITE", fd, ENOSPC) ? -1 : REAL(write)(fd, from, count);
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    return fails(&writes, "BAD_DISK_WRITE", fd, ENOSPC) ? -1 : REAL(pwrite)(fd, from, count, at);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    return fails(&writes, "BAD_DISK_WRITE", fd, ENOSPC) ? -1 : REAL(pwrite64)(fd, from, count, at);
}
