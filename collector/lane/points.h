/* points.h - a block of metric samples on its way to the lane that owns their series: deep copies, one behind the
 * other. */
#ifndef WEIR_LANE_POINTS_H
#define WEIR_LANE_POINTS_H
#include "collector/core/budget.h"
#include "collector/core/point.h"

#include <stdbool.h>
#include <stddef.h>

enum { WEIR_POINTS_BYTES_MAX = 256 * 1024 }; /* a block; the next one waits for the ring's room */

struct weir_points {
    struct weir_budget *budget;
    size_t size, capacity;
    uint32_t count;
    uint32_t receiver; /* enum weir_receiver_id, of all of them */
    _Alignas(8) uint8_t bytes[];
};

/* NULL: the budget or the memory is used up. */
struct weir_points *weir_points_new(struct weir_budget *budget, uint32_t receiver);
/* Copies point, key and data. False: the block is full and unchanged. */
bool weir_points_add(struct weir_points *points, const struct weir_point *point);
/* Walks: *at starts at 0. The point's key and data point into the block. */
bool weir_points_next(const struct weir_points *points, size_t *at, struct weir_point *point,
                      struct weir_point_data *data);
void weir_points_free(struct weir_points *points); /* accepts NULL */
#endif
