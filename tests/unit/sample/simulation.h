/* simulation.h - a mesh with known truth in front of the real modules: what is estimated from what arrives and from
 * what is kept is held against what happened, run after run.
 *
 *   arrivals ─> traces ─> truth
 *                 └─> head sampler (independent of R: prior; or by R: T_in) ─> spans, out of order and late
 *                       ├─> aggregate `arrived`           estimate and variance counter of each series
 *                       └─> facts ─> rules, rates, limits, dynamic rates (decide.h) ─> kept: T' and its weight
 *                             ├─> aggregate `stored`      the same, for one who reads what was stored
 *                             └─> sums of whole traces    traces, error traces, seconds
 *
 * A figure is unbiased when the mean error of all runs is within 4 of its standard errors, and its band is true when
 * estimate +- 1.96 sqrt(variance) holds the truth in 93 to 97 % of the runs. Seeds are fixed. */
#ifndef WEIR_TESTS_SAMPLE_SIMULATION_H
#define WEIR_TESTS_SAMPLE_SIMULATION_H
#include "collector/core/clock.h"
#include "collector/emit/random.h"
#include "collector/sample/decide.h"
#include "collector/sample/policy.h"
#include "tests/unit/aggregate/house.h"

#include <math.h>

#define SIM_R_MASK (WEIR_THRESHOLD_MAX - 1)
enum { SIM_SERVICES = 3, SIM_TRACES_MAX = 20000, SIM_SPANS_MAX = 200000, SIM_LANES_MAX = 4, SIM_MS_MAX = 200000 };

/* Sanitizers make it five times slower, and look for something else. WEIR_SIMULATION_RUNS sets it by hand. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SIM_RUNS = 200 };
#else
enum { SIM_RUNS = 2000 };
#endif
static inline uint32_t sim_runs(void) {
    const char *said = getenv("WEIR_SIMULATION_RUNS");
    return said != NULL && atoi(said) > 1 ? (uint32_t)atoi(said) : SIM_RUNS;
}

enum sim_head { SIM_HEAD_NONE, SIM_HEAD_INDEPENDENT, SIM_HEAD_CONSISTENT, SIM_HEAD_MIXED /* by service, also both */ };
struct sim_config {
    const char *name, *rules; /* the entries of keep.rules */
    enum sim_head head;
    double independent_rate, consistent_rate; /* of the head sampler */
    bool bursty;                              /* else Poisson */
    double traces_per_second;
    uint32_t seconds;
    uint32_t spans; /* a trace; 0 = mixed: 1 to 30, half of the traces 4 or less */
    uint32_t lanes;
    bool rv;          /* R is said, and not the end of the id */
    bool one_service; /* all spans of a trace in one series */
};

/* ---- figures ---- */

enum sim_figure_id {
    SIM_STORED_TRACES,
    SIM_STORED_ERRORS,
    SIM_STORED_SECONDS,
    SIM_STORED_SPANS, /* of service 0, 1, 2: the series of the aggregate `stored` */
    SIM_ARRIVED_SPANS = SIM_STORED_SPANS + SIM_SERVICES,
    SIM_FIGURES = SIM_ARRIVED_SPANS + SIM_SERVICES
};
static const char *const sim_figure_names[SIM_FIGURES] = {
    "traces, of what is kept",    "error traces, of what is kept", "seconds, of what is kept",
    "web spans, of what is kept", "cart spans, of what is kept",   "pay spans, of what is kept",
    "web spans, of what arrived", "cart spans, of what arrived",   "pay spans, of what arrived"};
static const char *const sim_services[SIM_SERVICES] = {"web", "cart", "pay"};

