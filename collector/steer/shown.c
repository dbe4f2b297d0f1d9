#include "collector/steer/inside.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { ROWS_MAX = 2000 /* of operations, in all; services are always there */ };

struct adding {
    struct weir_steer_shown *shown;
    enum weir_side side;
    bool failed;
};

static void add_row(void *self, const struct weir_control_view *view) {
    struct adding *adding = self;
    struct weir_steer_shown *shown = adding->shown;
    bool of_operation = view->operation != WEIR_NAME_NONE;
    if (of_operation && shown->operation_count == ROWS_MAX) {
        shown->unshown++;
        return;
    }
    if (shown->row_count == shown->row_room) {
        uint32_t room = shown->row_room == 0 ? 64 : 2 * shown->row_room;
        struct weir_steer_row *more = realloc(shown->rows, room * sizeof *more);
        adding->failed = adding->failed || more == NULL;
        if (more == NULL) return;
        shown->rows = more;
        shown->row_room = room;
    }
    shown->operation_count += of_operation;
    shown->rows[shown->row_count++] = (struct weir_steer_row){adding->side, *view};
}

static bool add_side(struct weir_steer_shown *shown, const struct weir_steer *steer, enum weir_side s) {
    const struct weir_steer_side *side = &steer->sides[s];
    struct adding adding = {.shown = shown, .side = s};
    shown->sides[s] = (struct weir_steer_side){.share = side->share};
    if (side->policy != NULL) shown->sides[s].policy = weir_policy_ref(side->policy);
    if (side->plan == NULL) return true;
    shown->sides[s].plan = weir_plan_ref(side->plan);
    weir_control_each(side->control, add_row, &adding);
    return !adding.failed;
}

static bool add_estimates(struct weir_steer_shown *shown, const struct weir_estimates *estimates) {
    uint32_t count = weir_estimates_count(estimates);
    shown->estimates = malloc((count + 1u) * sizeof *shown->estimates);
    if (shown->estimates == NULL) return false;
    for (uint32_t i = 0; i < count; i++) {
        struct weir_estimate estimate = weir_estimates_at(estimates, i);
        if (estimate.ratio >= 0) shown->estimates[shown->estimate_count++] = estimate;
    }
    return true;
}

struct weir_steer_shown *weir_steer_shown_new(const struct weir_steer *steer, struct weir_control_service *services,
                                              uint32_t count) {
    struct weir_steer_shown *shown = calloc(1, sizeof *shown);
    if (shown == NULL) {
        free(services);
        return NULL;
    }
    atomic_init(&shown->refs, 1);
    shown->services = services;
    shown->service_count = count;
    shown->arriving = steer->arriving;
    shown->changes = steer->changes;
    bool made = add_estimates(shown, steer->estimates);
    for (int s = 0; made && s < WEIR_SIDES; s++)
        made = add_side(shown, steer, (enum weir_side)s);
    if (made) return shown;
    weir_steer_shown_unref(shown);
    return NULL;
}

struct weir_steer_shown *weir_steer_look(struct weir_steer *steer) {
    pthread_mutex_lock(&steer->shown_lock);
    struct weir_steer_shown *shown = steer->shown;
    atomic_fetch_add_explicit(&shown->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&steer->shown_lock);
    return shown;
}

void weir_steer_shown_unref(struct weir_steer_shown *shown) {
    if (shown == NULL || atomic_fetch_sub_explicit(&shown->refs, 1, memory_order_acq_rel) != 1) return;
    for (int s = 0; s < WEIR_SIDES; s++) {
        weir_plan_unref(shown->sides[s].plan);
        weir_policy_unref(shown->sides[s].policy);
    }
    free(shown->rows);
    free(shown->estimates);
    free(shown->services);
    free(shown);
}
