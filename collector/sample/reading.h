/* reading.h - what the readers of sampling.yaml's parts share: a value, or the place and the reason why it is none. */
#ifndef WEIR_SAMPLE_READING_H
#define WEIR_SAMPLE_READING_H
#include "collector/config/yaml.h"
#include "collector/core/names.h"

#include <errno.h>

struct weir_reading {
    const struct weir_yaml_doc *doc;
    struct weir_names *names;
    struct weir_error *err;
};

static inline bool weir_reading_is_text(const struct weir_yaml *node) {
    return node->kind == WEIR_YAML_TEXT;
}

static inline enum weir_status weir_reading_no_memory(const struct weir_reading *reading) {
    return weir_fail(reading->err, WEIR_FULL, ENOMEM, true, "%s", reading->doc->name);
}
/* "path: is a list, WANTED is needed" */
static inline enum weir_status weir_reading_wrong_kind(const struct weir_reading *reading, const struct weir_yaml *node,
                                                       const char *path, const char *wanted) {
    return weir_yaml_fail(reading->doc, node->line, reading->err, "%s: is %s, %s is needed", path,
                          weir_yaml_kind_name(node->kind), wanted);
}
/* "key: "x" is not WHAT"; of what is no single value as above */
enum weir_status weir_reading_not_a(const struct weir_reading *reading, const struct weir_yaml *node, const char *key,
                                    const char *what);

/* Values of a key. On failure *out is as it was. `what` says what is allowed: "a number of 1 to 5". */
enum weir_status weir_reading_ratio(const struct weir_reading *reading, const struct weir_yaml *node, double *out);
enum weir_status weir_reading_number(const struct weir_reading *reading, const struct weir_yaml *node, double min,
                                     double max, const char *what, double *out);
enum weir_status weir_reading_whole(const struct weir_reading *reading, const struct weir_yaml *node, int64_t min,
                                    int64_t max, const char *what, int64_t *out);
enum weir_status weir_reading_duration(const struct weir_reading *reading, const struct weir_yaml *node,
                                       uint64_t min_ns, uint64_t max_ns, uint64_t *out_ns);
enum weir_status weir_reading_bytes(const struct weir_reading *reading, const struct weir_yaml *node, uint64_t min,
                                    uint64_t max, const char *what, uint64_t *out);
enum weir_status weir_reading_flag(const struct weir_reading *reading, const struct weir_yaml *node, bool *out);

/* A name of a span: not empty, not `overflow`, which would speak for every name that found no room. */
enum weir_status weir_reading_intern(const struct weir_reading *reading, const struct weir_yaml *node, const char *text,
                                     size_t size, uint32_t *id);
/* The key of an entry; path: what it is called in errors. */
enum weir_status weir_reading_name(const struct weir_reading *reading, const struct weir_yaml *node, const char *path,
                                   uint32_t *id);
/* The key as an operation. Spans carry templated names: "GET /users/42" is "GET /users/{id}" there, so it is here. */
enum weir_status weir_reading_operation(const struct weir_reading *reading, const struct weir_yaml *node,
                                        const char *path, uint32_t *id);
#endif
