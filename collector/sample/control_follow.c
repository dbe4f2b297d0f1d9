/* control_follow.c - which rates are really in force. What is told is not what is done: Envoy cannot tell operations
 * apart and follows the rate of its service, others have not asked yet, and some never will. What arrives says it:
 * roots / traces that they stand for is the rate at which they were sampled, without any noise.
 *
 *   in the range of what was told to the operation   it follows
 *   between that and the service's rate              a part follows the service's: which, the ratio says
 *   above both                                       there are some that come whatever is told (forced ones, samplers
 * of their own, lower bounds): they are part of the cost all of them stand for themselves, above both     nobody knows:
 * they may follow and not say so. Their load is taken for as much as it would be then, their cost for what it is */
#include "collector/sample/control_inside.h"

#include <math.h>

#define HEAR_S          5.0 /* on the way, besides the polling interval */
#define RATIO_S         20.0
#define RATIO_ROOTS     20.0
#define RATIO_ROOTS_FEW 5.0 /* one of two rates it is, without any noise */
#define LEARN_S         20.0
#define APART           2.0 /* rates that are to be told from one another */
#define STEADY          1.3
#define UNEXPLAINED     1.3
#define ITSELF          0.95
#define EXACT_S         60.0
#define EXACT_ROOTS     50.0
#define EXACT_NEAR      0.1
#define EXACT_FOLLOW    1.5

/* ---- what was told lately ---- */

struct control_range weir_control_range(void) {
    return (struct control_range){.low = {0, 0}, .high = {1, 1}};
}

static double lowest(const struct control_range *range) {
    return fmin(range->low[0], range->low[1]);
}

static double highest(const struct control_range *range) {
    return fmax(range->high[0], range->high[1]);
}

static void stretch(struct control_range *range, double rate, bool turn) {
    if (turn) {
        range->low[1] = range->low[0], range->high[1] = range->high[0];
        range->low[0] = range->high[0] = rate;
    }
    range->low[0] = fmin(range->low[0], rate);
    range->high[0] = fmax(range->high[0], rate);
}

void weir_control_ranges(struct weir_control *control) {
    bool turn = control->now - control->turned_at > control->file.poll_s + HEAR_S;
    if (turn) control->turned_at = control->now;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        stretch(&service->range, weir_control_told_rate(control, service, NULL), turn);
        CONTROL_EACH_OPERATION(control, service, op)
        stretch(&op->follow.range, weir_control_told_rate(control, service, op), turn);
    }
}

/* ---- exact counters ---- */

/* The rate of the service as a whole, if what came followed what was told. */
static double told_of_roots(struct weir_control *control, const struct control_service *service) {
    double roots = 0, traces = 0;
    CONTROL_EACH_OPERATION(control, service, op) {
        if (!(op->follow.told > 0)) continue;
        roots += op->follow.roots;
        traces += op->follow.roots / op->follow.told;
    }
    return traces > 0 ? roots / traces : 1;
}

/* A counter of requests counts the same as weights do: then it knows better. Or it counts what they would say if they
 * were known: then all follow and do not say so. Or else it is none of ours, as the requests of a service that seldom
 * begins a trace. */
static void compare(struct weir_control *control, const struct control_service *service, struct control_exact *exact) {
    exact->scale = 1;
    exact->follows = false;
    if (exact->all_roots < EXACT_ROOTS || exact->all < exact->all_roots) return;
    if (fabs(exact->all - exact->all_traces) <= EXACT_NEAR * exact->all + 3 * sqrt(exact->variance)) {
        exact->scale = exact->all / exact->all_traces;
        return;
    }
    double ratio = exact->all_roots / exact->all / told_of_roots(control, service);
    exact->follows = exact->all_roots > ITSELF * exact->all_traces && ratio < EXACT_FOLLOW && ratio > 1 / EXACT_FOLLOW;
}

void weir_control_exact(struct weir_control *control, struct control_service *service, const struct control_sums *came,
                        double seconds) {
    struct control_exact *exact = &service->exact;
    double left = exp(-seconds / EXACT_S);
    exact->all *= left, exact->all_roots *= left, exact->all_traces *= left, exact->variance *= left * left;
    exact->variance += came->variance;
    exact->roots += came->roots, exact->traces += came->traces;
    if (exact->now > 0) {
        exact->all += exact->now, exact->all_roots += exact->roots, exact->all_traces += exact->traces;
        exact->roots = exact->traces = 0;
    }
    compare(control, service, exact);
}

/* ---- operations ---- */

static bool steady(const struct control_range *range) {
    return highest(range) <= STEADY * lowest(range);
}

static void learn_service_share(const struct control_service *service, struct control_follow *follow, double in_force,
                                double part) {
    if (!steady(&follow->range) || !steady(&service->range)) return;
    double own = (highest(&follow->range) + lowest(&follow->range)) / 2;
    double common = (highest(&service->range) + lowest(&service->range)) / 2;
    if (fmax(own, common) < APART * fmin(own, common)) return;
    double share = fmin(fmax((in_force - own) / (common - own), 0), 1);
    follow->by_service += part * (share - follow->by_service);
    follow->learnt += part * (1 - follow->learnt);
}

void weir_control_follow_service(struct weir_control *control, struct control_service *service) {
    double learnt = 0, by_service = 0;
    CONTROL_EACH_OPERATION(control, service, op) {
        learnt += op->follow.traces * op->follow.learnt;
        by_service += op->follow.traces * op->follow.by_service;
    }
    if (learnt > 0) service->by_service = by_service / learnt;
}

void weir_control_follow(struct weir_control *control, const struct control_service *service,
                         struct control_operation *op, double seconds) {
    struct control_follow *follow = &op->follow;
    double left = exp(-seconds / fmax(RATIO_S, control->file.poll_s)), part = 1 - exp(-seconds / LEARN_S);
    follow->roots = follow->roots * left + op->step.sum.roots;
    follow->traces = follow->traces * left + op->step.sum.traces;
    double by_service = weir_control_by_service(service, op);
    double told = weir_control_told_rate(control, service, op) * (1 - by_service) +
                  weir_control_told_rate(control, service, NULL) * by_service;
    follow->told += (1 - exp(-seconds / (control->file.poll_s / 2 + HEAR_S))) * (told - follow->told);
    /* With a canary two plans are in force at a time, and which of them a root followed is not said. */
    if (control->share < 1 || follow->roots < RATIO_ROOTS_FEW) return;
    double ratio = follow->roots / follow->traces, in_force = ratio / service->exact.scale;
    double most = fmax(highest(&follow->range), highest(&service->range));
    bool many = follow->roots >= RATIO_ROOTS;
    bool unsaid = in_force > UNEXPLAINED * most || (service->exact.follows && ratio > ITSELF);
    double extra = many && unsaid && follow->told < in_force ? 1 - follow->told / in_force : 0;
    follow->extra += part * (extra - follow->extra);
    double least = fmin(lowest(&follow->range), lowest(&service->range));
    double shy = many && UNEXPLAINED * in_force < least ? fmax(1 - in_force / follow->told, 0) : 0;
    follow->shy += part * (shy - follow->shy);
    if (extra > 0) follow->unweighted = ratio > ITSELF;
    if (extra == 0) learn_service_share(service, follow, in_force, part);
}
