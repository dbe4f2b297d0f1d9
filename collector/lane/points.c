#include "collector/lane/points.h"

#include <stdlib.h>
#include <string.h>

/* record: struct weir_point | struct weir_point_data when it has one | key | arrays | padding to 8 */
struct arrays {
    size_t bounds, counts, positive, negative;
};

static struct arrays sizes_of(const struct weir_point *point) {
    struct arrays sizes = {0};
    const struct weir_point_data *data = point->data;
    if (data == NULL) return sizes;
    sizes.bounds = data->bounds == NULL ? 0 : (size_t)data->bound_count * 8;
    size_t counts = (size_t)data->bound_count + (point->kind == WEIR_POINT_HISTOGRAM ? 1 : 0);
    sizes.counts = data->counts == NULL ? 0 : counts * 8;
    sizes.positive = data->positive == NULL ? 0 : (size_t)data->positive_count * 8;
    sizes.negative = data->negative == NULL ? 0 : (size_t)data->negative_count * 8;
    return sizes;
}

static size_t record_size(const struct weir_point *point) {
    struct arrays sizes = sizes_of(point);
    size_t size = sizeof *point + point->key_size + sizes.bounds + sizes.counts + sizes.positive + sizes.negative;
    if (point->data != NULL) size += sizeof *point->data;
    return (size + 7) / 8 * 8;
}

struct weir_points *weir_points_new(struct weir_budget *budget, uint32_t receiver) {
    size_t size = sizeof(struct weir_points) + WEIR_POINTS_BYTES_MAX;
    if (!weir_budget_reserve(budget, size)) return NULL;
    struct weir_points *points = malloc(size);
    if (points == NULL) {
        weir_budget_release(budget, size);
        return NULL;
    }
    *points = (struct weir_points){.budget = budget, .capacity = WEIR_POINTS_BYTES_MAX, .receiver = receiver};
    return points;
}

static uint8_t *copy(uint8_t *to, const uint8_t *from, size_t size) {
    if (size > 0) memcpy(to, from, size);
    return to + size;
}

bool weir_points_add(struct weir_points *points, const struct weir_point *point) {
    size_t size = record_size(point);
    if (size > points->capacity - points->size) return false;
    uint8_t *at = points->bytes + points->size;
    at = copy(at, (const uint8_t *)point, sizeof *point);
    if (point->data != NULL) at = copy(at, (const uint8_t *)point->data, sizeof *point->data);
    at = copy(at, point->key, point->key_size);
    struct arrays sizes = sizes_of(point);
    if (point->data != NULL) {
        at = copy(at, point->data->bounds, sizes.bounds);
        at = copy(at, point->data->counts, sizes.counts);
        at = copy(at, point->data->positive, sizes.positive);
        copy(at, point->data->negative, sizes.negative);
    }
    points->size += size;
    points->count++;
    return true;
}

static const uint8_t *array(const uint8_t **at, const uint8_t *held, size_t size) {
    if (held == NULL) return NULL;
    const uint8_t *here = *at;
    *at += size;
    return here;
}

bool weir_points_next(const struct weir_points *points, size_t *offset, struct weir_point *point,
                      struct weir_point_data *data) {
    if (*offset >= points->size) return false;
    const uint8_t *at = points->bytes + *offset;
    memcpy(point, at, sizeof *point);
    at += sizeof *point;
    if (point->data != NULL) {
        memcpy(data, at, sizeof *data);
        at += sizeof *data;
        point->data = data;
    }
    *offset += record_size(point); /* from the copied pointers: only NULL or not matters */
    struct arrays sizes = sizes_of(point);
    point->key = at;
    at += point->key_size;
    if (point->data != NULL) {
        data->bounds = array(&at, data->bounds, sizes.bounds);
        data->counts = array(&at, data->counts, sizes.counts);
        data->positive = array(&at, data->positive, sizes.positive);
        data->negative = array(&at, data->negative, sizes.negative);
    }
    return true;
}

void weir_points_free(struct weir_points *points) {
    if (points == NULL) return;
    weir_budget_release(points->budget, sizeof *points + points->capacity);
    free(points);
}
