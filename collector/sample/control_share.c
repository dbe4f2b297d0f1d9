/* control_share.c - a budget shared out.
 *
 * With k traces kept of an operation, its numbers have a relative error of 1 / sqrt(k). The sum of w^2 / k is least for
 * given spans when k is in proportion to w / sqrt(spans a trace): so all operations get the same level L of traces a
 * second, times their weight, divided by the root of what a trace of theirs costs. What asks for less than that, by
 * its ceiling or because it has no more, leaves the rest to the others (water-filling): frequent operations pay. Floors
 * come first, and pins before them. A service's own budget gives a level of its own; the lower one counts. */
#include "collector/sample/control_inside.h"

#include <math.h>

#define AIM   0.98 /* of a budget is given away: chance takes a little more at times */
#define SIGHT 0.05 /* of a budget that others have used up: without any traces nothing would be seen again */

#define LEAST_RATE 1e-6 /* the finest that can be told: 0 would be nothing, and nothing would be seen again */
#define ENVOY_STEP 1e-4 /* weir_plan_round_envoy() */
#define LEAST_LOAD 1e-9
#define LIFT       10.0 /* how much more a floor may cost where all operations have one rate */

/* A load that fell is held for HOLD_S or a polling interval, up to HOLD_TIMES as long when it came back within CALM_S;
 * then it is one RISE_TIMES'th each RISE_S or interval. */
#define HOLD_S     45.0
#define HOLD_TIMES 16.0
#define CALM_S     900.0
#define RISE_S     30.0
#define RISE_TIMES 2.0
#define LUMPY      16.0 /* of the spread of arrivals in lumps: as much of it as a window of many lumps has */

#define START_RATE 0.01
#define EXPLORE_S  5.0 /* a rate that nothing came at is doubled so often */

#define WAY_S      4.0 /* from a root's beginning to a plan that reckons with it, and back */
#define RAISE_MOST 10.0
#define FALL_MOST  10.0 /* of a load that is held: what a floor is reckoned for */

enum unit { SPANS, BYTES, UNITS };

static double unit_of(const struct control_claim *claim, enum unit unit) {
    return unit == SPANS ? claim->spans : claim->bytes;
}

/* ---- rates at a level ---- */

static double rate_at(const struct control_claim *claim, double level) {
    if (claim->pinned || !claim->budgeted) return claim->ceiling;
    double wanted =
        claim->weight * fmin(level, claim->level_max) / (sqrt(claim->spans) * fmax(claim->load, LEAST_LOAD));
    return fmin(wanted, claim->ceiling);
}

static double raised(const struct control_claim *claim, double rate, double floor, double floors) {
    if (claim->pinned) return rate;
    floor *= claim->budgeted ? floors * claim->floors_max : 1;
    return fmin(fmax(fmax(rate, floor), claim->step), 1);
}

static double rate_of(const struct control_claim *claim, double level, double floors) {
    return raised(claim, rate_at(claim, level), claim->floor, floors);
}

/* Traces a second, at a rate that is told. */
double weir_control_traces(const struct control_claim *claim, double rate) {
    return claim->load * claim->part * rate + claim->fixed;
}

static double cost(const struct control_claim *const *claims, uint32_t count, enum unit unit, double level,
                   double floors) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        double rate = raised(claims[i], rate_at(claims[i], level), claims[i]->paid, floors);
        sum += unit_of(claims[i], unit) * weir_control_traces(claims[i], rate);
    }
    return sum;
}

/* ---- the level that a budget leaves ---- */

struct bound {
    double level, floors; /* floors: how much of each can be met */
};

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
    double stands = cost(claims, count, unit, 0, 0), floors = cost(claims, count, unit, 0, 1) - stands;
    budget = fmax(budget, stands + SIGHT * budget);
    if (stands + floors >= budget) return (struct bound){0, floors > 0 ? (budget - stands) / floors : 1};
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
        double budget = AIM * (unit == SPANS ? spans : bytes);
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

static bool is_held(const struct weir_control *control, const struct control_hold *hold) {
    return control->now - hold->at <= fmax(control->file.poll_s, HOLD_S) * hold->times;
}

/* A load that fell is reckoned with for a while, and then less of it from second to second: so rates rise steadily, and
 * not at all while a load comes and goes. One that came back is held for longer the next time. What is within the error
 * of an estimate is no fall. */
