#include "collector/sample/limit.h"

#include <math.h>
#include <stdlib.h>

static const double second_ns = 1e9;

void weir_limit_open(struct weir_limit *limit, double traces_per_second, uint64_t now_ns) {
    double k = ceil(traces_per_second);
    if (!(k >= WEIR_LIMIT_K_MIN)) k = WEIR_LIMIT_K_MIN;
    if (k > UINT32_MAX / 2) k = UINT32_MAX / 2;
    double window_ns = k / traces_per_second * second_ns;
    *limit = (struct weir_limit){.k = (uint32_t)k};
    /* A limit of almost nothing: its window ends when the process does. */
    limit->window_ns = window_ns < (double)(UINT64_MAX / 4) ? (uint64_t)window_ns : UINT64_MAX / 4;
    if (limit->window_ns == 0) limit->window_ns = 1;
    limit->end_ns = now_ns + limit->window_ns;
}

void weir_limit_close(struct weir_limit *limit) {
    free(limit->waiting);
    limit->waiting = NULL;
    limit->count = limit->capacity = 0;
}

bool weir_limit_over(const struct weir_limit *limit, uint64_t now_ns) {
    return now_ns >= limit->end_ns;
}

/* ---- the heap ---- */

static void rise(struct weir_limit_entry *heap, uint32_t at) {
    struct weir_limit_entry entry = heap[at];
    while (at > 0 && heap[(at - 1) / 2].randomness > entry.randomness) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
}

static void sink(struct weir_limit_entry *heap, uint32_t count) {
    struct weir_limit_entry entry = heap[0];
    uint32_t at = 0;
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1].randomness < heap[child].randomness) child++;
        if (heap[child].randomness >= entry.randomness) break;
        heap[at] = heap[child];
    }
    heap[at] = entry;
}

static bool grow(struct weir_limit *limit) {
    uint32_t capacity = limit->capacity < 8 ? 16 : 2 * limit->capacity;
    if (capacity > limit->k) capacity = limit->k;
    if (capacity == limit->capacity) return false;
    struct weir_limit_entry *waiting = realloc(limit->waiting, capacity * sizeof *waiting);
    if (waiting == NULL) return false;
    limit->waiting = waiting;
    limit->capacity = capacity;
    return true;
}

static void leave_out(struct weir_limit *limit, uint64_t randomness) {
    if (!limit->any_left_out || randomness > limit->bar) limit->bar = randomness;
    limit->any_left_out = true;
}

enum weir_limit_answer weir_limit_offer(struct weir_limit *limit, const struct weir_limit_entry *entry,
                                        struct weir_limit_entry *out, uint64_t *threshold) {
    /* After a try to grow that failed something has been left out: those below the bar have no place any more. */
    bool below = limit->any_left_out && entry->randomness <= limit->bar;
    if (!below && (limit->count < limit->capacity || grow(limit))) {
        limit->waiting[limit->count] = *entry;
        rise(limit->waiting, limit->count++);
        return WEIR_LIMIT_WAITS;
    }
    if (below || limit->count == 0 || entry->randomness <= limit->waiting[0].randomness) {
        leave_out(limit, entry->randomness);
        *threshold = limit->bar + 1;
        return WEIR_LIMIT_LEFT_OUT;
    }
    *out = limit->waiting[0];
    leave_out(limit, out->randomness);
    *threshold = limit->bar + 1;
    limit->waiting[0] = *entry;
    sink(limit->waiting, limit->count);
    return WEIR_LIMIT_REPLACES;
}

uint32_t weir_limit_end(struct weir_limit *limit, uint64_t now_ns, struct weir_limit_entry **entries, uint64_t *bar) {
    uint32_t count = limit->count;
    *entries = limit->waiting;
    *bar = limit->any_left_out ? limit->bar + 1 : 0;
    limit->waiting = NULL;
    limit->count = limit->capacity = 0;
    limit->any_left_out = false;
    /* The grid stays where it is, however late this is asked: a window that begins with a trace, or that ends with one,
     * would be as long as the gaps between them. One that is ended early begins the next at once. */
    if (now_ns >= limit->end_ns)
        limit->end_ns += ((now_ns - limit->end_ns) / limit->window_ns + 1) * limit->window_ns;
    else
        limit->end_ns = now_ns + limit->window_ns;
    return count;
}
