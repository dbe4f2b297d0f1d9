/* inside.h - what steer.c (the thread), shown.c (what a step leaves to be looked at), report.c (how that is told) and
 * rates.c (what outlives it) share. */
#ifndef WEIR_STEER_INSIDE_H
#define WEIR_STEER_INSIDE_H
#include "collector/steer/estimate.h"
#include "collector/steer/files.h"
#include "collector/steer/steer.h"

#include <pthread.h>

struct weir_steer_side {
    struct weir_policy *policy; /* NULL: none */
    struct weir_control *control;
    struct weir_plan *plan; /* NULL: nothing is told */
    double share;
    bool stale; /* its controller had no memory for the policy yet */
};

struct weir_steer_row {
    enum weir_side side;
    struct weir_control_view view;
};

/* All that is told of a step, so that nobody who looks waits for one, nor one for him. Immutable, counted. */
struct weir_steer_shown {
    _Atomic uint32_t refs;
    struct weir_steer_side sides[WEIR_SIDES]; /* without controllers */
    struct weir_steer_row *rows;
    uint32_t row_count, row_room, operation_count, unshown;
    struct weir_estimate *estimates;
    uint32_t estimate_count;
    struct weir_control_service *services; /* that are known by name */
    uint32_t service_count;
    double arriving;
    uint64_t changes;
};

struct weir_steer {
    struct weir_steer_env env;
    char rates_path[4096];
    pthread_mutex_t shown_lock; /* of the pointer, for no longer than it takes to count a reference */
    struct weir_steer_shown *shown;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;
    pthread_t thread;
    bool running, ending;
    struct weir_steer_side sides[WEIR_SIDES];
    struct weir_estimates *estimates;
    struct weir_files *files;        /* has a lock of its own: writing takes as long as the disk does */
    uint64_t begun_ns, stepped_ns;   /* monotonic */
    struct weir_control_load *loads; /* of the step */
    uint32_t load_count, load_capacity;
    double arriving; /* spans a second that came, of traces that began somewhere: a mean of the last ten seconds */
    uint64_t changes;
    bool settling;
    _Atomic uint64_t not_saved, not_stepped; /* times that the disk, or memory, said no */
    uint64_t saved, saved_ns; /* of the thread alone: the version that rates.c saved last, and when it was looked at */
};

/* shown.c. Under the lock; NULL: out of memory. Takes over `services`, of malloc(), also then. */
struct weir_steer_shown *weir_steer_shown_new(const struct weir_steer *steer, struct weir_control_service *services,
                                              uint32_t count);
/* Of the last step; the caller's reference. Any thread. */
struct weir_steer_shown *weir_steer_look(struct weir_steer *steer);
void weir_steer_shown_unref(struct weir_steer_shown *shown); /* accepts NULL */

/* rates.c: the rates in force, into and out of a file. Reading hands each to `adopt`; a file that is not there is no
 * error. */
enum weir_status weir_rates_save(const char *path, const struct weir_plan *plan, const struct weir_names *names,
                                 struct weir_error *err);
enum weir_status weir_rates_load(const char *path, struct weir_names *names,
                                 void (*adopt)(void *self, uint32_t service, uint32_t operation, double rate),
                                 void *self, struct weir_error *err);
#endif