static double hold(const struct weir_control *control, struct control_hold *hold, double rate, double error,
                   double seconds) {
    double sure = rate - error, since = control->now - hold->at;
    hold->times = fmax(hold->times * exp(-seconds / CALM_S), 1);
    if (sure >= 0.95 * hold->load) {
        bool back = hold->load < 0.7 * hold->peak && sure > 0.7 * hold->peak;
        if (back) hold->times = fmin(hold->times * 2, HOLD_TIMES);
        hold->load = fmax(hold->load, sure);
        hold->peak = fmax(hold->peak, hold->load);
        hold->at = control->now;
    } else if (!is_held(control, hold)) {
        hold->load *= exp(-seconds * log(RISE_TIMES) / fmax(control->file.poll_s, RISE_S));
    }
    if (since > CALM_S) hold->peak = hold->load;
    return rate > hold->load - 3 * error ? rate : hold->load;
}

static void size_of(const struct control_operation *op, struct control_claim *claim) {
    claim->spans = op->roots > 0 ? fmax(op->spans / op->roots, 1) : 1;
    claim->bytes = op->roots > 0 ? fmax(op->bytes / op->roots, 0) : 0;
}

/* As a rate. A floor is met at the load that there is. It is paid for at the one that is held, but for no more than
 * FALL_MOST times what it wants: of a load that has all but gone it would take the budget of all others. As long as
 * that load may come back any moment, no more than what is paid for is told. */
static void floor_of(const struct weir_control *control, const struct control_operation *op, double rate,
                     struct control_claim *claim) {
    if (!(op->terms.floor > 0)) return;
    claim->paid = fmin(op->terms.floor / fmax(fmax(rate, claim->load / FALL_MOST), LEAST_LOAD), 1);
    claim->floor = is_held(control, &op->hold) ? claim->paid : fmin(op->terms.floor / fmax(rate, LEAST_LOAD), 1);
}

static void claim_of(struct weir_control *control, const struct control_service *service, struct control_operation *op,
                     double seconds) {
    double scale = service->exact.scale, rate = weir_control_flow_rate(&op->flow) * scale;
    double error = weir_control_flow_error(&op->flow) * scale;
    const struct control_follow *follow = &op->follow;
    double traces = follow->traces[0] + follow->traces[1];
    double roots = traces > 0 ? rate / scale * (follow->roots[0] + follow->roots[1]) / traces : 0;
    op->offered = rate;
    bool incident = op->trouble.until > control->now;
    double factor = incident ? control->file.factor : 1;
    double load = hold(control, &op->hold, rate, error * sqrt(fmin(op->flow.spread, LUMPY)), seconds);
    op->claim = (struct control_claim){.load = load,
                                       .fixed = weir_control_stubborn(follow) ? rate : follow->extra * roots,
                                       .ceiling = fmin(op->terms.rate * factor, 1),
                                       .weight = op->terms.weight * weir_control_kept_weight(op) * factor,
                                       .budgeted = op->terms.budgeted,
                                       .pinned = op->terms.pinned,
                                       .incident = incident,
                                       .level_max = INFINITY,
                                       .floors_max = 1};
    floor_of(control, op, rate, &op->claim);
    size_of(op, &op->claim);
}

/* The rate that meets the floor of each, as far as it costs no more than LIFT times what the floors would if they could
 * be met one by one, or LIFT times the rate of the file: all operations of an Envoy are raised for its rarest. */
static double floor_of_service(const struct control_terms *terms, double highest, double floors, double all) {
    double alone = all > 0 ? fmin(terms->floor / all, 1) : 0, mean = all > 0 ? floors / all : 0;
    double bound = LIFT * fmax(mean, terms->budgeted ? 0 : terms->rate);
    return terms->rate > 0 ? fmin(fmax(fmin(highest, bound), alone), 1) : 0;
}

/* A part of the load follows the service's rate: all of what has no row, and what an Envoy began. What those operations
 * would get of the level, their common rate gets. */
