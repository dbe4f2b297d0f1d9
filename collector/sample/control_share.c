/* control_share.c - a budget shared out.
 *
 * With k traces kept of an operation, its numbers have a relative error of 1 / sqrt(k). The sum of w^2 / k is least for
 * given spans when k is in proportion to w / sqrt(spans a trace): so all operations get the same level L of traces a
 * second, times their weight, divided by the root of what a trace of theirs costs. What asks for less than that, by
 * its ceiling or because it has no more, leaves the rest to the others (water-filling): frequent operations pay. Floors
 * come first, and pins before them. A service's own budget gives a level of its own; the lower one counts. */
#include "collector/sample/control_inside.h"

#include <math.h>

#define LEAST_RATE  1e-6 /* the finest that can be told: less would be nothing, and nothing would be seen again */
#define HOLD_S_MIN  30.0
#define RISE        1.5 /* a polling interval */
#define START_RATE  0.01
#define EXPLORE_S   5.0 /* a rate that nothing came at is doubled so often */
#define LOAD_FACTOR 10.0

enum unit { SPANS, BYTES, UNITS };

static double unit_of(const struct control_claim *claim, enum unit unit) {
    return unit == SPANS ? claim->spans : claim->bytes;
}

/* ---- rates at a level ---- */

static double rate_at(const struct control_claim *claim, double level) {
    if (claim->pinned || !claim->budgeted) return claim->ceiling;
    double wanted = claim->weight * fmin(level, claim->level_max) / (sqrt(claim->spans) * fmax(claim->load, 1e-9));
    return fmin(wanted, claim->ceiling);
}

static double rate_of(const struct control_claim *claim, double level, double floors) {
    double rate = rate_at(claim, level);
    if (claim->pinned) return rate;
    double floor = claim->floor * (claim->budgeted ? floors * claim->floors_max : 1);
    return fmin(fmax(rate, floor), 1);
}

static double cost(const struct control_claim *const *claims, uint32_t count, enum unit unit, double level,
                   double floors) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += unit_of(claims[i], unit) * (claims[i]->load * rate_of(claims[i], level, floors) + claims[i]->fixed);
    return sum;
}

/* ---- the level that a budget leaves ---- */

struct bound {
    double level, floors; /* floors: how much of each can be met */
};

static double what_cannot_be_turned(const struct control_claim *const *claims, uint32_t count, enum unit unit) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool stands = claims[i]->pinned || !claims[i]->budgeted;
        double turned = stands ? claims[i]->load * rate_of(claims[i], INFINITY, 1) : 0;
        sum += unit_of(claims[i], unit) * (turned + claims[i]->fixed);
    }
    return sum;
}

/* Above it nobody asks for more. */
static double level_of_all(const struct control_claim *const *claims, uint32_t count) {
    double level = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct control_claim *claim = claims[i];
        level = fmax(level, claim->ceiling * sqrt(claim->spans) * claim->load / claim->weight);
    }
    return level;
}

static struct bound bound_of(const struct control_claim *const *claims, uint32_t count, enum unit unit, double budget) {
    if (cost(claims, count, unit, INFINITY, 1) <= budget) return (struct bound){INFINITY, 1};
    double stands = what_cannot_be_turned(claims, count, unit), floors = cost(claims, count, unit, 0, 1) - stands;
    if (stands + floors >= budget) {
        double room = fmax(budget - stands, 0);
        return (struct bound){0, floors > 0 ? fmin(room / floors, 1) : 1};
    }
    /* Cost rises with the level; levels span many powers of ten, so their logarithm is halved. */
    double high = log(level_of_all(claims, count) + 1e-9), low = high - 60;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (cost(claims, count, unit, exp(middle), 1) > budget)
            high = middle;
        else
            low = middle;
    }
    return (struct bound){exp(low), 1};
}

static struct bound bound_of_budget(const struct control_claim *const *claims, uint32_t count, double spans,
                                    double bytes) {
    struct bound bound = {INFINITY, 1};
    for (int unit = 0; unit < UNITS; unit++) {
        double budget = unit == SPANS ? spans : bytes;
        if (!(budget > 0)) continue;
        struct bound one = bound_of(claims, count, (enum unit)unit, budget);
        bound.level = fmin(bound.level, one.level);
        bound.floors = fmin(bound.floors, one.floors);
    }
    return bound;
}

