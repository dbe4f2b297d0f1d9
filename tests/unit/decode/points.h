/* points.h - what a decoder gave out, kept for the tests. */
#ifndef WEIR_TESTS_POINTS_H
#define WEIR_TESTS_POINTS_H
#include "collector/core/point.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT_MAX = 4096, KEPT_KEY_MAX = 1024 };

struct kept_point {
    struct weir_point point; /* its pointers are dead */
    struct weir_point_data data;
    double bounds[32], values[33]; /* HISTOGRAM bounds; SUMMARY quantiles and values */
    uint64_t counts[33], positive[32], negative[32];
    char key[KEPT_KEY_MAX]; /* readable: name{label=value,label=value} */
};

struct kept {
    uint32_t count;
    struct kept_point points[KEPT_MAX];
};

static inline void readable_key(const uint8_t *key, size_t size, char *out) {
    size_t n = 0;
    int separators = 0;
    for (size_t i = 0; i < size && n + 2 < KEPT_KEY_MAX; i++) {
        if (key[i] == WEIR_KEY_SEPARATOR) {
            out[n++] = separators == 0 ? '{' : separators % 2 == 1 ? '=' : ',';
            separators++;
        } else {
            out[n++] = (char)key[i];
        }
    }
    if (separators > 0) out[n++] = '}';
    out[n] = 0;
}

static inline bool keep_point(struct kept *kept, const struct weir_point *point) {
    if (kept->count == KEPT_MAX) abort();
    struct kept_point *at = &kept->points[kept->count++];
    memset(at, 0, sizeof *at);
    at->point = *point;
    readable_key(point->key, point->key_size, at->key);
    if (point->data == NULL) return true;
    const struct weir_point_data *data = point->data;
    at->data = *data;
    if (data->bound_count > 32 || data->positive_count > 32 || data->negative_count > 32)
        return true; /* tests look at smaller ones */
    if (data->bounds != NULL) memcpy(at->bounds, data->bounds, data->bound_count * 8);
    if (data->counts != NULL && point->kind == WEIR_POINT_HISTOGRAM)
        memcpy(at->counts, data->counts, (data->bound_count + 1) * 8);
    if (data->counts != NULL && point->kind == WEIR_POINT_SUMMARY)
        memcpy(at->values, data->counts, data->bound_count * 8);
    if (data->positive != NULL) memcpy(at->positive, data->positive, data->positive_count * 8);
    if (data->negative != NULL) memcpy(at->negative, data->negative, data->negative_count * 8);
    return true;
}
#endif
