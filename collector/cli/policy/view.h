/* view.h - what proxies are told, as `weir policy show` draws it: rows by service and operation, read from the
 * JSON of the admin's GET /policy (sample/plan_json.h), which is also made of a file alone. */
#ifndef WEIR_CLI_POLICY_VIEW_H
#define WEIR_CLI_POLICY_VIEW_H
#include "collector/core/error.h"
#include "collector/core/names.h"
#include "collector/sample/steering.h"

enum { WEIR_VIEW_WORD = 24 };

struct weir_view_row {
    uint32_t service;   /* 0: of all services that have no row */
    uint32_t operation; /* templated; 0: of the service's other operations, and its sums */
    uint32_t name;      /* of the operation, as it is told */
    bool told;          /* a plan has it; else it is told what its service is */
    bool measured;      /* what is offered is known */
    bool incident;
    double rate, since; /* Unix seconds; 0: not known */
    char why[WEIR_VIEW_WORD];
    double limit; /* max_traces_per_second; below 0: none */
    double min_flush_spans, flush_interval;
    double offered, spans_offered, bytes_offered, spans_told, bytes_told, proxy_cpu;
    struct weir_proxies_budget budget;
    double estimate, estimate_error; /* against its exact counter; below 0: not known */
};
struct weir_view_side {
    char name[WEIR_VIEW_WORD], version[WEIR_VIEW_WORD];
    double share;
    struct weir_proxies_budget budget;
    struct weir_view_row *rows; /* by weir_view_sort(): as they are drawn */
    uint32_t count, capacity;
    uint32_t *index; /* place + 1 by service and operation, while it is read */
    uint32_t index_size;
};
struct weir_view_follower {
    uint32_t service, id, reason; /* names */
    enum weir_side side;
    char way[WEIR_VIEW_WORD], state[WEIR_VIEW_WORD];
};
struct weir_policy_view {
    struct weir_names *names;
    char policy[256];
    double arriving; /* spans a second of traces that began under a plan; below 0: not known */
    struct weir_view_side sides[WEIR_SIDES];
    uint32_t side_count;
    struct weir_view_follower *followers;
    uint32_t follower_count, follower_capacity;
};

/* `view` is zeroed but for its names. WEIR_INVALID: no such JSON, err->text says where; WEIR_FULL: out of memory.
 * Rows come sorted: services by what they are told to send, the largest first, the default last; each service's own
 * row, then its operations likewise. */
enum weir_status weir_policy_view_read(struct weir_policy_view *view, const uint8_t *bytes, size_t size,
                                       struct weir_error *err);
void weir_policy_view_free(struct weir_policy_view *view); /* not its names */

/* For people, in 80 columns. `source`: where it is from; now: of `since`. live: what is offered is known, or will be.
 */
void weir_policy_view_print(const struct weir_policy_view *view, const char *source, double now, bool live, bool colour,
                            bool unicode, struct weir_buffer *out);
#endif
