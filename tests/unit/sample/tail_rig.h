/* tail_rig.h - a tail buffer whose every span is accounted for: spans come as bytes through the real walk, and what
 * became of each trace stands in rig.traces. Time is the test's. */
#ifndef TESTS_UNIT_SAMPLE_TAIL_RIG_H
#define TESTS_UNIT_SAMPLE_TAIL_RIG_H
#include "collector/core/clock.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/sample/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RIG_TRACES = 1 << 18, RIG_SPANS_KEPT = 64, RIG_BLOCKS = 1 << 16 };

/* One span that comes. Trace n of the test has the ids below, so that its R is known. */
struct said {
    uint32_t trace, span; /* span: its number; its id is made of both */
    uint32_t parent;      /* number of its parent; 0 = it is the root */
    uint64_t high;        /* half of the trace's id; 0: its own */
    bool error, forced, short_id;
    const char *operation; /* NULL: "GET /items" */
    const char *renamed;   /* the view says this operation: a rule's work */
    const char *service;   /* NULL: "shop" */
    uint32_t ms;           /* 0: 10 */
    uint32_t pad;          /* bytes of one more attribute */
    uint64_t threshold;    /* it came thinned, or was thinned here */
    double prior;
};

struct fate {
    uint32_t given, kept, dropped, late_kept, late_dropped, lost, times; /* times: decided */
    uint32_t mark_id, rule_name;
    enum weir_cause cause;
    uint64_t threshold;
    uint64_t span_ids[RIG_SPANS_KEPT], least_threshold;
};

static struct rig {
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_otlp *otlp;
    struct weir_tail *tail;
    struct weir_policy *policy, *shadow;
    uint64_t now_ns;
    struct fate *fates;
    uint64_t kept_spans, dropped_spans, lost_spans, late_kept, late_dropped, given;
    uint32_t decided_traces;
    bool inside; /* it is the tail that asks for memory */
    bool watched;
    uint32_t watched_spans;
    /* the journal */
    bool journalled;
    bool seals; /* as a lane does when a batch is full, which may be at any time */
    uint32_t betweens;
    struct weir_tail_journal journal;
    struct rig_block {
        uint8_t *bytes;
        size_t size;
        uint32_t spans;
        bool released;
    } * blocks;
    uint32_t block_count, released_count, journal_decided;
    /* compared with what came back */
    void (*each_kept)(struct weir_batch *spans, uint32_t i);
} rig;

static uint64_t rig_hi(uint32_t trace) {
    return 0x1000000000000000ull + trace;
}
static uint64_t rig_mixed(uint64_t x) { /* splitmix64 */
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}
static uint64_t rig_lo(uint32_t trace) { /* the low 24 bits name the trace, also without the high half */
    return (rig_mixed(trace) & ~0xffffffull) | trace;
}
static inline uint64_t rig_randomness(uint32_t trace) {
    return rig_lo(trace) & (WEIR_THRESHOLD_MAX - 1);
}
static struct fate *rig_fate(uint64_t trace_lo) {
    assert_true((trace_lo & 0xffffff) < RIG_TRACES);
    return &rig.fates[trace_lo & 0xffffff];
}

static void rig_kept(void *self, struct weir_batch *spans, uint32_t mark, const struct weir_trace *trace,
                     const struct weir_verdict *verdict, enum weir_cause cause) {
    struct fate *fate = rig_fate(trace->trace_lo);
    assert_ptr_equal(self, &rig);
    assert_true(verdict->kept);
    assert_true(mark < spans->span_count);
    assert_int_equal(spans->span_count, trace->span_count);
    for (uint32_t i = 0; i < spans->span_count; i++) {
        const struct weir_span *span = &spans->spans[i];
        assert_int_equal(span->trace_lo, trace->trace_lo);
        assert_true(span->threshold >= verdict->threshold || (span->flags & WEIR_SPAN_FORCED) != 0);
        if (fate->kept + i < RIG_SPANS_KEPT) fate->span_ids[fate->kept + i] = span->span_id;
        if (rig.each_kept != NULL) rig.each_kept(spans, i);
    }
    fate->kept += spans->span_count;
    fate->times++;
    fate->mark_id = (uint32_t)spans->spans[mark].span_id;
    fate->rule_name = verdict->rule_name;
    fate->threshold = verdict->threshold;
    fate->cause = cause;
    rig.kept_spans += spans->span_count;
    rig.decided_traces++;
    if (rig.seals) assert_false(weir_tail_seal(rig.tail)); /* not within its own call */
}

