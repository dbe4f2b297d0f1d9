/* control_tell.c - what of the rates that were worked out is worth telling, and the plan that tells it.
 *
 * Estimates waver by a few percent, and proxies need not hear of it. So a plan stands until it would break a budget, or
 * a floor, or a rate has moved by more than chance has it, or PERIOD_S are over; and then it changes those rates that
 * are off by more than BAND. */
#include "collector/sample/control_inside.h"

#include <math.h>
#include <stdlib.h>

#define BAND         0.05
#define ERRORS       1.5  /* of its estimate */
#define ROW_BAND     0.02 /* a row that is there stays until it says what the service's rate says */
#define PERIOD_S     60.0
#define MOVED_S      10.0
#define WIDE         0.25
#define OVER_URGENT  1.02
#define OVER_CHANGED 1.01
#define MISSED       0.8 /* of what a floor needs */

double weir_control_told_rate(const struct weir_control *control, const struct control_service *service,
                              const struct control_operation *op) {
    if (op != NULL && op->told.row) return op->told.rate;
    return service->told.row ? service->told.rate : control->services[0].told.rate;
}

/* ---- what is told, against the budgets ---- */

struct spent {
    double spans, bytes;
};

static void spend(struct spent *sum, const struct control_claim *claim, double rate) {
    double traces = weir_control_traces(claim, rate);
    sum->spans += traces * claim->spans;
    sum->bytes += traces * claim->bytes;
}

/* At what is told; or at what was worked out. */
static struct spent spent_of(struct weir_control *control, const struct control_service *service, bool told) {
    struct spent sum = {0};
    CONTROL_EACH_OPERATION(control, service, op)
    spend(&sum, &op->claim, told ? weir_control_told_rate(control, service, op) : op->claim.rate);
    spend(&sum, &service->claim, told ? weir_control_told_rate(control, service, NULL) : service->claim.rate);
    return sum;
}

/* Pins, and what comes whatever is told, may be more than a budget: telling it anew would change nothing. */
static bool above(double told, double wanted, double budget, double times) {
    return budget > 0 && told > times * fmax(budget, wanted);
}

static bool breaks(const struct spent *told, const struct spent *wanted, double spans, double bytes, double times) {
    return above(told->spans, wanted->spans, spans, times) || above(told->bytes, wanted->bytes, bytes, times);
}

static bool breaks_budget(struct weir_control *control, double times) {
    struct spent fleet = {0}, fleet_wanted = {0};
    for (uint32_t i = 0; i < control->service_count; i++) {
        const struct control_service *service = &control->services[i];
        struct spent own = spent_of(control, service, true), wanted = spent_of(control, service, false);
        if (breaks(&own, &wanted, weir_control_spans_budget(control, service), service->budget.bytes_per_second, times))
            return true;
        fleet.spans += own.spans, fleet.bytes += own.bytes;
        fleet_wanted.spans += wanted.spans, fleet_wanted.bytes += wanted.bytes;
    }
    const struct weir_proxies_budget *budget = &control->file.budget;
    return breaks(&fleet, &fleet_wanted, budget->spans_per_second, budget->bytes_per_second, times);
}

/* A floor, or a closer look at trouble, by what follows the operation's own rate. */
static bool misses(const struct control_claim *claim, double told) {
    bool urgent = claim->why == WEIR_PLAN_FLOOR || claim->why == WEIR_PLAN_INCIDENT;
    return urgent && claim->part >= 0.5 && told < claim->rate * MISSED;
}

static bool misses_any(struct weir_control *control) {
    for (uint32_t i = 0; i < control->service_count; i++) {
        const struct control_service *service = &control->services[i];
        if (service->claim.load > 0 && misses(&service->claim, weir_control_told_rate(control, service, NULL)))
            return true;
        CONTROL_EACH_OPERATION(control, service, op) {
            if (misses(&op->claim, weir_control_told_rate(control, service, op))) return true;
        }
    }
    return false;
}

/* By so much that it is no chance. */
static bool moved(double rate, const struct control_claim *claim) {
    return fabs(claim->rate - rate) > fmax(WIDE, 2 * ERRORS * claim->error) * rate;
}

static bool anything_moved(struct weir_control *control) {
    for (uint32_t i = 0; i < control->service_count; i++) {
        const struct control_service *service = &control->services[i];
        if (moved(weir_control_told_rate(control, service, NULL), &service->claim)) return true;
        CONTROL_EACH_OPERATION(control, service, op) {
            if (moved(weir_control_told_rate(control, service, op), &op->claim)) return true;
        }
    }
    return false;
}

/* ---- taking over ---- */

static bool off(double told, double rate, double band) {
    return fabs(rate - told) > band * told;
}

/* What one rate may rise by, others fall by, and those that ask hear of it an interval later: so it rises then. Not so
 * where it is for a floor, or in trouble. */
static bool waits(const struct weir_control *control, const struct control_told *told,
                  const struct control_claim *claim) {
    bool urgent = claim->why == WEIR_PLAN_FLOOR || claim->why == WEIR_PLAN_INCIDENT || told->explored > 0;
    return claim->rate > told->rate && !control->another && !urgent &&
           control->now - told->low_at < control->file.poll_s / 2;
}

static void tell(struct weir_control *control, struct control_told *told, const struct control_claim *claim,
                 double band) {
    double rate = weir_plan_round(claim->rate);
    if (band > 0) band = fmax(band, ERRORS * claim->error);
    bool stays = told->known && !off(told->rate, rate, band);
    if (stays) told->why = claim->why;
    if (stays || (told->known && waits(control, told, claim))) return;
    if (!told->known || told->rate != rate) told->since_unix_ns = control->now_unix_ns;
    told->rate = rate;
    told->why = claim->why;
    told->known = true;
}

