/* control_simulation.h - a fleet in front of the real controller: proxies that hear late, arrivals by chance, spans
 * that arrive later still, and what really came of it, second by second.
 *
 *   load(t) ─ Poisson ─> senders, each at the rate that it has heard ─> spans ─ lag ─> loads ─> weir_control_step()
 *                            ^                                                                      │
 *                            └── Envoys: a second later; pollers: when they ask next <── plan ──────┘
 *
 * Truth is taken where it is made: spans a second as they are begun, offered traces as they were meant. Seeds are
 * fixed. */
#ifndef WEIR_TESTS_SAMPLE_CONTROL_SIMULATION_H
#define WEIR_TESTS_SAMPLE_CONTROL_SIMULATION_H
#include "collector/emit/random.h"
#include "tests/unit/sample/control_rig.h"

#include <stdio.h>

enum { FLEET_OPERATIONS = 2048, FLEET_SENDERS = 256, FLEET_SECONDS = 4000, FLEET_TICKS = 4, FLEET_LAG_MAX = 8 };

enum fleet_kind {
    FLEET_ENVOY,  /* hears a second later, knows the service's rate only, in steps of a ten-thousandth */
    FLEET_POLLER, /* knows operations; asks every poll_s */
    FLEET_DEAF,   /* has a rate of its own, and says so */
    FLEET_SILENT  /* a poller whose spans do not say what they stand for */
};

enum fleet_shape { FLEET_CONSTANT, FLEET_STEP, FLEET_RAMP, FLEET_DIURNAL, FLEET_FLAP };

struct fleet_load {
    enum fleet_shape shape;
    double base, factor, from, until, period; /* factor x base from `from` until `until` (0: for ever) */
};

struct fleet_operation {
    uint32_t service, operation;
    double spans; /* a trace, on average; geometric */
    struct fleet_load load;
    double errors, errors_in_trouble, seconds, seconds_in_trouble, trouble_from, trouble_until;
    double kept;                                 /* share that the tail keeps; below 0: there is none */
    double burst;                                /* standard deviation of the load of a second, relative */
    double visible_above;                        /* 0, or it comes only while its rate is above this */
    double now, kept_traces[FLEET_SECONDS / 10]; /* per ten seconds */
};

struct fleet_sender {
    uint32_t service;
    enum fleet_kind kind;
    double share, poll_s, next_s, rate;
    double flush_s; /* 0, or spans leave in lumps so often */
    double flushed_s;
    struct weir_control_load *held; /* until then, of each operation */
    struct weir_plan *plan;
};

struct fleet_second {
    double spans, spans_at_all; /* begun; if every trace were sampled */
    double told, second;        /* rates of the operations that are watched */
    uint32_t changes;
};

/* Instead of the controller: what others do, on one rate for all. */
enum fleet_way {
    FLEET_OURS,
    FLEET_RATIO, /* rate x budget / measured, as Jaeger's adaptive sampling, up by a half at most */
    FLEET_PI     /* proportional and integral, of the logarithm of budget / measured */
};

struct fleet {
    struct rig rig;
    enum fleet_way way;
    double way_budget, way_every_s, way_rate, way_measured, way_integral;
    struct weir_emit_random random;
    struct fleet_operation *operations;
    uint32_t operation_count;
    struct fleet_sender *senders;
    uint32_t sender_count;
    uint32_t lag_s;
    double poll_s; /* of those that ask, and of the file */
    double share;
    struct weir_control_load *under_way[FLEET_LAG_MAX];
    uint32_t under_way_count[FLEET_LAG_MAX];
    struct weir_control_service services[64];
    uint32_t service_count;
    bool counted;           /* services have exact counters */
    double counted_every_s; /* which move so often: 0 is each second */
    double uncounted[64];
    uint32_t flood; /* names a second that nobody ever sends again */
    uint32_t flood_service;
    struct weir_plan *heard[2]; /* by Envoys: of the second before */
    uint32_t watched, watched_too;
    struct fleet_second *seconds;
    uint32_t now_s;
};

/* ---- chance ---- */