static void rig_dropped(void *self, struct weir_batch *spans, const struct weir_trace *trace,
                        const struct weir_verdict *verdict, enum weir_cause cause) {
    struct fate *fate = rig_fate(trace->trace_lo);
    assert_ptr_equal(self, &rig);
    assert_false(verdict->kept);
    assert_true((spans != NULL) == rig.watched);
    if (spans != NULL) {
        assert_int_equal(spans->span_count, trace->span_count);
        rig.watched_spans += spans->span_count;
    }
    fate->dropped += trace->span_count;
    fate->times++;
    fate->rule_name = verdict->rule_name;
    fate->threshold = verdict->threshold;
    fate->cause = cause;
    rig.dropped_spans += trace->span_count;
    rig.decided_traces++;
}

static void rig_lost(void *self, const struct weir_trace *trace) {
    assert_ptr_equal(self, &rig);
    rig_fate(trace->trace_lo)->lost += trace->span_count;
    rig.lost_spans += trace->span_count;
}

static uint64_t rig_sealed(void *self, const uint8_t *bytes, size_t size, uint32_t span_count) {
    assert_ptr_equal(self, &rig);
    assert_true(rig.block_count < RIG_BLOCKS);
    struct rig_block *block = &rig.blocks[rig.block_count];
    block->bytes = malloc(size);
    memcpy(block->bytes, bytes, size);
    block->size = size;
    block->spans = span_count;
    return 1000 + rig.block_count++;
}
static void rig_release(void *self, uint64_t token) {
    assert_ptr_equal(self, &rig);
    assert_true(token >= 1000 && token < 1000 + rig.block_count);
    assert_false(rig.blocks[token - 1000].released);
    rig.blocks[token - 1000].released = true;
    rig.released_count++;
}
static void rig_decided(void *self, const struct weir_trace *trace, const struct weir_verdict *verdict) {
    (void)trace, (void)verdict;
    assert_ptr_equal(self, &rig);
    rig.journal_decided++;
}

static bool rig_between(void *self) {
    assert_ptr_equal(self, &rig);
    if (!rig.seals || rig.betweens++ % 3 != 0) return false;
    weir_tail_seal(rig.tail);
    return true;
}

static struct weir_policy *rig_policy(const char *keep) {
    struct weir_error err = {0};
    struct weir_policy *policy = NULL;
    char text[2048];
    snprintf(text, sizeof text, "keep: { %s }\n", keep);
    if (weir_policy_parse("sampling.yaml", (const uint8_t *)text, strlen(text), rig.names, &policy, &err) != WEIR_OK)
        fail_msg("%s\n%s", text, err.text);
    return policy;
}

/* What stands under `keep:`, and under that of a shadow (NULL: none). */
static void rig_build(const char *keep, const char *shadow) {
    bool journalled = rig.journalled;
    rig = (struct rig){.now_ns = 5000 * WEIR_S, .journalled = journalled};
    rig.names = weir_names_new(4096, 1 << 20);
    rig.metrics = weir_metrics_new();
    rig.otlp = weir_otlp_new(rig.names);
    rig.fates = calloc(RIG_TRACES, sizeof *rig.fates);
    rig.blocks = calloc(RIG_BLOCKS, sizeof *rig.blocks);
    assert_true(rig.names != NULL && rig.metrics != NULL && rig.otlp != NULL && rig.fates != NULL);
    rig.policy = rig_policy(keep);
    rig.shadow = shadow != NULL ? rig_policy(shadow) : NULL;
    rig.journal =
        (struct weir_tail_journal){.self = &rig, .sealed = rig_sealed, .release = rig_release, .decided = rig_decided};
    const struct weir_tail_env env = {.names = rig.names,
                                      .metrics = rig.metrics,
                                      .lanes = 1,
                                      .self = &rig,
                                      .kept = rig_kept,
                                      .dropped = rig_dropped,
                                      .lost = rig_lost,
                                      .between = rig_between,
                                      .journal = journalled ? &rig.journal : NULL};
    rig.tail = weir_tail_new(&env, rig.policy, rig.shadow, rig.now_ns);
    assert_non_null(rig.tail);
}

