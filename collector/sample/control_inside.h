/* control_inside.h - what the files of the controller share.
 *
 *   control.c            the table of operations; a step, from loads to a plan
 *   control_file.c       the file, copied: what it says of a service and operation
 *   control_flow.c       an estimate of traces a second that knows its own error, and jumps when it is proved wrong
 *   control_follow.c     which rates are really in force, seen by what arrives
 *   control_trouble.c    incidents, and what the tail leaves of an operation
 *   control_share.c      floors, levels, rates: the budget shared out
 *   control_tell.c       what of it is worth telling, and the plan
 *
 * Times are seconds since the first step, rates are per second. */
#ifndef WEIR_SAMPLE_CONTROL_INSIDE_H
#define WEIR_SAMPLE_CONTROL_INSIDE_H
#include "collector/sample/control.h"

#define CONTROL_NONE UINT32_MAX

enum {
    CONTROL_SERVICES_MAX = 1000,
    CONTROL_OPERATIONS_MAX = 200, /* rows of one service */
    CONTROL_ROWS_MAX = 10000,     /* rows of all; what the file names is beside it. Some 750 bytes each */
};

/* ---- the file ---- */

struct control_rule {
    uint32_t name, operation;
    double rate, floor, weight; /* below 0: not said */
};

struct control_file_service {
    struct control_rule rule;
    double max_traces_per_second;
    struct weir_proxies_batching batching;
    struct weir_proxies_budget budget;
    struct control_rule *operations;
    uint32_t operation_count;
};

struct control_file {
    struct control_file_service fallback, *services; /* by rising name */
    uint32_t service_count;
    struct weir_proxies_budget budget;
    double cost_ns, factor, incident_s, errors, slower_times, poll_s;
    bool incidents;
    bool steered; /* it has floors, budgets or incidents: loads matter */
};

/* What the file wants of an operation, or of all that a service has no row for. */
struct control_terms {
    double rate, floor, weight;
    bool budgeted;
    bool pinned; /* under a budget, and its rate is 0 or 1 */
};

bool weir_control_file_copy(struct control_file *file, const struct weir_proxies *proxies);
void weir_control_file_free(struct control_file *file);
/* NULL: it has no row of its own. */
const struct control_file_service *weir_control_file_find(const struct control_file *file, uint32_t service);
const struct control_rule *weir_control_file_rule(const struct control_file_service *service, uint32_t operation);
/* rule NULL: of the service. */
struct control_terms weir_control_terms(const struct control_file *file, const struct control_file_service *service,
                                        const struct control_rule *rule);

/* ---- estimates ---- */

struct control_sums {
    double roots, traces, variance, seconds; /* variance: of `traces` */
};

struct control_flow {
    struct control_sums fast, slow;
    struct control_sums trend; /* of some seconds between */
    double unfallen_s;
    double trailing, trailing_s; /* a mean of what `trend` said, of so many seconds */
    double weight;               /* traces that a root stands for, lately */
    double spread;               /* variance of a step's traces, in that of Poisson arrivals; 1 or more */
    double last;                 /* rate of the last step */
    bool begun;
};

/* age: seconds for which it was looked for already, and nothing came. */
void weir_control_flow_start(struct control_flow *flow, double age);
void weir_control_flow_add(struct control_flow *flow, double roots, double traces, double variance, double seconds);
double weir_control_flow_rate(const struct control_flow *flow);
/* In so many seconds, if it rises as it does now; never less than it is now. */
double weir_control_flow_ahead(const struct control_flow *flow, double ahead_s);
double weir_control_flow_error(const struct control_flow *flow); /* standard error of the rate */

/* ---- claims: what is shared out ---- */

struct control_claim {
    double load;         /* traces a second that are reckoned with */
    double part;         /* share of them that follows this rate */
    double fixed;        /* traces a second that come besides, whatever is told */
    double spans, bytes; /* a trace */
    double ceiling, weight;
    double floor;                 /* as a rate */
    double paid;                  /* the same, as the budget reckons with it */
    double step;                  /* whole ones of it are followed; 0: any */
    double level_max, floors_max; /* of its service's own budget */
    bool budgeted, pinned, incident;
    double rate;  /* the answer */
    double error; /* standard error of the load, relative */
    enum weir_plan_why why;
};

struct control_told {
    double rate;
    uint64_t since_unix_ns;
    enum weir_plan_why why;
    bool known, row;
    double low_at;           /* last, that no more was wanted */
    double explored;         /* while nothing came yet: how far it may be raised */
    double kept, kept_until; /* what proxies had when this began: no more until then */
};

/* Rates told lately, in turns as long as everybody needs to hear of one. What came in the last two of them was sampled
 * at one of the last three. */
struct control_range {
    double low[3], high[3]; /* [0]: this turn's */
};

struct control_follow {
    double roots[2], traces[2]; /* of two turns; the rate in force is their ratio */
    double told, told_then;     /* as most will have heard, now and a turn ago */
    double by_service;          /* share of the load that follows the service's rate, as far as it is learnt, */
    double learnt;              /* 0 to 1; the rest is as in the whole service */
    double extra;               /* share of the roots that no rate explains */
    double shy;                 /* share of what is told that is not done, though nothing less was told lately */
    bool unweighted;            /* they stand for themselves only: who says nothing of his rate may well follow */
    uint32_t doubts;
    struct control_range range;
};