struct sim_figure {
    double truth, errors, squares; /* sums over the runs */
    uint32_t runs, covered, exact; /* exact: no error, and no variance */
};
static inline void sim_figure_add(struct sim_figure *figure, double truth, double estimate, double variance) {
    double error = estimate - truth;
    bool same = fabs(error) <= 1e-9 * truth;
    figure->runs++;
    figure->truth += truth;
    figure->errors += error;
    figure->squares += error * error;
    figure->exact += same && variance == 0;
    figure->covered += same || fabs(error) <= 1.959964 * sqrt(variance);
}
static inline double sim_figure_bias(const struct sim_figure *figure) { /* in standard errors of the mean error */
    double mean = figure->errors / figure->runs, spread = figure->squares / figure->runs - mean * mean;
    return spread > 0 ? mean / sqrt(spread / figure->runs) : mean == 0 ? 0 : INFINITY;
}
static inline double sim_figure_coverage(const struct sim_figure *figure) {
    return (double)figure->covered / figure->runs;
}
static inline bool sim_figure_unbiased(const struct sim_figure *figure) {
    return figure->exact == figure->runs || fabs(sim_figure_bias(figure)) < 4;
}
/* 93 to 97 %; with fewer than 2,000 runs as much more as chance has it (4.1 standard errors, as of 2,000). */
static inline bool sim_figure_true_band(const struct sim_figure *figure) {
    double room = 0.02 * sqrt(2000.0 / (figure->runs < 2000 ? figure->runs : 2000));
    return figure->exact == figure->runs || fabs(sim_figure_coverage(figure) - 0.95) <= room;
}
static inline bool sim_figure_print(const char *name, const struct sim_figure *figure) {
    bool good = sim_figure_unbiased(figure) && sim_figure_true_band(figure);
    if (figure->exact == figure->runs)
        print_message("  %-30s %12.1f  exact\n", name, figure->truth / figure->runs);
    else
        print_message("  %-30s %12.1f  error %+8.3f %% = %+5.2f se   sd %6.2f %%   band holds %5.2f %%%s\n", name,
                      figure->truth / figure->runs, 100 * figure->errors / figure->truth, sim_figure_bias(figure),
                      100 * sqrt(figure->squares / figure->runs) * figure->runs / figure->truth,
                      100 * sim_figure_coverage(figure), good ? "" : "  <--");
    return good;
}

/* ---- the mesh ---- */

struct sim_trace {
    struct weir_trace facts;
    struct weir_verdict verdict;
    uint64_t hi, lo, randomness, threshold; /* T_in */
    double prior, seconds;
    uint32_t first_span, span_count, lane;
    bool error, settled;
};
struct sim_event { /* a span arrives; or, span == NONE, its trace is decided */
    uint32_t ms, trace, span;
};
enum { SIM_DECIDE = 0xffffffff };

struct sim {
    const struct sim_config *config;
    struct weir_emit_random random;
    struct house *arrived, *stored;
    struct weir_policy *policy;
    struct weir_decider *deciders[SIM_LANES_MAX];
    struct weir_batch *batch; /* of one span */
    uint32_t service_ids[SIM_SERVICES], operation_id;
    uint64_t start_ns; /* of this run */
    uint32_t trace_count, span_count, event_count;
    struct sim_trace traces[SIM_TRACES_MAX];
    struct weir_span spans[SIM_SPANS_MAX];
    struct sim_event events[SIM_SPANS_MAX + SIM_TRACES_MAX], sorted[SIM_SPANS_MAX + SIM_TRACES_MAX];
    uint32_t starts[SIM_MS_MAX + 1];
    double truth_traces, truth_errors, truth_seconds, truth_spans[SIM_SERVICES];
    double before[2][SIM_SERVICES][2]; /* arrived, stored: calls and variance before this run */
    struct sim_figure figures[SIM_FIGURES];
    /* The traps: what must not pass. */
    struct sim_figure kth;      /* traces, by the smallest R kept as threshold */
    struct sim_figure per_span; /* spans of web, stored: variance by span, without (2j - 1) */
    uint64_t arrived_count, kept_count, late_count;
    /* Another way for the spans than sim_play(): it fills `verdict` and `settled` of the traces, and `stored`. */
    void (*other_way)(struct sim *sim);
    void *other;
};

static inline double sim_uniform(struct sim *sim) { /* (0, 1] */
    return (double)((weir_emit_next(&sim->random) >> 11) + 1) * 0x1p-53;
}
static inline double sim_exponential(struct sim *sim, double mean) {
    return -mean * log(sim_uniform(sim));
}
static inline double sim_normal(struct sim *sim) { /* Box and Muller */
    double radius = sqrt(-2 * log(sim_uniform(sim)));
    return radius * cos(2 * M_PI * sim_uniform(sim));
}

static inline void sim_resolved(void *self, uint32_t handle, const struct weir_verdict *verdict) {
    struct sim *sim = self;
    assert_true(handle < sim->trace_count && !sim->traces[handle].settled);
    sim->traces[handle].settled = true;
    sim->traces[handle].verdict = *verdict;
}

