/* inside.h - what the files of `weir spool` share. */
#ifndef WEIR_CLI_SPOOL_INSIDE_H
#define WEIR_CLI_SPOOL_INSIDE_H
#include "collector/cli/spool/dir.h"
#include "collector/core/buffer.h"

/* Each ends with an exit status, and has told on stderr what was wrong. */
int weir_spool_cat(const struct weir_spool_dir *dir, bool all);
int weir_spool_verify(const struct weir_spool_dir *dir);

enum { WEIR_SPOOL_SETTINGS_MAX = 16 };
struct weir_spool_replay_options {
    const char *to, *as;                           /* URL, type of the exporter */
    const char *settings[WEIR_SPOOL_SETTINGS_MAX]; /* KEY=VALUE, options of the exporter */
    uint32_t setting_count;
    double spans_per_second; /* 0 = as fast as it goes */
    uint64_t patience_ns;    /* nothing gets through for so long: give up */
    bool remove, json;
};
int weir_spool_replay(const struct weir_spool_dir *dir, const struct weir_spool_replay_options *options);

/* To stdout. False: it cannot be written to; a reader that went away (`| head`) is no error, and is not told. */
bool weir_spool_flush(struct weir_buffer *out);
/* "weir spool: exporters/zipkin/00000012.log: offset 1234: 24 bytes: why" on stderr. */
void weir_spool_complain(const struct weir_spool_part *part, uint64_t segment, uint64_t offset, uint64_t bytes,
                         const char *why);
#endif
