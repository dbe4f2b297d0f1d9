/* yaml.h - a YAML file as a tree with line numbers, for the configuration and the sampling policy.
 * A subset on purpose: one document; maps with plain keys, lists, scalars. Anchors, aliases, merge keys and tags are
 * refused, a key given twice as well. `${env:NAME}` and `${env:NAME:-default}` in a scalar value are replaced after
 * parsing, so that a variable cannot bring syntax with it; `$${` stands for a literal `${`. Bounded in bytes, nodes and
 * depth. */
#ifndef WEIR_CONFIG_YAML_H
#define WEIR_CONFIG_YAML_H
#include "collector/core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_YAML_BYTES_MAX = 1 << 20,
    WEIR_YAML_NODES_MAX = 200000,
    WEIR_YAML_DEPTH_MAX = 32,
    WEIR_YAML_VALUE_MAX = 4096
};

enum weir_yaml_kind { WEIR_YAML_NULL, WEIR_YAML_TEXT, WEIR_YAML_LIST, WEIR_YAML_MAP };

struct weir_yaml {
    enum weir_yaml_kind kind;
    int line;         /* of the key in a map, else of the value; 1 is the first */
    const char *key;  /* in a map; else NULL */
    const char *raw;  /* TEXT: as the file has it; what errors may show */
    const char *text; /* TEXT: with variables replaced; may be secret */
    uint32_t count;   /* MAP, LIST: children, from `first` on, in the order of the file */
    struct weir_yaml *first, *next;
};

struct weir_yaml_doc {
    char name[128]; /* for errors; a long path is cut in front */
    struct weir_yaml *root;
    struct block *blocks;
};

/* Bytes are only read during the call. The caller frees with weir_yaml_free(). */
enum weir_status weir_yaml_parse(const char *name, const uint8_t *bytes, size_t size, struct weir_yaml_doc **doc,
                                 struct weir_error *err);
void weir_yaml_free(struct weir_yaml_doc *doc); /* accepts NULL */
/* The whole file, at most WEIR_YAML_BYTES_MAX; the caller frees *bytes. Errors name the path. */
enum weir_status weir_yaml_read(const char *path, uint8_t **bytes, size_t *size, struct weir_error *err);

const struct weir_yaml *weir_yaml_get(const struct weir_yaml *map, const char *key);
/* WEIR_INVALID with "name:line: " and the rest. */
enum weir_status weir_yaml_fail(const struct weir_yaml_doc *doc, int line, struct weir_error *err, const char *format,
                                ...) __attribute__((format(printf, 4, 5)));
/* `node`, found at `path` ("" = the top), has a key that is none of `known`: says so, with the nearest or with all of
 * them. */
enum weir_status weir_yaml_unknown(const struct weir_yaml_doc *doc, const struct weir_yaml *node, const char *path,
                                   const char *const *known, size_t known_count, struct weir_error *err);
/* Text for an error: at most about 40 bytes, control characters replaced. `out` should hold 64. */
const char *weir_yaml_show(const char *text, char *out, size_t out_size);
const char *weir_yaml_kind_name(enum weir_yaml_kind kind);
/* How a path is named in errors: itself, or its end when it is long. */
void weir_yaml_name(const char *path, char *out, size_t out_size);

#ifdef __clang_analyzer__ /* as weir_fail() */
#define weir_yaml_fail(doc, line, err, ...) (weir_yaml_fail(doc, line, err, __VA_ARGS__), WEIR_INVALID)
#endif
#endif
