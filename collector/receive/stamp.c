#include "collector/receive/stamp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct weir_stamp weir_stamp_of(const char *path) {
    struct stat st;
    if (*path == 0 || stat(path, &st) != 0) return (struct weir_stamp){0};
    return (struct weir_stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool weir_stamp_equal(const struct weir_stamp *a, const struct weir_stamp *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

bool weir_stamp_due(time_t *next_s) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec < *next_s) return false;
    *next_s = now.tv_sec + WEIR_STAMP_LOOK_S;
    return true;
}

void weir_stamp_section(const char *name, char *out, size_t out_size) {
    snprintf(out, out_size, "%s%s", strcmp(name, "admin") == 0 ? "" : "receivers.", name);
}