static inline struct sim *sim_open(const struct sim_config *config) {
    struct sim *sim = calloc(1, sizeof *sim);
    assert_non_null(sim);
    sim->config = config;
    sim->random = weir_emit_random_of(0x5eed + strlen(config->rules) * 1000 + strlen(config->name));
    struct weir_aggregate_config aggregate = house_config();
    aggregate.service_graph = false;
    sim->arrived = house_open(&aggregate, config->lanes);
    sim->stored = house_open(&aggregate, 1);
    struct weir_error err = {0};
    char text[2000];
    snprintf(text, sizeof text, "keep:\n  rules:\n%s", config->rules);
    /* Both houses know the names under the same ids: they are interned in the same order. */
    if (weir_policy_parse(config->name, (const uint8_t *)text, strlen(text), sim->arrived->names, &sim->policy, &err) !=
        WEIR_OK)
        fail_msg("%s", err.text);
    struct weir_policy *same = NULL;
    assert_int_equal(
        weir_policy_parse(config->name, (const uint8_t *)text, strlen(text), sim->stored->names, &same, &err), WEIR_OK);
    weir_policy_unref(same);
    for (uint32_t s = 0; s < SIM_SERVICES; s++) {
        sim->service_ids[s] = house_name(sim->arrived, sim_services[s]);
        assert_int_equal(house_name(sim->stored, sim_services[s]), sim->service_ids[s]);
    }
    sim->operation_id = house_name(sim->arrived, "GET /");
    assert_int_equal(house_name(sim->stored, "GET /"), sim->operation_id);
    sim->batch = weir_batch_new(NULL, 64);
    struct weir_span span = {.prior = 1};
    assert_int_equal(weir_batch_add(sim->batch, &span), WEIR_OK);
    sim->start_ns = 1000 * WEIR_S;
    for (uint32_t lane = 0; lane < config->lanes; lane++) {
        struct weir_decider_env env = {.keep = weir_policy_keep_part(sim->policy),
                                       .lane = lane,
                                       .lanes = config->lanes,
                                       .resolved = sim_resolved,
                                       .self = sim};
        sim->deciders[lane] = weir_decider_new(&env, sim->start_ns);
        assert_non_null(sim->deciders[lane]);
    }
    return sim;
}

static inline void sim_close(struct sim *sim) {
    for (uint32_t lane = 0; lane < sim->config->lanes; lane++)
        weir_decider_free(sim->deciders[lane]);
    weir_batch_unref(sim->batch);
    weir_policy_unref(sim->policy);
    house_close(sim->arrived);
    house_close(sim->stored);
    free(sim);
}

static inline uint32_t sim_pick_service(struct sim *sim) {
    uint32_t roll = weir_emit_below(&sim->random, 10);
    return roll < 5 ? 0 : roll < 8 ? 1 : 2;
}
static inline uint32_t sim_pick_spans(struct sim *sim) {
    if (sim->config->spans > 0) return sim->config->spans;
    return 1 + weir_emit_below(&sim->random, weir_emit_below(&sim->random, 2) == 0 ? 4 : 30);
}
static inline void sim_event(struct sim *sim, double ms, uint32_t trace, uint32_t span) {
    assert_true(ms < SIM_MS_MAX);
    sim->events[sim->event_count++] = (struct sim_event){(uint32_t)ms, trace, span};
}

/* One trace that begins at `start_ms`: truth first, then the head sampler, then its spans. Durations are lognormal:
 * half are under 50 ms, one in 80 over 750 ms. One span in 50 comes 3 s late. One trace in ten has a span that failed.
 */