static inline void rig_reload(const char *keep) {
    struct weir_policy *policy = keep != NULL ? rig_policy(keep) : NULL, *old = rig.policy;
    if (keep == NULL) assert_int_equal(weir_policy_load(NULL, rig.names, &policy, NULL), WEIR_OK);
    weir_tail_reload(rig.tail, policy, NULL, rig.now_ns);
    rig.policy = policy;
    weir_policy_unref(old);
}

static size_t rig_attribute(uint8_t *out, uint32_t number, const char *key, const char *value, size_t value_size) {
    uint8_t *any = malloc(value_size + 32), *pair = malloc(value_size + 128), *at;
    size_t any_size = (size_t)(weir_wire_put_bytes(any, 1, value, value_size) - any);
    at = weir_wire_put_bytes(pair, 1, key, strlen(key));
    at = weir_wire_put_bytes(at, 2, any, any_size);
    size_t size = (size_t)(weir_wire_put_bytes(out, number, pair, (size_t)(at - pair)) - out);
    free(any);
    free(pair);
    return size;
}

/* A request of one span, walked. */
static struct weir_batch *rig_batch(const struct said *said) {
    size_t room = said->pad + 1024;
    uint8_t *span = malloc(room), *outer = malloc(room), *whole = malloc(room), *at = span;
    uint64_t high = said->high != 0 ? said->high : rig_hi(said->trace);
    uint64_t trace[2] = {said->short_id ? 0 : __builtin_bswap64(high), __builtin_bswap64(rig_lo(said->trace))};
    uint64_t id = __builtin_bswap64((uint64_t)said->trace << 24 | said->span);
    uint64_t parent = __builtin_bswap64((uint64_t)said->trace << 24 | said->parent), ms = said->ms ? said->ms : 10;
    at = weir_wire_put_bytes(at, 1, trace, 16);
    at = weir_wire_put_bytes(at, 2, &id, 8);
    if (said->parent != 0) at = weir_wire_put_bytes(at, 4, &parent, 8);
    const char *operation = said->operation != NULL ? said->operation : "GET /items";
    at = weir_wire_put_bytes(at, 5, operation, strlen(operation));
    at = weir_wire_put_uint(at, 6, WEIR_KIND_SERVER);
    at = weir_wire_put_fixed64(at, 7, 1700000000000000000ull + said->span * 1000);
    at = weir_wire_put_fixed64(at, 8, 1700000000000000000ull + said->span * 1000 + ms * WEIR_MS);
    at += rig_attribute(at, 9, "http.status_code", "200", 3);
    at += rig_attribute(at, 9, "peer.service", "bank", 4);
    if (said->pad > 0) {
        char *pad = malloc(said->pad);
        uint64_t random = said->trace * 64 + said->span;
        for (uint32_t i = 0; i < said->pad; i++)
            pad[i] = (char)('a' + (rig_mixed(random + i) & 15));
        at += rig_attribute(at, 9, "pad", pad, said->pad);
        free(pad);
    }
    uint8_t error[2] = {0x18, 2};
    if (said->error) at = weir_wire_put_bytes(at, 15, error, 2);
    size_t size = (size_t)(weir_wire_put_bytes(outer, 2, span, (size_t)(at - span)) - outer);
    const char *service = said->service != NULL ? said->service : "shop";
    uint8_t resource[256];
    at = weir_wire_put_bytes(whole, 1, resource, rig_attribute(resource, 1, "service.name", service, strlen(service)));
    at = weir_wire_put_bytes(at, 2, outer, size);
    struct weir_batch *batch = weir_batch_new(NULL, room);
    struct weir_otlp_counts counts;
    struct weir_error err;
    batch->size = (size_t)(weir_wire_put_bytes(batch->bytes, 1, whole, (size_t)(at - whole)) - batch->bytes);
    if (weir_otlp_decode(rig.otlp, batch, &counts, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(counts.spans, 1);
    struct weir_span *view = &batch->spans[0];
    view->receiver = 3;
    if (said->forced) view->flags |= WEIR_SPAN_FORCED;
    if (said->renamed != NULL) view->operation = weir_names_intern(rig.names, said->renamed, strlen(said->renamed));
    if (said->threshold != 0) {
        view->threshold = said->threshold;
        view->flags |= WEIR_SPAN_TH_CHANGED;
    }
    if (said->prior != 0) {
        view->prior = said->prior;
        view->flags |= WEIR_SPAN_PRIOR_CHANGED;
    }
    free(span);
    free(outer);
    free(whole);
    return batch;
}

static enum weir_tail_answer rig_take(const struct said *said, struct weir_verdict *verdict) {
    struct weir_batch *batch = rig_batch(said);
    struct weir_verdict mine;
    struct fate *fate = rig_fate(rig_lo(said->trace));
    rig.inside = true;
    enum weir_tail_answer answer = weir_tail_take(rig.tail, batch, 0, rig.now_ns, verdict != NULL ? verdict : &mine);
    rig.inside = false;
    fate->given++;
    rig.given++;
    if (answer == WEIR_TAIL_KEEP) {
        fate->late_kept++;
        rig.late_kept++;
        fate->least_threshold = batch->spans[0].threshold;
    } else if (answer == WEIR_TAIL_DROP) {
        fate->late_dropped++;
        rig.late_dropped++;
    }
    weir_batch_unref(batch);
    return answer;
}

static void rig_pass(uint64_t ms) {
    rig.now_ns += ms * WEIR_MS;
    rig.inside = true;
    weir_tail_tick(rig.tail, rig.now_ns);
    rig.inside = false;
}

/* Every span is in one place, and in one only. */
static void rig_balanced(void) {
    uint64_t out = rig.kept_spans + rig.dropped_spans + rig.lost_spans + rig.late_kept + rig.late_dropped;
    assert_int_equal(rig.given, out + weir_tail_held(rig.tail));
    if (weir_tail_held(rig.tail) > 0) return;
    for (uint32_t n = 0; n < RIG_TRACES; n++) {
        const struct fate *fate = &rig.fates[n];
        assert_int_equal(fate->given, fate->kept + fate->dropped + fate->lost + fate->late_kept + fate->late_dropped);
    }
}

static inline const char *rig_rule(uint32_t trace) {
    return weir_names_text(rig.names, rig_fate(rig_lo(trace))->rule_name, NULL);
}

static inline double rig_metric(const char *line) {
    struct weir_buffer page = {0};
    weir_metrics_expose(rig.metrics, &page);
    weir_buffer_byte(&page, 0);
    char whole[256];
    snprintf(whole, sizeof whole, "\n%s", line);
    const char *at = strstr((const char *)page.bytes, whole);
    if (at == NULL) fail_msg("no %s in\n%s", line, (const char *)page.bytes);
    double value = strtod(at + strlen(whole), NULL);
    weir_buffer_free(&page);
    return value;
}

/* What many of these tests ask for, and a span for it. */
#define RIG_RULES "rules: [ { name: errors, when: { error: true } }, { name: none_of_it, rate: 0 } ]"
#define RIG_KEEP  "wait: 10s, quiet: 1s, " RIG_RULES

static inline void rig_give(uint32_t trace, uint32_t span, uint32_t parent, bool error) {
    assert_int_equal(rig_take(&(struct said){.trace = trace, .span = span, .parent = parent, .error = error}, NULL),
                     WEIR_TAIL_HELD);
}

static void rig_close(void) {
    weir_tail_drain(rig.tail, rig.now_ns);
    assert_int_equal(weir_tail_held(rig.tail), 0);
    assert_int_equal(weir_tail_pending(rig.tail), 0);
    rig_balanced();
    weir_tail_free(rig.tail);
    if (rig.journalled) assert_int_equal(rig.released_count, rig.block_count);
    for (uint32_t i = 0; i < rig.block_count; i++)
        free(rig.blocks[i].bytes);
    weir_policy_unref(rig.policy);
    weir_policy_unref(rig.shadow);
    weir_otlp_free(rig.otlp);
    weir_metrics_free(rig.metrics);
    weir_names_free(rig.names);
    free(rig.fates);
    free(rig.blocks);
    rig = (struct rig){0};
}
#endif
