/* exposition.h - Prometheus' text format, read line by line as it comes. Pure.
 *
 * Source: Prometheus exposition formats, "Text-based format", version 0.0.4:
 *   name{label="value",...} number [timestamp]
 * What reads it asks an address that somebody typed: any server may answer. Lines, labels and the whole page are
 * bounded, a line that is no sample is skipped and counted, and nothing that was read is kept. */
#ifndef WEIR_CLI_TOP_EXPOSITION_H
#define WEIR_CLI_TOP_EXPOSITION_H
#include "collector/core/buffer.h"

enum {
    WEIR_EXPOSITION_LABELS = 32,            /* a line with more is no sample of a Weir's own series */
    WEIR_EXPOSITION_LINE_BYTES = 64 * 1024, /* longer lines are skipped */
    WEIR_EXPOSITION_PAGE_BYTES = 256 << 20, /* a Weir's page has 64 MiB at most */
};

/* Points into the line; values are unescaped in place. Neither ends in NUL. */
struct weir_exposition_text {
    const uint8_t *bytes;
    size_t size;
};
struct weir_exposition_sample {
    struct weir_exposition_text name;
    struct {
        struct weir_exposition_text key, value;
    } labels[WEIR_EXPOSITION_LABELS];
    uint32_t label_count;
    double value; /* may be NaN or infinite */
};

/* Reads one line without its end, and overwrites it. False: no sample (a comment, nothing, or broken). */
bool weir_exposition_line(uint8_t *line, size_t size, struct weir_exposition_sample *sample);
/* Is it a line that says nothing: blank, or a comment? */
bool weir_exposition_silent(const uint8_t *line, size_t size);
bool weir_exposition_is(struct weir_exposition_text text, const char *is);
/* The label's value, empty when there is none. */
struct weir_exposition_text weir_exposition_label(const struct weir_exposition_sample *sample, const char *key);

struct weir_exposition {
    void (*take)(void *self, const struct weir_exposition_sample *sample);
    void *self;
    uint64_t samples, skipped; /* lines */
    uint64_t page_bytes;
    struct weir_buffer line; /* what came of a line whose end did not */
    bool overlong;           /* that line is skipped */
};
/* Some more of the page, cut anywhere. False: it is longer than any page, or there is no memory; what was given to
 * `take` was sound. */
bool weir_exposition_feed(struct weir_exposition *page, const void *bytes, size_t size);
/* The page's end: a last line without its own. */
bool weir_exposition_end(struct weir_exposition *page);
void weir_exposition_free(struct weir_exposition *page);
#endif