/* A share of a core of each proxy is so many spans a second of all of them. Where their number is not known, one. */
static double spans_of_cpu(const struct weir_control *control, const struct control_service *service, double share) {
    if (!(share > 0) || !(control->file.cost_ns > 0)) return 0;
    return share * 1e9 / control->file.cost_ns * (service->senders > 0 ? service->senders : 1);
}

static double lower(double a, double b) { /* of two bounds, 0 for none */
    if (!(a > 0)) return b;
    return b > 0 && b < a ? b : a;
}

double weir_control_spans_budget(const struct weir_control *control, const struct control_service *service) {
    double cpu = lower(spans_of_cpu(control, service, control->file.budget.proxy_cpu),
                       spans_of_cpu(control, service, service->budget.proxy_cpu));
    return lower(service->budget.spans_per_second, cpu);
}

/* ---- claims ---- */

/* A load that fell is reckoned with for a while, and then less of it from second to second: so rates rise steadily, and
 * not at all while a load comes and goes. What is within the error of an estimate is no rise and no fall. */
static void hold(struct weir_control *control, struct control_operation *op, double rate, double error,
                 double seconds) {
    double sure = rate - 2 * error, hold_s = fmax(control->file.poll_s, HOLD_S_MIN);
    if (sure >= 0.95 * op->held) {
        op->held = fmax(op->held, sure);
        op->held_at = control->now;
    } else if (control->now - op->held_at > hold_s) {
        op->held *= exp(-seconds * log(RISE) / hold_s);
    }
}

static void size_of(const struct control_operation *op, struct control_claim *claim) {
    claim->spans = op->roots > 0 ? fmax(op->spans / op->roots, 1) : 1;
    claim->bytes = op->roots > 0 ? fmax(op->bytes / op->roots, 0) : 0;
}

static void claim_of(struct weir_control *control, struct control_operation *op, double seconds) {
    double rate = weir_control_flow_rate(&op->flow), error = weir_control_flow_error(&op->flow);
    bool incident = op->trouble.until > control->now;
    hold(control, op, rate, error, seconds);
    struct control_claim *claim = &op->claim;
    *claim = (struct control_claim){.load = fmax(rate, op->held),
                                    .ceiling = fmin(op->terms.rate * (incident ? control->file.factor : 1), 1),
                                    .weight = op->terms.weight * weir_control_kept_weight(op) *
                                              (incident ? control->file.factor : 1),
                                    .floor = op->terms.floor > 0 ? fmin(op->terms.floor / fmax(rate, 1e-9), 1) : 0,
                                    .budgeted = op->terms.budgeted,
                                    .pinned = op->terms.pinned,
                                    .incident = incident,
                                    .level_max = INFINITY,
                                    .floors_max = 1};
    size_of(op, claim);
}

/* Sums are better known than their parts: where they say more, there is more. */
static void raise_to(struct control_claim **claims, uint32_t count, double sum, double known) {
    double factor = sum > 0 ? fmin(known / sum, LOAD_FACTOR) : 1;
    for (uint32_t i = 0; factor > 1 && i < count; i++)
        claims[i]->load *= factor;
}

static void collect(struct weir_control *control, double seconds) {
    control->claim_count = 0;
    double spans = 0;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        double sum = 0;
        service->from = control->claim_count;
        CONTROL_EACH_OPERATION(control, service, op) {
            claim_of(control, op, seconds);
            sum += op->claim.load;
            control->claims[control->claim_count++] = &op->claim;
        }
        service->to = control->claim_count;
        raise_to(control->claims + service->from, service->to - service->from, sum,
                 weir_control_flow_rate(&service->flow));
        CONTROL_EACH_OPERATION(control, service, op) spans += op->claim.load * op->claim.spans;
    }
    raise_to(control->claims, control->claim_count, spans, weir_control_flow_rate(&control->flow));
}

/* ---- answers ---- */

