/* steer.h - whoever makes the plans: a thread that once a second takes what the lanes metered, steps the controller of
 * each policy, and puts the plans on the board (sample/steering.h), from where every dialect tells them. Files for
 * proxies that only read files are kept fresh here too (files.h).
 *
 *   meters of the lanes ─┐
 *   exact counters ──────┼─> weir_control_step() ─> plan ─> board ─> RTDS, pollers, files
 *   followers ───────────┘
 *
 * What proxies had outlives a restart: the rates in force are saved beside the spool, where there is one, and Envoys
 * tell theirs when they come back. */
#ifndef WEIR_STEER_STEER_H
#define WEIR_STEER_STEER_H
#include "collector/aggregate/aggregate.h"
#include "collector/sample/meter.h"
#include "collector/sample/policy.h"
#include "collector/sample/steering.h"

struct weir_steer;

struct weir_steer_env {
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    struct weir_aggregate *aggregate;
    struct weir_steering *steering;
    struct weir_meter *const *meters; /* one a lane */
    uint32_t meter_count;
    const struct weir_config *config; /* `render:` */
    const char *rates_path;           /* where rates outlive the process; "" = nowhere; copied */
};

/* A policy in force, and a canary of it. */
struct weir_steer_policies {
    struct weir_policy *policy, *canary; /* canary: NULL = none */
    double share;                        /* of proxies that are told the canary's */
};

/* What there is to tell is on the board when this returns. Starts no thread. */
enum weir_status weir_steer_new(struct weir_steer **steer, const struct weir_steer_env *env,
                                const struct weir_steer_policies *policies, struct weir_error *err);
enum weir_status weir_steer_start(struct weir_steer *steer, struct weir_error *err);
/* Another policy; the plan of it is on the board when this returns. References are its own. */
void weir_steer_reload(struct weir_steer *steer, const struct weir_steer_policies *policies,
                       const struct weir_config *config);
/* The families weir_policy_* and weir_sampling_estimate_*. Any thread. */
void weir_steer_expose(struct weir_steer *steer, struct weir_buffer *out);
/* All that is known, as JSON: plans, loads, estimates, followers. Any thread. */
void weir_steer_write(struct weir_steer *steer, struct weir_buffer *out);
/* Ends the thread and saves the rates: before lanes drain, when what does not come any more would look like a load that
 * fell. Asking goes on. Accepts NULL. */
void weir_steer_stop(struct weir_steer *steer);
void weir_steer_free(struct weir_steer *steer); /* stops it first; accepts NULL */
#endif