static void claim_of_service(struct weir_control *control, struct control_service *service) {
    const struct control_terms *terms = &service->terms;
    struct control_claim claim = {
        .part = 1, .budgeted = terms->budgeted, .pinned = terms->pinned, .level_max = INFINITY, .floors_max = 1};
    double all = 0, spans = 0, bytes = 0, highest = 0, floors = 0, highest_paid = 0, floors_paid = 0, factor = 1;
    weir_control_follow_service(control, service);
    CONTROL_EACH_OPERATION(control, service, op) {
        double part = weir_control_by_service(service, op), load = op->claim.load * part;
        all += op->claim.load;
        op->claim.part = weir_control_stubborn(&op->follow) ? 0 : (1 - part) * (1 - op->follow.shy);
        claim.load += load;
        spans += load * op->claim.spans, bytes += load * op->claim.bytes;
        claim.weight += part * op->claim.weight / sqrt(op->claim.spans);
        floors += op->claim.load * op->claim.floor, floors_paid += op->claim.load * op->claim.paid;
        if (part < 0.5 || weir_control_is_rest(op)) continue;
        if (op->claim.incident) factor = control->file.factor;
        highest = fmax(highest, op->claim.floor), highest_paid = fmax(highest_paid, op->claim.paid);
        if (terms->budgeted && terms->rate > 0) claim.step = ENVOY_STEP;
    }
    claim.spans = claim.load > 0 ? spans / claim.load : 1;
    claim.bytes = claim.load > 0 ? bytes / claim.load : 0;
    claim.weight = fmax(claim.weight * sqrt(claim.spans), 1e-9);
    claim.ceiling = fmin(terms->rate * factor, 1);
    claim.incident = factor > 1;
    claim.floor = floor_of_service(terms, highest, floors, all);
    claim.paid = floor_of_service(terms, highest_paid, floors_paid, all);
    service->claim = claim;
}

/* Sums are better known than their parts: where they say more, there is more. */
static void raise_to(struct control_claim **claims, uint32_t count, double sum, double known) {
    double factor = sum > 0 ? fmin(known / sum, RAISE_MOST) : 1;
    for (uint32_t i = 0; factor > 1 && i < count; i++)
        claims[i]->load *= factor;
}

/* Until what is told now is in force: a span's way, and of those that ask the mean of what is left until they do. */
static double ahead_of(const struct weir_control *control, const struct control_service *service) {
    return WAY_S + (1 - service->by_service) * control->file.poll_s / 2;
}

static double collect_service(struct weir_control *control, struct control_service *service, double seconds) {
    double sum = 0, spans = 0;
    struct control_claim **claims = control->claims + control->claim_count;
    uint32_t count = 0;
    CONTROL_EACH_OPERATION(control, service, op) {
        claim_of(control, service, op, seconds);
        sum += op->claim.load;
        claims[count++] = &op->claim;
    }
    raise_to(claims, count, sum,
             weir_control_flow_ahead(&service->flow, ahead_of(control, service)) * service->exact.scale);
    for (uint32_t i = 0; i < count; i++)
        spans += claims[i]->load * claims[i]->spans;
    claim_of_service(control, service);
    claims[count++] = &service->claim;
    service->from = control->claim_count;
    service->to = control->claim_count += count;
    return spans;
}

static void collect(struct weir_control *control, double seconds) {
    double spans = 0, ahead = 0;
    control->claim_count = 0;
    for (uint32_t i = 0; i < control->service_count; i++) {
        double more = collect_service(control, &control->services[i], seconds);
        ahead += more * ahead_of(control, &control->services[i]);
        spans += more;
    }
    ahead = spans > 0 ? ahead / spans : 0;
    raise_to(control->claims, control->claim_count, spans, weir_control_flow_ahead(&control->flow, ahead));
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
    /* Downwards: half a step more is much of a rate of one. */
    if (claim->step > 0 && !claim->pinned) claim->rate = fmax(floor(claim->rate / claim->step + 1e-6), 1) * claim->step;
    /* What nothing is known of costs nothing yet: where no level is left it is told what it would be at a start, and
     * is seen when it comes. */
    double least = claim->load > LEAST_LOAD ? LEAST_RATE : START_RATE;
    if (!claim->pinned) claim->rate = fmax(claim->rate, fmin(least, claim->ceiling));
    claim->why = why_of(claim, rate_of(claim, INFINITY, 1));
    if (claim->why == WEIR_PLAN_BUDGET && claim->rate == claim->floor) claim->why = WEIR_PLAN_FLOOR;
}

/* For the budget, which could be broken while the load is not known. */
static void lower_to(struct control_claim *claim, double rate) {
    if (claim->rate <= rate) return;
    claim->rate = rate;
    if (claim->budgeted && claim->why == WEIR_PLAN_RATE) claim->why = WEIR_PLAN_BUDGET;
}