static inline double fleet_uniform(struct fleet *fleet) { /* above 0, to 1 */
    return ((double)(weir_emit_next(&fleet->random) >> 11) + 1) * 0x1p-53;
}
static inline double fleet_normal(struct fleet *fleet) {
    return sqrt(-2 * log(fleet_uniform(fleet))) * cos(2 * 3.14159265358979 * fleet_uniform(fleet));
}
static inline double fleet_poisson(struct fleet *fleet, double mean) {
    if (!(mean > 0)) return 0;
    if (mean > 40) return fmax(0, round(mean + sqrt(mean) * fleet_normal(fleet)));
    double count = 0, left = exp(-mean);
    for (double product = fleet_uniform(fleet); product > left; product *= fleet_uniform(fleet))
        count++;
    return count;
}
/* Spans of so many traces: 1 and a geometric number each. */
static inline double fleet_spans(struct fleet *fleet, double traces, double mean) {
    double more = mean - 1, sum = traces;
    if (!(more > 0)) return traces;
    if (traces > 40) return fmax(traces, round(traces * mean + sqrt(traces * more * (more + 1)) * fleet_normal(fleet)));
    double scale = -1 / log(more / (more + 1));
    for (double i = 0; i < traces; i++)
        sum += floor(-log(fleet_uniform(fleet)) * scale);
    return sum;
}

/* ---- making a fleet ---- */

/* WEIR_SIMULATION_SEED, by hand, makes others of all. */
static inline struct fleet fleet_new(uint64_t seed) {
    const char *said = getenv("WEIR_SIMULATION_SEED");
    if (said != NULL) seed += 1000 * strtoull(said, NULL, 10);
    struct fleet fleet = {.rig = rig_new(), .random = weir_emit_random_of(seed), .lag_s = 2, .share = 1};
    fleet.operations = calloc(FLEET_OPERATIONS, sizeof *fleet.operations);
    fleet.senders = calloc(FLEET_SENDERS, sizeof *fleet.senders);
    fleet.seconds = calloc(FLEET_SECONDS, sizeof *fleet.seconds);
    for (int i = 0; i < FLEET_LAG_MAX; i++)
        fleet.under_way[i] = calloc(2 * FLEET_OPERATIONS, sizeof *fleet.under_way[i]);
    assert_non_null(fleet.operations);
    assert_non_null(fleet.senders);
    assert_non_null(fleet.seconds);
    return fleet;
}
static inline void fleet_free(struct fleet *fleet) {
    for (uint32_t i = 0; i < fleet->sender_count; i++)
        weir_plan_unref(fleet->senders[i].plan), free(fleet->senders[i].held);
    for (int i = 0; i < FLEET_LAG_MAX; i++)
        free(fleet->under_way[i]);
    weir_plan_unref(fleet->heard[0]);
    weir_plan_unref(fleet->heard[1]);
    free(fleet->operations);
    free(fleet->senders);
    free(fleet->seconds);
    rig_free(&fleet->rig);
}
static inline struct fleet_operation *fleet_operation(struct fleet *fleet, const char *service, const char *operation,
                                                      double spans, struct fleet_load load) {
    assert_true(fleet->operation_count < FLEET_OPERATIONS);
    struct fleet_operation *op = &fleet->operations[fleet->operation_count++];
    *op = (struct fleet_operation){.service = rig_name(&fleet->rig, service),
                                   .operation = rig_name(&fleet->rig, operation),
                                   .spans = spans,
                                   .load = load,
                                   .seconds = 0.1,
                                   .kept = -1};
    return op;
}
/* So many of a kind, with equal shares of `share` of the service's load, asking at random moments. */
static inline void fleet_senders(struct fleet *fleet, const char *service, enum fleet_kind kind, uint32_t count,
                                 double poll_s, double share) {
    for (uint32_t i = 0; i < count; i++) {
        assert_true(fleet->sender_count < FLEET_SENDERS);
        fleet->senders[fleet->sender_count++] = (struct fleet_sender){.service = rig_name(&fleet->rig, service),
                                                                      .kind = kind,
                                                                      .share = share / count,
                                                                      .poll_s = poll_s,
                                                                      .next_s = poll_s * fleet_uniform(fleet),
                                                                      .rate = 0.01};
    }
}
static inline void fleet_known(struct fleet *fleet, const char *service, uint32_t senders) {
    fleet->services[fleet->service_count++] =
        (struct weir_control_service){.service = rig_name(&fleet->rig, service), .exact = -1, .senders = senders};
}

/* ---- loads ---- */

