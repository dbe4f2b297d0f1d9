/* stamp.h - has a file changed since it was read? Links are followed, so that a swapped one (a mounted Kubernetes
 * secret) counts; so does a change of its rights. */
#ifndef WEIR_RECEIVE_STAMP_H
#define WEIR_RECEIVE_STAMP_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct weir_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

enum { WEIR_STAMP_LOOK_S = 1 }; /* not more often */

struct weir_stamp weir_stamp_of(const char *path); /* of no file: all zero */
bool weir_stamp_equal(const struct weir_stamp *a, const struct weir_stamp *b);
/* True at most once a second: *next_s is the caller's, zero at first. */
bool weir_stamp_due(time_t *next_s);
/* "receivers.grpc" or "admin": where the options of what is called `name` stand. */
void weir_stamp_section(const char *name, char *out, size_t out_size);
#endif
