/* control_follow.c - which rates are really in force. What is told is not what is done: Envoy cannot tell operations
 * apart and follows the rate of its service, others have not asked yet, and some never will. What arrives says it:
 * roots / traces that they stand for is the rate at which they were sampled, without any noise.
 *
 *   in the range of what was told to the operation   it follows
 *   between that and the service's rate              a part of it follows the service's; which, the ratio says
 *   above both                                       some come whatever is told: forced ones, samplers of their own,
 *                                                    lower bounds. They are part of the cost
 *   below both                                       not all do what they are told: so much less is reckoned with
 *   above both, and all stand for themselves only    nobody knows what they stand for. They are taken to follow and not
 *                                                    to say so, until they come as often as before though less was
 *                                                    told, three turns in a row */
#include "collector/sample/control_inside.h"

#include <math.h>

#define HEAR_S          5.0 /* on the way, besides the polling interval */
#define TURN_S          20.0
#define RATIO_ROOTS     20.0
#define RATIO_ROOTS_FEW 5.0 /* one of two rates it is, without any noise */
#define LEARN_S         20.0
#define APART           2.0 /* rates that are to be told from one another */
#define DOUBT_TOLD      0.75
#define DOUBT_CAME      0.85
#define EXTRA_FEW       0.05
#define LEAST_TOLD      1e-6
#define STEADY          1.3
#define UNEXPLAINED     1.1
#define ITSELF          0.95
#define EXACT_S         60.0
#define EXACT_ROOTS     50.0
#define EXACT_NEAR      0.1
#define EXACT_FOLLOW    1.5

/* ---- what was told lately ---- */

struct control_range weir_control_range(void) {
    return (struct control_range){.low = {-1}, .high = {-1}};
}

static double lowest(const struct control_range *range) {
    return fmin(range->low[0], fmin(range->low[1], range->low[2]));
}

static double highest(const struct control_range *range) {
    return fmax(range->high[0], fmax(range->high[1], range->high[2]));
}

static void stretch(struct control_range *range, double rate, bool turn) {
    for (int i = 0; range->high[0] < 0 && i < 3; i++)
        range->low[2 - i] = range->high[2 - i] = rate;
    if (turn) {
        range->low[2] = range->low[1], range->high[2] = range->high[1];
        range->low[1] = range->low[0], range->high[1] = range->high[0];
        range->low[0] = range->high[0] = rate;
    }
    range->low[0] = fmin(range->low[0], rate);
    range->high[0] = fmax(range->high[0], rate);
}

static double turn_s(const struct weir_control *control) {
    return fmax(control->file.poll_s, TURN_S) + HEAR_S;
}

/* Less was told, and as many came as before. */
static void doubt(struct control_follow *follow) {
    double before = follow->roots[1], now = follow->roots[0];
    bool less = follow->told < DOUBT_TOLD * follow->told_then, many = before >= RATIO_ROOTS;
    if (follow->unweighted && less && many) {
        if (now < DOUBT_TOLD * before)
            follow->doubts = 0;
        else if (now > DOUBT_CAME * before)
            follow->doubts++;
    }
    follow->told_then = follow->told;
}

static void turn_over(struct control_follow *follow) {
    doubt(follow);
    follow->roots[1] = follow->roots[0], follow->traces[1] = follow->traces[0];
    follow->roots[0] = follow->traces[0] = 0;
}

void weir_control_ranges(struct weir_control *control) {
    bool turn = control->now - control->turned_at > turn_s(control);
    if (turn) control->turned_at = control->now;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        stretch(&service->range, weir_control_told_rate(control, service, NULL), turn);
        CONTROL_EACH_OPERATION(control, service, op) {
            stretch(&op->follow.range, weir_control_told_rate(control, service, op), turn);
            if (turn) turn_over(&op->follow);
        }
    }
}

/* ---- exact counters ---- */

/* The rate of the service as a whole, if what came followed what was told. */
static double told_of_roots(struct weir_control *control, const struct control_service *service) {
    double roots = 0, traces = 0;
    CONTROL_EACH_OPERATION(control, service, op) {
        if (!(op->follow.told > 0)) continue;
        double came = op->follow.roots[0] + op->follow.roots[1];
        roots += came;
        traces += came / op->follow.told;
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
        double traces = op->follow.traces[0] + op->follow.traces[1];
        learnt += traces * op->follow.learnt;
        by_service += traces * op->follow.by_service;
    }
    if (learnt > 0) service->by_service = by_service / learnt;
}

static void hear(const struct weir_control *control, const struct control_service *service,
                 struct control_operation *op, double seconds) {
    double part = weir_control_by_service(service, op), own = weir_control_told_rate(control, service, op);
    double told = own * (1 - part) + weir_control_told_rate(control, service, NULL) * part;
    double way_s = control->file.poll_s / 2 + HEAR_S;
    op->follow.told += (1 - exp(-seconds / way_s)) * (told - op->follow.told);
}

static void judge(const struct control_service *service, struct control_follow *follow, double ratio, double seconds) {
    double in_force = ratio / service->exact.scale, part = 1 - exp(-seconds / LEARN_S);
    double most = fmax(highest(&follow->range), highest(&service->range));
    double least = fmin(lowest(&follow->range), lowest(&service->range));
    bool above = in_force > UNEXPLAINED * most, below = UNEXPLAINED * in_force < least;
    if (ratio < ITSELF)
        follow->unweighted = false, follow->doubts = 0;
    else if (above || service->exact.follows)
        follow->unweighted = true;
    bool less = follow->told < in_force;
    follow->extra += part * ((above && less && !follow->unweighted ? 1 - follow->told / in_force : 0) - follow->extra);
    follow->shy += part * ((below && !less ? 1 - in_force / follow->told : 0) - follow->shy);
}

/* In traces that they stand for, if they follow. */
static void restate(struct control_step *step, double rate) {
    double times = 1 / fmax(rate, LEAST_TOLD);
    step->sum.traces = step->sum.roots * times;
    step->variance = step->sum.traces * times;
    step->sum.errors *= times, step->sum.seconds *= times;
}

void weir_control_follow(struct weir_control *control, const struct control_service *service,
                         struct control_operation *op, double seconds) {
    struct control_follow *follow = &op->follow;
    hear(control, service, op, seconds);
    /* Until all have heard of it, nobody knows what they did before. With a canary two plans are in force at a time,
     * and which of them a root followed is not said. */
    if (control->now - service->began > turn_s(control) && control->alone) {
        follow->roots[0] += op->step.sum.roots;
        follow->traces[0] += op->step.sum.traces;
        double roots = follow->roots[0] + follow->roots[1], traces = follow->traces[0] + follow->traces[1];
        if (roots >= RATIO_ROOTS) judge(service, follow, roots / traces, seconds);
        if (roots >= RATIO_ROOTS_FEW && !follow->unweighted && follow->extra < EXTRA_FEW)
            learn_service_share(service, follow, roots / traces / service->exact.scale, 1 - exp(-seconds / LEARN_S));
    }
    if (follow->unweighted && !weir_control_stubborn(follow)) restate(&op->step, follow->told);
}