static enum weir_plan_why why_of(const struct control_claim *claim, double unhindered) {
    if (claim->pinned) return WEIR_PLAN_PIN;
    if (claim->incident) return WEIR_PLAN_INCIDENT;
    if (claim->rate < unhindered * 0.999) return WEIR_PLAN_BUDGET;
    return claim->rate > claim->ceiling * 1.001 ? WEIR_PLAN_FLOOR : WEIR_PLAN_RATE;
}

static void answer(struct control_claim *claim, struct bound bound) {
    claim->rate = rate_of(claim, bound.level, bound.floors);
    if (claim->ceiling > 0 && claim->rate < LEAST_RATE) claim->rate = LEAST_RATE;
    claim->why = why_of(claim, rate_of(claim, INFINITY, 1));
    if (claim->why == WEIR_PLAN_BUDGET && claim->rate == claim->floor) claim->why = WEIR_PLAN_FLOOR;
}

/* What a service's own rate has to be for the same spans, whoever follows it instead of those of its operations. */
static double mean_rate(const struct control_claim *const *claims, uint32_t count) {
    double told = 0, all = 0;
    for (uint32_t i = 0; i < count; i++) {
        told += claims[i]->load * claims[i]->spans * claims[i]->rate;
        all += claims[i]->load * claims[i]->spans;
    }
    return all > 1e-9 ? told / all : -1;
}

/* Nothing came: whether there is nothing, or the rate is too low for it. */
static double explore(const struct weir_control *control, const struct control_service *service, double target,
                      double seconds) {
    double from = service->told.known ? service->told.rate : START_RATE;
    (void)control;
    return fmin(target, from * exp2(seconds / EXPLORE_S));
}

static void answer_service(struct weir_control *control, struct control_service *service, double seconds) {
    const struct control_claim *const *claims =
        (const struct control_claim *const *)control->claims + (service->name == WEIR_NAME_NONE ? 0 : service->from);
    uint32_t count = service->name == WEIR_NAME_NONE ? control->claim_count : service->to - service->from;
    const struct control_terms *terms = &service->terms;
    struct control_claim *claim = &service->claim;
    double load = weir_control_flow_rate(&service->flow);
    double floor = terms->floor > 0 && service->name != WEIR_NAME_NONE ? fmin(terms->floor / fmax(load, 1e-9), 1) : 0;
    *claim = (struct control_claim){.ceiling = terms->rate,
                                    .floor = floor,
                                    .budgeted = terms->budgeted,
                                    .pinned = terms->pinned,
                                    .load = load,
                                    .level_max = INFINITY,
                                    .floors_max = 1};
    double most = fmax(terms->rate, floor), mean = mean_rate(claims, count);
    if (terms->pinned || (!terms->budgeted && load > 0))
        claim->rate = terms->pinned ? terms->rate : most;
    else if (mean < 0 && (terms->budgeted || most > terms->rate))
        claim->rate = explore(control, service, most, seconds);
    else
        claim->rate = terms->budgeted ? fmin(mean, most) : most;
    if (!terms->budgeted) claim->rate = fmax(claim->rate, terms->rate);
    if (claim->ceiling > 0 && claim->rate < LEAST_RATE) claim->rate = LEAST_RATE;
    claim->why = why_of(claim, most);
}

void weir_control_share(struct weir_control *control, double seconds) {
    collect(control, seconds);
    const struct control_claim *const *claims = (const struct control_claim *const *)control->claims;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        struct bound bound =
            bound_of_budget(claims + service->from, service->to - service->from,
                            weir_control_spans_budget(control, service), service->budget.bytes_per_second);
        for (uint32_t k = service->from; k < service->to; k++) {
            control->claims[k]->level_max = bound.level;
            control->claims[k]->floors_max = bound.floors;
        }
    }
    struct bound bound = bound_of_budget(claims, control->claim_count, control->file.budget.spans_per_second,
                                         control->file.budget.bytes_per_second);
    for (uint32_t i = 0; i < control->claim_count; i++)
        answer(control->claims[i], bound);
    for (uint32_t i = 0; i < control->service_count; i++)
        answer_service(control, &control->services[i], seconds);
}