static inline void sim_trace(struct sim *sim, double start_ms) {
    const struct sim_config *config = sim->config;
    uint32_t span_count = sim_pick_spans(sim), root_service = sim_pick_service(sim);
    double root_ms = 50 * exp(1.2 * sim_normal(sim));
    if (root_ms > 20000) root_ms = 20000;
    uint32_t failed = weir_emit_below(&sim->random, 10) == 0 ? weir_emit_below(&sim->random, span_count) : UINT32_MAX;
    struct sim_trace *trace = &sim->traces[sim->trace_count];
    *trace = (struct sim_trace){.lo = weir_emit_next(&sim->random), .prior = 1, .first_span = sim->span_count};
    trace->hi = (trace->lo & 1) != 0 ? 0 : weir_emit_next(&sim->random); /* half have ids of 64 bits */
    trace->randomness = (config->rv ? weir_emit_next(&sim->random) : trace->lo) & SIM_R_MASK;
    trace->lane = weir_trace_lane(trace->lo, config->lanes);
    trace->error = failed != UINT32_MAX;
    trace->seconds = root_ms / 1000;
    trace->span_count = span_count;

    bool by_roll = config->head == SIM_HEAD_INDEPENDENT || (config->head == SIM_HEAD_MIXED && root_service != 1);
    bool by_r = config->head == SIM_HEAD_CONSISTENT || (config->head == SIM_HEAD_MIXED && root_service != 0);
    bool passes = true;
    if (by_roll) {
        trace->prior = 1 / config->independent_rate;
        passes = sim_uniform(sim) <= config->independent_rate;
    }
    if (by_r) {
        trace->threshold = weir_threshold_of(config->consistent_rate);
        passes = passes && trace->randomness >= trace->threshold;
    }
    sim->truth_traces++;
    sim->truth_errors += trace->error;
    sim->truth_seconds += trace->seconds;
    double decided_ms = 0;
    for (uint32_t i = 0; i < span_count; i++) {
        uint32_t service = i == 0 || config->one_service || weir_emit_below(&sim->random, 2) == 0
                               ? root_service
                               : sim_pick_service(sim);
        if (i != failed) sim->truth_spans[service]++;
        if (!passes) continue;
        double begins = i == 0 ? 0 : root_ms * sim_uniform(sim), lasts = i == 0 ? root_ms : (root_ms - begins) / 2;
        double arrives = start_ms + begins + lasts + sim_exponential(sim, 20);
        if (i > 0 && weir_emit_below(&sim->random, 50) == 0)
            arrives += 3000;
        else if (arrives > decided_ms)
            decided_ms = arrives;
        assert_true(sim->span_count < SIM_SPANS_MAX);
        sim->spans[sim->span_count] =
            (struct weir_span){.trace_hi = trace->hi,
                               .trace_lo = trace->lo,
                               .span_id = (uint64_t)sim->trace_count << 32 | (i + 1),
                               .parent_id = i == 0 ? 0 : 1,
                               .start_ns = sim->start_ns + (uint64_t)((start_ms + begins) * 1e6),
                               .duration_ns = (uint64_t)(lasts * 1e6),
                               .threshold = trace->threshold,
                               .randomness = trace->randomness,
                               .prior = trace->prior,
                               .service = sim->service_ids[service],
                               .operation = sim->operation_id,
                               .flags = (uint16_t)((i == 0 ? WEIR_SPAN_ROOT : 0) | (config->rv ? WEIR_SPAN_RV : 0)),
                               .kind = WEIR_KIND_SERVER,
                               .status = i == failed ? WEIR_STATUS_ERROR : WEIR_STATUS_UNSET};
        sim_event(sim, arrives, sim->trace_count, sim->span_count++);
    }
    if (!passes) return;
    sim_event(sim, decided_ms + 1000, sim->trace_count, SIM_DECIDE); /* `quiet` */
    sim->trace_count++;
    assert_true(sim->trace_count < SIM_TRACES_MAX);
}

/* Poisson; or bursts of half a second on average at ten times the rate between them, one second. */
static inline void sim_arrivals(struct sim *sim) {
    const struct sim_config *config = sim->config;
    double end_ms = config->seconds * 1000.0, rate = config->traces_per_second / 1000;
    if (!config->bursty) {
        for (double at = sim_exponential(sim, 1 / rate); at < end_ms; at += sim_exponential(sim, 1 / rate))
            sim_trace(sim, at);
        return;
    }
    bool burst = false;
    for (double at = 0; at < end_ms; burst = !burst) {
        double until = at + sim_exponential(sim, burst ? 500 : 1000), now = burst ? 2.5 * rate : rate / 4;
        if (until > end_ms) until = end_ms;
        for (at += sim_exponential(sim, 1 / now); at < until; at += sim_exponential(sim, 1 / now))
            sim_trace(sim, at);
        at = until;
    }
}