struct control_trouble {
    struct control_health {
        double roots, traces, errors, seconds;
    } lately, usual;
    double until; /* an incident until then */
};

struct control_operation {
    uint32_t service; /* index */
    uint32_t operation, name;
    uint32_t next_of_hash, next_of_service;
    struct control_terms terms;
    bool filed; /* the file names it */
    bool said;  /* and says its rate */
    struct control_flow flow;
    struct control_step {
        struct weir_control_load sum;
        double variance; /* of sum.traces */
    } step;
    double roots, spans, bytes; /* lately, for the size of its traces */
    double kept, decided;
    struct control_follow follow;
    struct control_trouble trouble;
    struct control_hold {
        double load, at;    /* the highest, for a while; when it was last so high */
        double peak, times; /* it once was so high; and came back so often that it is held longer */
    } hold;
    double seen;    /* last, a root */
    double offered; /* traces a second, now */
    struct control_claim claim;
    struct control_told told;
};

struct control_service {
    uint32_t name, next_of_hash;
    uint32_t first; /* operation */
    uint32_t operation_count;
    struct control_terms terms;
    bool filed;
    struct control_flow flow;
    struct control_exact {
        double now;                                  /* requests, of this step; below 0: not known */
        double roots, traces;                        /* since its counter last moved: it comes in lumps */
        double all, all_roots, all_traces, variance; /* lately */
        double scale;                                /* what weights say, times this, is what it says */
        bool follows;                                /* what weights do not say, it says */
    } exact;
    uint32_t senders;
    bool common; /* it is known, and need not be learnt, that all of the load follows the service's rate */
    struct control_range range;
    double began, full_at;
    struct weir_proxies_budget budget; /* its own */
    struct control_claim claim;        /* of what follows the service's rate */
    double by_service;                 /* as in control_follow, of all its operations */
    uint32_t from, to;                 /* its claims in weir_control.claims, its own last */
    struct control_told told;
};

struct weir_control {
    const struct weir_names *names;
    struct control_file file;
    uint64_t policy;
    bool another;                   /* the file is another than at the step before */
    double now, told_at, turned_at; /* turned: ranges */
    bool alone;                     /* no other plan is in force beside its own */
    uint64_t now_unix_ns;
    struct control_operation *operations;
    uint32_t operation_count, operation_end, operation_room, free_operation; /* free: a chain by next_of_hash */
    struct control_service *services; /* [0]: of all that have no place; it is told the default */
    uint32_t service_count, service_room;
    uint32_t *operation_heads, *service_heads;
    struct control_flow flow; /* spans a second at 100 %, of the fleet */
    struct control_claim **claims;
    uint32_t claim_count, claim_room;
    struct weir_plan *plan;
};

#define CONTROL_EACH_OPERATION(control, service, op)                                                                   \
    for (struct control_operation *op = weir_control_first(control, service); op != NULL;                              \
         op = weir_control_next(control, op))
static inline struct control_operation *weir_control_first(struct weir_control *control,
                                                           const struct control_service *service) {
    return service->first == CONTROL_NONE ? NULL : &control->operations[service->first];
}
static inline struct control_operation *weir_control_next(struct weir_control *control,
                                                          const struct control_operation *op) {
    return op->next_of_service == CONTROL_NONE ? NULL : &control->operations[op->next_of_service];
}
static inline double weir_control_spans_of(const struct control_operation *op) { /* a trace */
    return op->roots > 0 && op->spans > op->roots ? op->spans / op->roots : 1;
}
/* What stands for all operations that have no place follows the service's rate. */
static inline bool weir_control_is_rest(const struct control_operation *op) {
    return op->operation == WEIR_NAME_OVERFLOW;
}

/* With what came in this step. */
void weir_control_exact(struct weir_control *control, struct control_service *service, const struct control_sums *came,
                        double seconds);
/* Less was told thrice, and came it not. */
static inline bool weir_control_stubborn(const struct control_follow *follow) {
    return follow->unweighted && follow->doubts >= 3;
}
/* What its operations have learnt, on average. */
void weir_control_follow_service(struct weir_control *control, struct control_service *service);
void weir_control_follow(struct weir_control *control, const struct control_service *service,
                         struct control_operation *op, double seconds);
struct control_range weir_control_range(void);          /* of nothing told yet */
void weir_control_ranges(struct weir_control *control); /* what is told now is added */

/* Share of its load that follows the service's rate. */
static inline double weir_control_by_service(const struct control_service *service,
                                             const struct control_operation *op) {
    if (weir_control_is_rest(op) || service->common) return 1;
    double share = op->follow.by_service + (1 - op->follow.learnt) * service->by_service;
    return share < 0.1 ? 0 : share > 0.9 ? 1 : share;
}
void weir_control_trouble(struct weir_control *control, struct control_operation *op, double seconds);
double weir_control_kept_weight(const struct control_operation *op);
void weir_control_share(struct weir_control *control, double seconds);
/* A second, at a rate that is told. */
double weir_control_traces(const struct control_claim *claim, double rate);
/* Of a service's own budget, in whichever unit; 0: none. */
double weir_control_spans_budget(const struct weir_control *control, const struct control_service *service);
/* Of an operation; NULL: of the service. */
double weir_control_told_rate(const struct weir_control *control, const struct control_service *service,
                              const struct control_operation *op);
/* NULL: out of memory. */
struct weir_plan *weir_control_tell(struct weir_control *control);
#endif
