/* steering_inside.h - what the files of the board share: steering.c (plans, followers), steering_prior.c (what spans of
 * followers stand for), steering_show.c (its series and its JSON). Of no concern to others. */
#ifndef WEIR_SAMPLE_STEERING_INSIDE_H
#define WEIR_SAMPLE_STEERING_INSIDE_H
#include "collector/sample/followers.h"

#include <pthread.h>
#include <stdatomic.h>

/* `nodes:` of one service. */
struct node_rule {
    uint32_t service;
    bool prefix;
    char text[128];
};

enum { PLANS_REMEMBERED = 16 }; /* by version, for those who say which one they follow */

struct weir_steering {
    pthread_rwlock_t lock;
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    struct weir_metric_set *set;
    const struct weir_plan *plans[WEIR_SIDES]; /* references, or NULL */
    double share;
    bool trust_pollers;
    uint64_t poll_ns;
    struct node_rules {
        struct node_rule *rules;
        uint32_t count;
    } nodes[WEIR_SIDES];
    bool nodes_changed;                                   /* of the canary, since plans were published */
    const struct weir_plan *remembered[PLANS_REMEMBERED]; /* references, the newest first */
    struct weir_steering_ear *ears;
    struct weir_followers followers;
    uint64_t born_ns; /* monotonic */
    _Atomic uint32_t arrivals;
    _Atomic bool expecting; /* by who has yet to connect again */
    _Atomic bool followed, settling;
};

/* Under its lock. */
enum weir_side weir_steering_side(const struct weir_steering *steering, const void *id, size_t id_size);
/* Its connection is gone, or it was silent for longer than those of its way are. */
bool weir_steering_is_gone(const struct weir_steering *steering, const struct weir_followed *followed,
                           uint64_t unix_ns);
/* By its version, or by that of what it tells one service. NULL: none that is remembered. */
const struct weir_plan *weir_steering_remembered(const struct weir_steering *steering, uint32_t service,
                                                 uint64_t version);

/* So young that not every Envoy may have connected again. Needs no lock. */
bool weir_steering_is_young(const struct weir_steering *steering);

struct weir_metric_set *weir_steering_open_metrics(struct weir_steering *steering);
#endif