static inline double fleet_load_at(const struct fleet_load *load, double t) {
    double in = t - load->from;
    bool on = in >= 0 && (load->until == 0 || t < load->until);
    switch (load->shape) {
    case FLEET_STEP: return on ? load->base * load->factor : load->base;
    case FLEET_RAMP: /* up for `period`, stays, down for `period` */
        if (in < 0) return load->base;
        if (load->until != 0 && t > load->until)
            return load->base * pow(load->factor, fmax(0, 1 - (t - load->until) / load->period));
        return load->base * pow(load->factor, fmin(1, in / load->period));
    case FLEET_DIURNAL: return load->base * (1 + load->factor * sin(2 * 3.14159265358979 * in / load->period));
    case FLEET_FLAP: return on && fmod(in, 2 * load->period) < load->period ? load->base * load->factor : load->base;
    case FLEET_CONSTANT: break;
    }
    return load->base;
}

static inline void fleet_hear(struct fleet *fleet, double t) {
    for (uint32_t i = 0; i < fleet->sender_count; i++) {
        struct fleet_sender *sender = &fleet->senders[i];
        if (sender->kind != FLEET_POLLER && sender->kind != FLEET_SILENT) continue;
        if (t < sender->next_s || fleet->rig.plan == NULL) continue;
        sender->next_s += sender->poll_s;
        weir_plan_unref(sender->plan);
        sender->plan = weir_plan_ref(fleet->rig.plan);
    }
}
static inline double fleet_rate(const struct fleet *fleet, const struct fleet_sender *sender,
                                const struct fleet_operation *op) {
    switch (sender->kind) {
    case FLEET_ENVOY: /* before it heard of any: its own default, said by the case */
        if (fleet->heard[0] == NULL) return sender->rate;
        return weir_plan_round_envoy(weir_plan_find(fleet->heard[0], op->service)->rate.rate);
    case FLEET_POLLER:
    case FLEET_SILENT:
        if (sender->plan == NULL) return sender->rate;
        return weir_plan_rate_of(weir_plan_find(sender->plan, op->service), op->operation)->rate;
    case FLEET_DEAF: break;
    }
    return sender->rate;
}

static inline void fleet_send(struct fleet *fleet, const struct fleet_sender *sender, struct fleet_operation *op,
                              double t, struct weir_control_load *load) {
    double rate = fleet_rate(fleet, sender, op);
    if (op->visible_above > 0 && rate < op->visible_above) return;
    bool trouble = op->trouble_until > 0 && t >= op->trouble_from && t < op->trouble_until;
    double kept = fleet_poisson(fleet, op->now * sender->share * rate / FLEET_TICKS);
    double weight = sender->kind == FLEET_SILENT || rate == 0 ? 1 : 1 / rate;
    double spans = fleet_spans(fleet, kept, op->spans);
    double errors = fleet_poisson(fleet, kept * (trouble ? op->errors_in_trouble : op->errors));
    load->roots += kept, load->traces += kept * weight, load->spans += spans, load->bytes += spans * 400;
    load->errors += fmin(errors, kept) * weight;
    double mean = trouble && op->seconds_in_trouble > 0 ? op->seconds_in_trouble : op->seconds;
    load->seconds += kept * weight * mean * fmax(0.1, 1 + (kept > 0 ? fleet_normal(fleet) / sqrt(kept) : 0));
    if (op->kept >= 0) load->decided += kept, load->kept += fmin(kept, fleet_poisson(fleet, kept * op->kept));
    op->kept_traces[(uint32_t)t / 10] += kept;
    fleet->seconds[fleet->now_s].spans += spans;
}

static inline void fleet_add(struct weir_control_load *to, const struct weir_control_load *from) {
    to->roots += from->roots, to->traces += from->traces, to->spans += from->spans, to->bytes += from->bytes;
    to->errors += from->errors, to->seconds += from->seconds, to->kept += from->kept, to->decided += from->decided;
}

/* What a sender holds leaves at once. */
static inline void fleet_flush(struct fleet *fleet, struct fleet_sender *sender, double t,
                               struct weir_control_load *loads) {
    if (sender->held == NULL || t < sender->flushed_s) return;
    sender->flushed_s = t + sender->flush_s;
    for (uint32_t i = 0; i < fleet->operation_count; i++) {
        fleet_add(&loads[i], &sender->held[i]);
        sender->held[i] = (struct weir_control_load){0};
    }
}

