/* control.h - the controller: of what the file asks for and what is offered, the rates that are told. A pure function
 * of its inputs and of its own state; one a policy, not one a client. No clock, no I/O: it is stepped, by a thread
 * (steer/steer.h) about once a second, or by a simulator.
 *
 * A floor is a probability, so that weights stay exact: p = max(rate, min(1, floor / offered)). A budget is shared out
 * by need, floors and pins first. Rates fall at once and rise steadily. */
#ifndef WEIR_SAMPLE_CONTROL_H
#define WEIR_SAMPLE_CONTROL_H
#include "collector/sample/plan.h"

/* What was seen of an operation that begins traces, since the step before; all of them sums. */
struct weir_control_load {
    uint32_t service, operation; /* of the root; templated */
    double roots;                /* traces that came */
    double traces;               /* that they stand for: the sum of their weights; what is offered */
    double spans, bytes;         /* of those that came, all services' */
    double errors;               /* of `traces`: with an error in it */
    double seconds;              /* of `traces`: duration of the roots, summed */
    double kept, decided;        /* of those that came, by the tail; decided 0: nothing decides */
};

static inline void weir_control_load_add(struct weir_control_load *to, const struct weir_control_load *from) {
    to->roots += from->roots;
    to->traces += from->traces;
    to->spans += from->spans;
    to->bytes += from->bytes;
    to->errors += from->errors;
    to->seconds += from->seconds;
    to->kept += from->kept;
    to->decided += from->decided;
}

/* What is known of a service besides. */
struct weir_control_service {
    uint32_t service;
    double exact;     /* requests by its own counter since the step before; below 0: not known */
    uint32_t senders; /* proxies that follow and are alive; 0: not known */
    bool common;      /* all who follow are told the service's rate alone, as Envoys are */
};

struct weir_control_input {
    double seconds; /* since the step before; 0, with no loads: only the file has changed */
    uint64_t now_unix_ns;
    const struct weir_control_load *loads; /* in no order */
    uint32_t load_count;
    const struct weir_control_service *services;
    uint32_t service_count;
    double share; /* of the fleet that follows this controller: 1, or less beside a canary. It is reckoned as if all
                   * did: loads, the budget and what it comes to (weir_control_view) are of all */
};

struct weir_control;

/* NULL: out of memory. */
struct weir_control *weir_control_new(const struct weir_names *names);
/* Another file: what was learnt of the load stays. `policy` is its version; of `proxies` it keeps copies. False: out of
 * memory, and not all of it is taken over; to be called again. */
bool weir_control_set(struct weir_control *control, const struct weir_proxies *proxies, uint64_t policy);
/* What proxies had when this process began, read off what they say of themselves: a plan that starts from there does
 * not jump, and nothing is raised above it until the load is known, or there is another file. Before the first step of
 * that service. */
void weir_control_adopt(struct weir_control *control, uint32_t service, uint32_t operation, double rate);
/* The plan from now on, the caller's reference; the same as before where nothing is worth telling (its versions are
 * equal then). NULL: out of memory; the plan is as it was. */
struct weir_plan *weir_control_step(struct weir_control *control, const struct weir_control_input *input);

/* What it reckons with, for /metrics and `weir policy show`. */
struct weir_control_view {
    uint32_t service, operation;               /* operation 0: the service's sum */
    double offered;                            /* traces a second */
    double rate;                               /* told */
    double spans_per_second, bytes_per_second; /* expected at that rate */
    double spans_offered, bytes_offered;       /* at 100 % */
    double proxy_cpu;                          /* share of a core, of one proxy; 0: senders are not known */
    bool incident;
};
/* Calls `row` for each operation and each service's sum. */
void weir_control_each(const struct weir_control *control, void (*row)(void *self, const struct weir_control_view *),
                       void *self);
/* Services that have a place of their own: `room` of them at most into `names`; how many there are. */
uint32_t weir_control_services(const struct weir_control *control, uint32_t *names, uint32_t room);
void weir_control_free(struct weir_control *control); /* accepts NULL */
#endif
