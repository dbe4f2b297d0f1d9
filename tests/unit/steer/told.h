/* told.h - what is told, as proxies and a page have it. */
#ifndef WEIR_TESTS_UNIT_STEER_TOLD_H
#define WEIR_TESTS_UNIT_STEER_TOLD_H
#include "collector/steer/steer.h"

#include <stdbool.h>
#include <string.h>

/* What `id` is told of a service; below 0: nothing is told. */
static inline double rate_told(struct weir_steering *board, const char *id, uint32_t service) {
    const struct weir_plan *plan = weir_steering_plan(board, id, strlen(id), NULL);
    if (plan == NULL) return -1;
    double rate = weir_plan_find(plan, service)->rate.rate;
    weir_plan_unref(plan);
    return rate;
}

static inline bool steer_page_has(struct weir_steer *steer, const char *text) {
    struct weir_buffer page = {0};
    weir_steer_expose(steer, &page);
    weir_buffer_byte(&page, 0);
    bool there = strstr((const char *)page.bytes, text) != NULL;
    weir_buffer_free(&page);
    return there;
}
#endif
