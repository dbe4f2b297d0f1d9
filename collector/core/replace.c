#define _GNU_SOURCE /* mkostemp */
#include "collector/core/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t wrote = write(fd, bytes, size);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return false;
        bytes += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

/* Mode and owner of what was there. Who may not give files away keeps them: it is more that the content is right. */
static bool keep_rights(int fd, const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) return fchmod(fd, 0644) == 0;
    if (fchown(fd, about.st_uid, about.st_gid) != 0 && fchown(fd, (uid_t)-1, about.st_gid) != 0 && errno != EPERM)
        return false;
    return fchmod(fd, about.st_mode & 07777) == 0;
}

/* The rename itself has to be on disk. */
static bool sync_folder(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s",
             slash == NULL   ? 1
             : slash == path ? 1
                             : (int)(slash - path),
             slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = fsync(fd) == 0 || errno == EINVAL;
    close(fd);
    return ok;
}

enum weir_status weir_file_replace(const char *path, const void *bytes, size_t size, struct weir_error *err) {
    char real[PATH_MAX], beside[PATH_MAX + 16];
    if (realpath(path, real) == NULL) {
        if (errno != ENOENT || strlen(path) >= sizeof real) return weir_fail(err, WEIR_IO, errno, true, "%s", path);
        snprintf(real, sizeof real, "%s", path);
    }
    snprintf(beside, sizeof beside, "%s.weir-XXXXXX", real);
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0) return weir_fail(err, WEIR_IO, errno, true, "%s", path);
    int failed = 0;
    if (!keep_rights(fd, real) || !write_all(fd, bytes, size) || fsync(fd) != 0) failed = errno;
    if (close(fd) != 0 && failed == 0) failed = errno;
    if (failed == 0 && rename(beside, real) != 0) failed = errno;
    if (failed == 0) return sync_folder(real) ? WEIR_OK : weir_fail(err, WEIR_IO, errno, true, "%s: fsync", path);
    unlink(beside);
    return weir_fail(err, WEIR_IO, failed, true, "%s", path);
}

bool weir_file_has(const char *path, const void *bytes, size_t size) {
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    bool same = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && (size_t)about.st_size == size;
    char *held = same ? malloc(size + 1) : NULL;
    size_t have = 0;
    while (held != NULL && have <= size) {
        ssize_t got = read(fd, held + have, size + 1 - have);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        have += (size_t)got;
    }
    same = held != NULL && have == size && memcmp(held, bytes, size) == 0;
    free(held);
    close(fd);
    return same;
}