/* Nothing came yet: whether there is nothing, or the rate is too low for it. From what it has it is doubled now and
 * then to where it would be. Where no budget can be broken the file's rate is told at once, and only what a floor adds
 * to it is felt for. */
static void explore(struct control_claim *claim, struct control_told *told, double start, double seconds) {
    if (told->explored > 0)
        told->explored = fmin(told->explored * exp2(seconds / EXPLORE_S), 1);
    else
        told->explored = told->known ? told->rate : start;
    if (!claim->pinned) lower_to(claim, fmax(told->explored, claim->budgeted ? LEAST_RATE : claim->ceiling));
}

static double start_of(const struct control_terms *terms) {
    return terms->budgeted ? fmin(terms->rate, START_RATE) : terms->rate;
}

/* After a restart senders come back one by one, and what is seen of the first seconds is less than there is: nothing is
 * raised above what proxies had, but for a higher rate in the file and for trouble. */
static bool is_kept(const struct weir_control *control, const struct control_told *told) {
    return control->now < told->kept_until;
}

static void keep(const struct weir_control *control, struct control_claim *claim, const struct control_told *own,
                 const struct control_told *of_service) {
    const struct control_told *others = &control->services[0].told;
    const struct control_told *told = is_kept(control, own) ? own : is_kept(control, of_service) ? of_service : others;
    if (claim->pinned || claim->incident || !is_kept(control, told)) return;
    lower_to(claim, fmax(told->kept, claim->budgeted ? 0 : claim->ceiling));
}

static void answer_operation(const struct weir_control *control, const struct control_service *service,
                             struct control_operation *op, struct bound bound, double seconds) {
    answer(&op->claim, bound);
    if (op->flow.slow.roots > 0)
        op->told.explored = 0;
    else
        explore(&op->claim, &op->told, start_of(&op->terms), is_kept(control, &op->told) ? 0 : seconds);
    keep(control, &op->claim, &op->told, &service->told);
}

/* What a service's own rate has to be for the same spans, whoever follows it instead of those of its operations. */
static double mean_rate(const struct control_claim *const *claims, uint32_t count) {
    double told = 0, all = 0;
    for (uint32_t i = 0; i < count; i++) {
        told += claims[i]->load * claims[i]->spans * claims[i]->rate;
        all += claims[i]->load * claims[i]->spans;
    }
    return all > 0 ? told / all : -1;
}

static void answer_service(struct weir_control *control, struct control_service *service, struct bound bound,
                           double seconds) {
    struct control_claim *claim = &service->claim;
    bool others = service == &control->services[0];
    const struct control_claim *const *claims = (const struct control_claim *const *)control->claims;
    claims += others ? 0 : service->from;
    /* Its own claim is the last: it is worked out here. */
    double mean = mean_rate(claims, others ? control->claim_count : service->to - service->from - 1);
    bool silent = mean < 0 && !(claim->load > 0);
    answer(claim, bound);
    if (!claim->pinned && claim->budgeted && !(claim->load > 0) && mean >= 0) {
        claim->rate = fmax(fmin(mean, fmax(claim->ceiling, claim->floor)), LEAST_RATE);
        claim->why = why_of(claim, fmax(claim->ceiling, claim->floor));
    }
    if (silent)
        explore(claim, &service->told, start_of(&service->terms), is_kept(control, &service->told) ? 0 : seconds);
    else
        service->told.explored = 0;
    keep(control, claim, &service->told, &service->told);
}

void weir_control_share(struct weir_control *control, double seconds) {
    collect(control, seconds);
    const struct control_claim *const *claims = (const struct control_claim *const *)control->claims;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        struct bound own =
            bound_of_budget(claims + service->from, service->to - service->from,
                            weir_control_spans_budget(control, service), service->budget.bytes_per_second);
        for (uint32_t k = service->from; k < service->to; k++) {
            control->claims[k]->level_max = own.level;
            control->claims[k]->floors_max = own.floors;
        }
    }
    struct bound bound = bound_of_budget(claims, control->claim_count, control->file.budget.spans_per_second,
                                         control->file.budget.bytes_per_second);
    for (uint32_t i = control->service_count; i-- > 0;) { /* what others are told hangs on all */
        struct control_service *service = &control->services[i];
        CONTROL_EACH_OPERATION(control, service, op) answer_operation(control, service, op, bound, seconds);
        answer_service(control, service, bound, seconds);
    }
}
