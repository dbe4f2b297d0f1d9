/* stored_window.h - the traces of files that wait for the rest of their spans: a table, bounded in traces.
 *
 *   by trace id ─> slot     two lists: rootless traces by birth, traces with a root by their last span */
#ifndef WEIR_CLI_STORED_WINDOW_H
#define WEIR_CLI_STORED_WINDOW_H
#include "collector/cli/stored.h"

struct weir_window_slot;
struct weir_window_list {
    uint32_t first, last; /* slots */
};
struct weir_window {
    struct weir_window_slot *slots;
    uint32_t *table;                                 /* slot + 1; 0 = empty */
    uint32_t slot_max, table_mask, free_first, used; /* used: slots that were ever taken */
    struct weir_window_list rootless, rooted;
    uint64_t pressed;
    void (*decided)(void *self, const struct weir_stored_trace *trace);
    void *self;
};

bool weir_window_open(struct weir_window *window, uint32_t traces_max,
                      void (*decided)(void *self, const struct weir_stored_trace *trace), void *self);
void weir_window_close(struct weir_window *window); /* what waits is forgotten; accepts a zeroed one */
/* By the low 64 bits of the id, as all of Weir. */
struct weir_stored_trace *weir_window_find(struct weir_window *window, const struct weir_span *span);
/* Zeroed but for its ids and birth. When the table is full the oldest is decided. NULL: out of memory. */
struct weir_stored_trace *weir_window_add(struct weir_window *window, const struct weir_span *span, uint64_t now_ns);
/* A span was added to it. */
void weir_window_touch(struct weir_window *window, struct weir_stored_trace *trace, uint64_t now_ns);
/* Decides what waited long enough. */
void weir_window_due(struct weir_window *window, uint64_t now_ns, uint64_t wait_ns, uint64_t quiet_ns);
void weir_window_flush(struct weir_window *window);
#endif