static void look(const struct weir_control *control, struct control_told *told, double rate,
                 const struct control_claim *claim) {
    if (!(claim->rate > rate * (1 + BAND))) told->low_at = control->now;
}

static void look_at_all(struct weir_control *control) {
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        look(control, &service->told, weir_control_told_rate(control, service, NULL), &service->claim);
        CONTROL_EACH_OPERATION(control, service, op)
        look(control, &op->told, weir_control_told_rate(control, service, op), &op->claim);
    }
}

static bool row_needed(const struct control_told *told, double otherwise, double rate) {
    return off(otherwise, rate, told->row ? ROW_BAND : BAND);
}

static void tell_operations(struct weir_control *control, struct control_service *service, double band) {
    bool rows = false;
    double fallback = control->services[0].told.rate;
    CONTROL_EACH_OPERATION(control, service, op) {
        if (weir_control_is_rest(op)) continue;
        op->told.row = op->said || (!service->common && row_needed(&op->told, service->told.rate, op->claim.rate));
        if (op->told.row)
            tell(control, &op->told, &op->claim, band);
        else
            op->told.known = false;
        rows = rows || (op->told.row && (!op->said || op->told.rate != weir_plan_round(op->terms.rate)));
    }
    service->told.row = service->filed || service == &control->services[0] || rows ||
                        row_needed(&service->told, fallback, service->claim.rate);
}

static void tell_all(struct weir_control *control, double band) {
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        tell(control, &service->told, &service->claim, band);
        tell_operations(control, service, band);
    }
    control->told_at = control->now;
}

/* Without floors, budgets and incidents: as the file says. */
static void tell_file(struct weir_control *control) {
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        service->claim.rate = service->terms.rate;
        service->claim.why = WEIR_PLAN_RATE;
        tell(control, &service->told, &service->claim, 0);
        service->told.row = service->filed || i == 0;
        CONTROL_EACH_OPERATION(control, service, op) {
            op->claim.rate = op->terms.rate;
            op->claim.why = WEIR_PLAN_RATE;
            op->told.row = op->said && service->told.row;
            if (op->told.row) tell(control, &op->told, &op->claim, 0);
        }
    }
}

/* ---- the plan ---- */

static struct weir_plan_rate row_of(const struct control_told *told, uint32_t name, uint32_t operation) {
    return (struct weir_plan_rate){.name = name,
                                   .operation = operation,
                                   .rate = told->rate,
                                   .since_unix_ns = told->since_unix_ns,
                                   .why = told->why};
}

static struct weir_plan_service service_row(struct weir_control *control, const struct control_service *service,
                                            struct weir_plan_rate *rows) {
    const struct control_file_service *file = weir_control_file_find(&control->file, service->name);
    if (file == NULL) file = &control->file.fallback;
    struct weir_plan_service made = {.rate = row_of(&service->told, service->name, WEIR_NAME_NONE),
                                     .max_traces_per_second = file->max_traces_per_second,
                                     .batching = file->batching,
                                     .operations = rows};
    /* In the order of the file, so that the version is that of the file's own plan where they say the same. */
    for (uint32_t i = 0; i < file->operation_count; i++) {
        CONTROL_EACH_OPERATION(control, service, op) {
            if (op->operation != file->operations[i].operation || !op->told.row) continue;
            rows[made.operation_count++] = row_of(&op->told, op->name, op->operation);
            break;
        }
    }
    CONTROL_EACH_OPERATION(control, service, op) {
        if (op->filed || !op->told.row) continue;
        rows[made.operation_count++] = row_of(&op->told, op->name, op->operation);
    }
    return made;
}

static struct weir_plan *make_plan(struct weir_control *control) {
    struct weir_plan_rate *rows = calloc(control->operation_count + 1u, sizeof *rows), *next = rows;
    struct weir_plan_service *services = calloc(control->service_count + 1u, sizeof *services), fallback = {0};
    struct weir_plan *plan = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; rows != NULL && services != NULL && i < control->service_count; i++) {
        if (!control->services[i].told.row) continue;
        struct weir_plan_service one = service_row(control, &control->services[i], next);
        next += one.operation_count;
        if (i == 0)
            fallback = one;
        else
            services[count++] = one;
    }
    if (rows != NULL && services != NULL)
        plan = weir_plan_new(control->names, control->policy, &fallback, services, count);
    free(rows);
    free(services);
    return plan;
}

struct weir_plan *weir_control_tell(struct weir_control *control) {
    bool first = control->plan == NULL || control->another;
    look_at_all(control);
    double since = control->now - control->told_at;
    bool urgent = first || breaks_budget(control, OVER_URGENT) || misses_any(control);
    if (!control->file.steered) {
        if (first) tell_file(control);
    } else if (urgent || since >= PERIOD_S || (since >= MOVED_S && anything_moved(control))) {
        tell_all(control, BAND);
        if (breaks_budget(control, OVER_CHANGED)) tell_all(control, 0);
    } else {
        return weir_plan_ref(control->plan);
    }
    if (!control->file.steered && !first) return weir_plan_ref(control->plan);

    struct weir_plan *plan = make_plan(control);
    if (plan == NULL) {
        control->another = true; /* what is told by now is in no plan yet */
        return NULL;
    }
    if (!first && plan->version == control->plan->version) {
        weir_plan_unref(plan);
        return weir_plan_ref(control->plan);
    }
    weir_plan_unref(control->plan);
    control->plan = plan;
    control->another = false;
    return weir_plan_ref(plan);
}
