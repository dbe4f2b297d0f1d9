#include "collector/cli/stored_window.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct weir_window_slot {
    struct weir_stored_trace trace;
    uint64_t touched_ns;
    uint32_t before, after; /* in its list; slot + 1, 0 = none */
    bool rooted;            /* in which list it is */
};

bool weir_window_open(struct weir_window *window, uint32_t traces_max,
                      void (*decided)(void *self, const struct weir_stored_trace *trace), void *self) {
    uint32_t size = 64;
    while (size < 2 * traces_max)
        size *= 2;
    *window = (struct weir_window){.slot_max = traces_max, .table_mask = size - 1, .decided = decided, .self = self};
    /* Pages that no trace uses are never touched. */
    window->slots = calloc(traces_max, sizeof *window->slots);
    window->table = calloc(size, sizeof *window->table);
    return window->slots != NULL && window->table != NULL;
}

void weir_window_close(struct weir_window *window) {
    free(window->slots);
    free(window->table);
    *window = (struct weir_window){0};
}

static uint32_t home_of(const struct weir_window *window, uint64_t trace_lo) {
    return (uint32_t)((trace_lo ^ trace_lo >> 29) * 0x9e3779b97f4a7c15ull >> 32) & window->table_mask;
}

/* Where the trace's entry is, or the empty one where it would be. */
static uint32_t *entry_of(struct weir_window *window, uint64_t trace_lo) {
    uint32_t at = home_of(window, trace_lo);
    while (window->table[at] != 0 && window->slots[window->table[at] - 1].trace.trace_lo != trace_lo)
        at = (at + 1) & window->table_mask;
    return &window->table[at];
}

/* Open addressing without gravestones: what stands behind and would be found no more moves up. */
static void forget(struct weir_window *window, uint32_t *entry) {
    uint32_t hole = (uint32_t)(entry - window->table), at = hole;
    window->table[hole] = 0;
    for (;;) {
        at = (at + 1) & window->table_mask;
        if (window->table[at] == 0) return;
        uint32_t home = home_of(window, window->slots[window->table[at] - 1].trace.trace_lo);
        if (((at - home) & window->table_mask) < ((at - hole) & window->table_mask)) continue;
        window->table[hole] = window->table[at];
        window->table[at] = 0;
        hole = at;
    }
}

/* ---- lists ---- */

static struct weir_window_list *list_of(struct weir_window *window, const struct weir_window_slot *slot) {
    return slot->rooted ? &window->rooted : &window->rootless;
}

static void take_out(struct weir_window *window, struct weir_window_slot *slot) {
    struct weir_window_list *list = list_of(window, slot);
    if (slot->before != 0) window->slots[slot->before - 1].after = slot->after;
    if (slot->after != 0) window->slots[slot->after - 1].before = slot->before;
    if (slot->before == 0) list->first = slot->after;
    if (slot->after == 0) list->last = slot->before;
}

static void put_last(struct weir_window *window, struct weir_window_slot *slot) {
    struct weir_window_list *list = list_of(window, slot);
    uint32_t id = (uint32_t)(slot - window->slots) + 1;
    slot->before = list->last;
    slot->after = 0;
    if (list->last != 0) window->slots[list->last - 1].after = id;
    if (list->first == 0) list->first = id;
    list->last = id;
}

/* ---- traces ---- */

static void decide(struct weir_window *window, struct weir_window_slot *slot) {
    window->decided(window->self, &slot->trace);
    forget(window, entry_of(window, slot->trace.trace_lo));
    take_out(window, slot);
    slot->after = window->free_first;
    window->free_first = (uint32_t)(slot - window->slots) + 1;
}

static void decide_oldest(struct weir_window *window) {
    uint32_t id = window->rootless.first, other = window->rooted.first;
    if (id == 0 || (other != 0 && window->slots[other - 1].trace.born_ns < window->slots[id - 1].trace.born_ns))
        id = other;
    if (id == 0) return;
    window->pressed++;
    decide(window, &window->slots[id - 1]);
}

struct weir_stored_trace *weir_window_find(struct weir_window *window, const struct weir_span *span) {
    uint32_t id = *entry_of(window, span->trace_lo);
    return id == 0 ? NULL : &window->slots[id - 1].trace;
}

struct weir_stored_trace *weir_window_add(struct weir_window *window, const struct weir_span *span, uint64_t now_ns) {
    if (window->free_first == 0 && window->used == window->slot_max) decide_oldest(window);
    uint32_t id = window->free_first;
    if (id != 0) {
        window->free_first = window->slots[id - 1].after;
    } else {
        id = ++window->used;
    }
    struct weir_window_slot *slot = &window->slots[id - 1];
    memset(slot, 0, sizeof *slot);
    slot->trace.trace_hi = span->trace_hi;
    slot->trace.trace_lo = span->trace_lo;
    slot->trace.born_ns = now_ns;
    *entry_of(window, span->trace_lo) = id;
    put_last(window, slot);
    return &slot->trace;
}

void weir_window_touch(struct weir_window *window, struct weir_stored_trace *trace, uint64_t now_ns) {
    struct weir_window_slot *slot =
        (struct weir_window_slot *)(void *)((char *)trace - offsetof(struct weir_window_slot, trace));
    slot->touched_ns = now_ns;
    if (!trace->has_root) return; /* stands by its birth */
    take_out(window, slot);
    slot->rooted = true;
    put_last(window, slot);
}

void weir_window_due(struct weir_window *window, uint64_t now_ns, uint64_t wait_ns, uint64_t quiet_ns) {
    while (window->rootless.first != 0) {
        struct weir_window_slot *slot = &window->slots[window->rootless.first - 1];
        if (slot->trace.born_ns + wait_ns > now_ns) break;
        decide(window, slot);
    }
    /* One with a root that spans never stop to come for is decided late: `wait` is not asked here. */
    while (window->rooted.first != 0) {
        struct weir_window_slot *slot = &window->slots[window->rooted.first - 1];
        if (slot->touched_ns + quiet_ns > now_ns) break;
        decide(window, slot);
    }
}

void weir_window_flush(struct weir_window *window) {
    while (window->rootless.first != 0)
        decide(window, &window->slots[window->rootless.first - 1]);
    while (window->rooted.first != 0)
        decide(window, &window->slots[window->rooted.first - 1]);
}