static inline void sim_sort(struct sim *sim) { /* by counting: times are whole milliseconds */
    memset(sim->starts, 0, sizeof sim->starts);
    for (uint32_t i = 0; i < sim->event_count; i++)
        sim->starts[sim->events[i].ms + 1]++;
    for (uint32_t ms = 0; ms < SIM_MS_MAX; ms++)
        sim->starts[ms + 1] += sim->starts[ms];
    for (uint32_t i = 0; i < sim->event_count; i++)
        sim->sorted[sim->starts[sim->events[i].ms]++] = sim->events[i];
}

static inline void sim_play(struct sim *sim) {
    const struct weir_keep *keep = weir_policy_keep_part(sim->policy);
    uint64_t ticked_ns = sim->start_ns, now_ns = sim->start_ns;
    for (uint32_t i = 0; i < sim->event_count; i++) {
        const struct sim_event *event = &sim->sorted[i];
        struct sim_trace *trace = &sim->traces[event->trace];
        now_ns = sim->start_ns + event->ms * WEIR_MS;
        while (now_ns - ticked_ns >= 100 * WEIR_MS) {
            ticked_ns += 100 * WEIR_MS;
            for (uint32_t lane = 0; lane < sim->config->lanes; lane++)
                weir_decider_tick(sim->deciders[lane], ticked_ns);
        }
        if (event->span != SIM_DECIDE) {
            sim->arrived->now_ns = now_ns;
            house_span(sim->arrived, trace->lane, &sim->spans[event->span]);
            if (trace->verdict.rule_name != WEIR_NAME_NONE) {
                sim->late_count++; /* it follows its trace's verdict */
                continue;
            }
            sim->batch->spans[0] = sim->spans[event->span];
            weir_trace_add(&trace->facts, keep, NULL, sim->arrived->names, sim->batch, 0);
        } else {
            enum weir_decision decision =
                weir_decider_decide(sim->deciders[trace->lane], &trace->facts, event->trace, now_ns, &trace->verdict);
            trace->settled = decision != WEIR_DECISION_WAITS;
        }
    }
    sim->start_ns = now_ns + WEIR_S;
    for (uint32_t lane = 0; lane < sim->config->lanes; lane++)
        weir_decider_flush(sim->deciders[lane], now_ns);
}

/* ---- what is made of it ---- */

static inline double sim_weight(const struct sim_trace *trace, uint64_t threshold) {
    struct weir_span span = {.prior = trace->prior, .threshold = threshold};
    if (trace->threshold > threshold) span.threshold = trace->threshold;
    return weir_span_weight(&span);
}

static inline void sim_read(struct sim *sim, uint32_t which, double out[SIM_SERVICES][2]) {
    const char *page = house_page(which == 0 ? sim->arrived : sim->stored);
    for (uint32_t s = 0; s < SIM_SERVICES; s++) {
        static const char *const names[2] = {"traces_spanmetrics_calls_total", "weir_spanmetrics_calls_variance_total"};
        for (uint32_t i = 0; i < 2; i++) {
            char series[200];
            snprintf(series, sizeof series,
                     "%s{service=\"%s\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"GET /\",status_code="
                     "\"STATUS_CODE_UNSET\"}",
                     names[i], sim_services[s]);
            double value = house_value_on(page, series), before = sim->before[which][s][i];
            if (value != value) value = 0; /* nothing yet */
            out[s][i] = value - before;
            sim->before[which][s][i] = value;
        }
    }
}

/* The trap: of all that one window kept (they have the same T'), the smallest R as threshold. */
static inline int sim_by_threshold(const void *a, const void *b) {
    const struct sim_trace *x = *(const struct sim_trace *const *)a, *y = *(const struct sim_trace *const *)b;
    if (x->verdict.threshold != y->verdict.threshold) return x->verdict.threshold < y->verdict.threshold ? -1 : 1;
    return x->randomness < y->randomness ? -1 : x->randomness > y->randomness;
}
static inline void sim_trap(struct sim *sim) {
    static const struct sim_trace *kept[SIM_TRACES_MAX];
    uint32_t count = 0;
    double estimate = 0, variance = 0;
    for (uint32_t t = 0; t < sim->trace_count; t++) {
        if (sim->traces[t].verdict.kept) kept[count++] = &sim->traces[t];
    }
    qsort(kept, count, sizeof *kept, sim_by_threshold);
    for (uint32_t i = 0, first = 0; i < count; i++) {
        if (kept[i]->verdict.threshold != kept[first]->verdict.threshold) first = i;
        bool limited = kept[i]->verdict.threshold > 0;
        double weight = sim_weight(kept[i], limited ? kept[first]->randomness : 0);
        estimate += weight;
        variance += weight * (weight - 1);
    }
    sim_figure_add(&sim->kth, sim->truth_traces, estimate, variance);
}