static inline void fleet_flood(struct fleet *fleet, struct weir_control_load *loads, uint32_t *count) {
    for (uint32_t i = 0; i < fleet->flood; i++) {
        char name[32];
        snprintf(name, sizeof name, "GET /%u/%u", fleet->now_s, i);
        double rate = fleet->heard[0] == NULL ? 0.01 : weir_plan_find(fleet->heard[0], fleet->flood_service)->rate.rate;
        if (fleet_uniform(fleet) > rate) continue;
        loads[*count] = rig_load(fleet->flood_service, rig_name(&fleet->rig, name), 1 / rate, 4, rate);
        fleet->seconds[fleet->now_s].spans += loads[(*count)++].spans;
    }
}

/* What is begun in this second, and what the second before `lag` ones began is told. */
static inline void fleet_second(struct fleet *fleet) {
    uint32_t slot = fleet->now_s % (fleet->lag_s + 1);
    struct weir_control_load *loads = fleet->under_way[slot];
    struct fleet_second *second = &fleet->seconds[fleet->now_s];
    double offered[64] = {0};
    for (uint32_t i = 0; i < fleet->operation_count; i++) {
        const struct fleet_operation *op = &fleet->operations[i];
        loads[i] = (struct weir_control_load){.service = op->service, .operation = op->operation};
    }
    uint32_t count = fleet->operation_count;
    for (uint32_t tick = 0; tick < FLEET_TICKS; tick++) {
        double t = fleet->now_s + tick / (double)FLEET_TICKS;
        fleet_hear(fleet, t);
        for (uint32_t i = 0; i < fleet->operation_count; i++) {
            struct fleet_operation *op = &fleet->operations[i];
            op->now = fleet_load_at(&op->load, t) * fmax(0, 1 + op->burst * fleet_normal(fleet));
            second->spans_at_all += op->now * op->spans / FLEET_TICKS;
            for (uint32_t k = 0; k < fleet->service_count; k++)
                offered[k] += fleet->services[k].service == op->service ? op->now / FLEET_TICKS : 0;
            for (uint32_t k = 0; k < fleet->sender_count; k++) {
                struct fleet_sender *sender = &fleet->senders[k];
                if (sender->service != op->service) continue;
                if (sender->flush_s > 0 && sender->held == NULL)
                    sender->held = calloc(FLEET_OPERATIONS, sizeof *sender->held);
                fleet_send(fleet, sender, op, t, sender->held != NULL ? &sender->held[i] : &loads[i]);
            }
        }
        for (uint32_t k = 0; k < fleet->sender_count; k++)
            fleet_flush(fleet, &fleet->senders[k], t, loads);
    }
    fleet_flood(fleet, loads, &count);
    fleet->under_way_count[slot] = count;
    for (uint32_t k = 0; k < fleet->service_count && fleet->counted; k++) {
        fleet->uncounted[k] += fleet_poisson(fleet, offered[k]);
        bool moves = fleet->counted_every_s == 0 || fmod(fleet->now_s, fleet->counted_every_s) == 0;
        fleet->services[k].exact = moves ? fleet->uncounted[k] : 0;
        if (moves) fleet->uncounted[k] = 0;
    }
}

