/* dir.h - a spool's directory as tools see it: the journal and each exporter's log, whose they are, where their
 * cursor stands. Reads only, and takes no lock: a running Weir may own it, write to it and remove what is settled. */
#ifndef WEIR_CLI_SPOOL_DIR_H
#define WEIR_CLI_SPOOL_DIR_H
#include "collector/core/error.h"
#include "collector/spool/log_read.h"

#include <limits.h>
#include <sys/types.h>

struct weir_spool_part {
    char name[96]; /* "journal", "exporters/zipkin" */
    char path[PATH_MAX];
    bool journal;
    int fd; /* of its directory */
    struct weir_spool_part_segment {
        uint64_t number, bytes;
        uint64_t first_unix_ns, last_unix_ns; /* of the file: made (or written to), written to */
    } * segments;                             /* the oldest first */
    uint32_t segment_count;
    uint64_t bytes;
    /* What is before it was settled. An exporter's; 0, 0: nothing was. */
    uint64_t cursor_segment, cursor_offset;
    bool in_use;
    pid_t pid; /* who; 0: not known */
};

enum { WEIR_SPOOL_PARTS_MAX = 64 };
struct weir_spool_dir {
    const char *path;
    struct weir_spool_part *parts;
    uint32_t part_count;
};

/* `path` is spool.directory, or one of the parts in it. WEIR_IO: cannot be read; WEIR_INVALID: there is no spool. */
enum weir_status weir_spool_dir_open(struct weir_spool_dir *dir, const char *path, struct weir_error *err);
void weir_spool_dir_close(struct weir_spool_dir *dir);

/* Behind the cursor, and so still to be sent. A journal has none: all of it. */
bool weir_spool_part_waits(const struct weir_spool_part *part, uint64_t segment, uint64_t offset);

/* What records are, by their type. */
enum weir_spool_kind { WEIR_SPOOL_BATCH, WEIR_SPOOL_BLOCK, WEIR_SPOOL_DECISIONS, WEIR_SPOOL_MOVED, WEIR_SPOOL_OTHER };
enum weir_spool_kind weir_spool_part_kind(const struct weir_spool_part *part, uint32_t type);

struct weir_spool_visitor {
    void *self;
    bool waiting_only; /* not what is before the cursor */
    bool heads_only;   /* records have their first WEIR_SPOOL_GLANCE_BYTES only; record->size is right. Sums of payloads
                          are not looked at */
    /* False: stop. */
    bool (*record)(void *self, const struct weir_spool_part *part, const struct weir_log_record *record);
    /* A place as a whole. */
    void (*damage)(void *self, const struct weir_spool_part *part, const struct weir_log_damage *damage);
};
enum { WEIR_SPOOL_GLANCE_BYTES = 28 };
/* All records of a part, in order. What a running Weir removes meanwhile, and what it is just writing, is no damage.
 * WEIR_CLOSED: record() said stop; WEIR_FULL: out of memory. */
enum weir_status weir_spool_part_visit(const struct weir_spool_part *part, const struct weir_spool_visitor *visitor,
                                       struct weir_error *err);
#endif