static inline void sim_settle(struct sim *sim) {
    double estimates[3] = {0}, variances[3] = {0}, per_span = 0;
    for (uint32_t t = 0; t < sim->trace_count; t++) {
        const struct sim_trace *trace = &sim->traces[t];
        assert_true(trace->settled);
        if (!trace->verdict.kept) continue;
        assert_true(trace->randomness >= trace->verdict.threshold);
        sim->kept_count++;
        double weight = sim_weight(trace, trace->verdict.threshold), pair = weight * (weight - 1);
        const double totals[3] = {1, trace->error, trace->seconds};
        for (uint32_t i = 0; i < 3; i++) {
            estimates[i] += weight * totals[i];
            variances[i] += pair * totals[i] * totals[i];
        }
        for (uint32_t i = 0; sim->other_way == NULL && i < trace->span_count; i++) {
            struct weir_span span = sim->spans[trace->first_span + i];
            weir_threshold_raise(&span, trace->verdict.threshold);
            sim->stored->now_ns = sim->start_ns;
            house_span(sim->stored, 0, &span);
            if (span.service == sim->service_ids[0] && span.status != WEIR_STATUS_ERROR) per_span += pair;
        }
    }
    sim->arrived_count += sim->trace_count;
    double series[SIM_SERVICES][2];
    const double truths[3] = {sim->truth_traces, sim->truth_errors, sim->truth_seconds};
    for (uint32_t i = 0; i < 3; i++)
        sim_figure_add(&sim->figures[i], truths[i], estimates[i], variances[i]);
    sim_trap(sim);
    sim_read(sim, 0, series);
    for (uint32_t s = 0; s < SIM_SERVICES; s++)
        sim_figure_add(&sim->figures[SIM_ARRIVED_SPANS + s], sim->truth_spans[s], series[s][0], series[s][1]);
    sim_read(sim, 1, series);
    for (uint32_t s = 0; s < SIM_SERVICES; s++)
        sim_figure_add(&sim->figures[SIM_STORED_SPANS + s], sim->truth_spans[s], series[s][0], series[s][1]);
    sim_figure_add(&sim->per_span, sim->truth_spans[0], series[0][0], per_span);
}

static inline void sim_run_all(struct sim *sim) {
    uint32_t runs = sim_runs();
    for (uint32_t run = 0; run < runs; run++) {
        sim->trace_count = sim->span_count = sim->event_count = 0;
        sim->truth_traces = sim->truth_errors = sim->truth_seconds = 0;
        memset(sim->truth_spans, 0, sizeof sim->truth_spans);
        sim_arrivals(sim);
        sim_sort(sim);
        if (sim->other_way != NULL)
            sim->other_way(sim);
        else
            sim_play(sim);
        sim_settle(sim);
    }
}
static inline struct sim *sim_run(const struct sim_config *config) {
    struct sim *sim = sim_open(config);
    sim_run_all(sim);
    return sim;
}

/* Prints the figures; how many are not as they should be. */
static inline uint32_t sim_judge(const struct sim *sim) {
    uint32_t runs = sim->figures[0].runs, bad = 0;
    print_message("%s: %u runs of %u s; %.0f traces arrive, %.0f are kept, %.0f spans are late\n", sim->config->name,
                  runs, sim->config->seconds, (double)sim->arrived_count / runs, (double)sim->kept_count / runs,
                  (double)sim->late_count / runs);
    for (uint32_t i = 0; i < SIM_FIGURES; i++)
        bad += !sim_figure_print(sim_figure_names[i], &sim->figures[i]);
    return bad;
}
static inline void sim_check(const struct sim_config *config) {
    struct sim *sim = sim_run(config);
    uint32_t bad = sim_judge(sim);
    sim_close(sim);
    if (bad > 0) fail_msg("%s: %u figures are biased or have a false band", config->name, bad);
}
#endif