static inline void fleet_other_way(struct fleet *fleet, const struct weir_control_load *loads, uint32_t count) {
    if (fleet->way_rate == 0) fleet->way_rate = 0.01;
    for (uint32_t i = 0; i < count; i++)
        fleet->way_measured += loads[i].spans;
    if (fmod(fleet->now_s + 1, fleet->way_every_s) == 0) {
        double ratio = fleet->way_budget / fmax(fleet->way_measured / fleet->way_every_s, 1);
        fleet->way_measured = 0;
        if (fleet->way == FLEET_RATIO) {
            fleet->way_rate *= fmin(ratio, 1.5);
        } else {
            fleet->way_integral += 0.2 * log(ratio);
            fleet->way_rate = 0.01 * exp(0.4 * log(ratio) + fleet->way_integral);
        }
        fleet->way_rate = fmin(fleet->way_rate, 1);
    }
    struct weir_plan_service all = {.rate.rate = fleet->way_rate, .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(fleet->rig.names, 1, &all, NULL, 0);
    assert_non_null(plan);
    fleet->rig.changes += fleet->rig.plan == NULL || fleet->rig.plan->version != plan->version;
    weir_plan_unref(fleet->rig.plan);
    fleet->rig.plan = plan;
}

static inline void fleet_step(struct fleet *fleet) {
    fleet_second(fleet);
    uint32_t due = (fleet->now_s + 1) % (fleet->lag_s + 1);
    bool come = fleet->now_s >= fleet->lag_s;
    uint32_t changes = fleet->rig.changes;
    weir_plan_unref(fleet->heard[0]);
    fleet->heard[0] = fleet->heard[1];
    struct weir_control_input input = {.seconds = 1,
                                       .loads = fleet->under_way[due],
                                       .load_count = come ? fleet->under_way_count[due] : 0,
                                       .services = fleet->services,
                                       .service_count = fleet->service_count,
                                       .share = fleet->share};
    if (fleet->way == FLEET_OURS)
        rig_step_input(&fleet->rig, &input);
    else
        fleet_other_way(fleet, input.loads, input.load_count);
    fleet->heard[1] = weir_plan_ref(fleet->rig.plan);
    struct fleet_second *second = &fleet->seconds[fleet->now_s];
    second->changes = fleet->rig.changes - changes;
    const struct fleet_operation *one = &fleet->operations[fleet->watched],
                                 *two = &fleet->operations[fleet->watched_too];
    second->told = rig_rate(&fleet->rig, one->service, one->operation);
    second->second = rig_rate(&fleet->rig, two->service, two->operation);
    fleet->now_s++;
}
static inline void fleet_run(struct fleet *fleet, uint32_t until_s) {
    assert_true(until_s <= FLEET_SECONDS);
    while (fleet->now_s < until_s)
        fleet_step(fleet);
}

/* ---- what came of it ---- */

static inline double fleet_mean(const struct fleet *fleet, uint32_t from, uint32_t until) {
    double sum = 0;
    for (uint32_t i = from; i < until; i++)
        sum += fleet->seconds[i].spans;
    return sum / (until - from);
}
/* The most of any 30 seconds, a second. */
static inline double fleet_worst(const struct fleet *fleet, uint32_t from, uint32_t until) {
    double worst = 0;
    for (uint32_t i = from; i + 30 <= until; i++)
        worst = fmax(worst, fleet_mean(fleet, i, i + 30));
    return worst;
}
static inline uint32_t fleet_changes(const struct fleet *fleet, uint32_t from, uint32_t until) {
    uint32_t sum = 0;
    for (uint32_t i = from; i < until; i++)
        sum += fleet->seconds[i].changes;
    return sum;
}
/* How often the rate that is watched turned round, by more than a fiftieth. */
static inline uint32_t fleet_turns(const struct fleet *fleet, uint32_t from, uint32_t until) {
    uint32_t turns = 0;
    double last = fleet->seconds[from].told, way = 0;
    for (uint32_t i = from; i < until; i++) {
        double now = fleet->seconds[i].told;
        if (fabs(now - last) < 0.02 * last) continue;
        turns += way != 0 && (now > last) != (way > 0);
        way = now > last ? 1 : -1;
        last = now;
    }
    return turns;
}
static inline double fleet_spread(const struct fleet *fleet, uint32_t from, uint32_t until) { /* of the watched rate */
    double sum = 0, squares = 0, count = until - from;
    for (uint32_t i = from; i < until; i++) {
        sum += fleet->seconds[i].told;
        squares += fleet->seconds[i].told * fleet->seconds[i].told;
    }
    double mean = sum / count;
    return sqrt(fmax(squares / count - mean * mean, 0)) / mean;
}
static inline double fleet_kept(const struct fleet_operation *op, uint32_t from, uint32_t until) { /* tens of seconds */
    double sum = 0;
    for (uint32_t i = from / 10; i < until / 10; i++)
        sum += op->kept_traces[i];
    return sum / (until - from);
}
static inline void fleet_csv(const struct fleet *fleet, double budget) {
    printf("second,offered,spans,budget,rate,rate_other,changed\n");
    for (uint32_t i = 0; i < fleet->now_s; i++) {
        const struct fleet_second *second = &fleet->seconds[i];
        printf("%u,%.0f,%.0f,%.0f,%.6f,%.6f,%u\n", i, second->spans_at_all, second->spans, budget, second->told,
               second->second, second->changes);
    }
}
#endif
