/* What waits, for what, how long, and as what it goes on. A case is a list of steps in a time that the test sets, and
 * what went on in which order: "id:start+end-of-time xWEIGHT flags". Whatever went on is read again by the walk that
 * all decoders share: the view must be what its bytes say. */
#include "collector/core/clock.h"
#include "collector/core/ledger.h"
#include "collector/decode/span_writer.h"
#include "collector/lane/join.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
enum { S = WEIR_KIND_SERVER, C = WEIR_KIND_CLIENT, NO_KIND = WEIR_KIND_UNSPECIFIED };
enum { WAITS = WEIR_JOIN_WAITS, GOES = WEIR_JOIN_GOES_ON, MERGED = WEIR_JOIN_MERGED };

#define SPAN(the_id, the_trace, from, until, the_kind)                                                                 \
    .id = (the_id), .trace = (the_trace), .start = (from), .end = (until), .kind = (the_kind)

/* Times in ms since a Unix time; 0 = not said. */
struct spec {
    uint64_t id, trace, start, end;
    uint8_t kind;
    uint8_t receiver;    /* 0 = scribe */
    double rate;         /* zipkin.sampling_rate; 0 = not said */
    const char *service; /* NULL = pay */
    const char *name;    /* NULL = GET */
    const char *tag;     /* key=value */
    const char *event;   /* name@time */
    bool debug;
    uint64_t trace_hi, parent;
    uint32_t filler; /* bytes of one more attribute */
};

static struct {
    struct weir_names *names;
    struct weir_otlp *otlp;
    struct weir_metrics *metrics;
    struct weir_join *join;
    struct weir_scribe_config config;
    uint64_t now_ns;
    char log[65536];
    struct weir_batch *gone; /* copies of what went on */
    unsigned held;
} rig;

static void note(struct weir_batch *batch, uint32_t i) {
    const struct weir_span *span = &batch->spans[i];
    uint64_t base = 1000000 * WEIR_MS;
    char one[128];
    int size = snprintf(one, sizeof one, "%s%llu:%llu", rig.log[0] != 0 ? " " : "", (unsigned long long)span->span_id,
                        (unsigned long long)(span->start_ns != 0 ? (span->start_ns - base) / WEIR_MS : 0));
    if (span->duration_ns > 0)
        size +=
            snprintf(one + size, sizeof one - (size_t)size, "+%llu", (unsigned long long)(span->duration_ns / WEIR_MS));
    if (span->prior != 1) size += snprintf(one + size, sizeof one - (size_t)size, "x%g", span->prior);
    if (span->flags & WEIR_SPAN_UNCOUNTED) snprintf(one + size, sizeof one - (size_t)size, "u");
    assert_true(strlen(rig.log) + strlen(one) < sizeof rig.log);
    strcat(rig.log, one);

    assert_int_equal(weir_batch_copy(rig.gone, batch, i), WEIR_OK);
    struct weir_span *copy = &rig.gone->spans[rig.gone->span_count - 1], again;
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    assert_int_equal(weir_otlp_span(rig.otlp, rig.gone, copy->offset, copy->size, &again, &counts, &err), WEIR_OK);
    const struct weir_origin *origin = rig.gone->origins[copy->origin];
    again.offset = copy->offset, again.size = copy->size, again.origin = copy->origin, again.receiver = copy->receiver;
    again.service = origin->service;
    unsigned ours = WEIR_SPAN_UNCOUNTED | WEIR_SPAN_PRIOR_CHANGED;
    if (copy->flags & WEIR_SPAN_PRIOR_CHANGED) again.prior = copy->prior;
    assert_int_equal(again.flags, copy->flags & ~ours);
    again.flags = copy->flags;
    assert_memory_equal(&again, copy, offsetof(struct weir_span, receiver)); /* what follows is padding */
}

static void went_on(void *self, struct weir_batch *batch, uint32_t i) {
    (void)self;
    assert_true(rig.held > 0);
    rig.held--;
    note(batch, i);
}

static void put_tag(struct weir_span_writer *writer, const char *tag) {
    const char *equals = strchr(tag, '=');
    weir_span_text(writer, tag, (size_t)(equals - tag), equals + 1, strlen(equals + 1));
}

static struct weir_batch *span_of(const struct spec *spec) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_span_writer writer;
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    uint16_t origin;
    uint64_t base = 1000000 * WEIR_MS;
    const char *service = spec->service != NULL ? spec->service : "pay", *name = spec->name ? spec->name : "GET";
    assert_int_equal(weir_span_service(rig.otlp, batch, service, strlen(service), &origin), WEIR_OK);
    weir_span_begin(&writer, batch);
    weir_span_ids(&writer, spec->trace_hi, spec->trace, spec->id, spec->parent);
    weir_span_name(&writer, name, strlen(name));
    weir_span_kind(&writer, spec->kind);
    weir_span_times(&writer, spec->start != 0 ? base + spec->start * WEIR_MS : 0,
                    spec->end != 0 ? base + spec->end * WEIR_MS : 0);
    if (spec->rate != 0) weir_span_double(&writer, "zipkin.sampling_rate", 20, spec->rate);
    if (spec->debug) weir_span_bool(&writer, "zipkin.debug", 12, true);
    if (spec->tag != NULL) put_tag(&writer, spec->tag);
    if (spec->filler > 0) {
        char *text = calloc(1, spec->filler + 1);
        memset(text, 'x', spec->filler);
        weir_span_text(&writer, "filler", 6, text, spec->filler);
        free(text);
    }
    if (spec->event != NULL) {
        const char *at = strchr(spec->event, '@');
        weir_span_event(&writer, base + strtoull(at + 1, NULL, 10) * WEIR_MS, spec->event, (size_t)(at - spec->event));
    }
    uint8_t receiver = spec->receiver != 0 ? spec->receiver : WEIR_RECEIVER_SCRIBE;
    assert_int_equal(weir_span_end(&writer, rig.otlp, origin, receiver, &counts, &err), WEIR_OK);
    return batch;
}

static enum weir_join_verdict offer(const struct spec *spec) {
    struct weir_batch *batch = span_of(spec);
    enum weir_join_verdict verdict = weir_join_offer(rig.join, &rig.config, batch, 0, rig.now_ns);
    if (verdict == WEIR_JOIN_GOES_ON) note(batch, 0);
    if (verdict == WEIR_JOIN_WAITS) rig.held++;
    weir_batch_unref(batch);
    return verdict;
}

static void at(double seconds) {
    rig.now_ns = (uint64_t)((1000 + seconds) * 1e9);
    weir_join_tick(rig.join, &rig.config, rig.now_ns);
}

static long long metric(const char *row) {
    struct weir_buffer page = {0};
    weir_metrics_expose(rig.metrics, &page);
    weir_buffer_byte(&page, 0);
    const char *found = strstr((const char *)page.bytes, row);
    assert_non_null(found);
    long long value = strtoll(found + strlen(row), NULL, 10);
    weir_buffer_free(&page);
    return value;
}

static int begin(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.names = weir_names_new(16384, 1 << 20);
    rig.otlp = weir_otlp_new(rig.names);
    rig.metrics = weir_metrics_new();
    rig.gone = weir_batch_new(NULL, 0);
    rig.now_ns = 1000 * WEIR_S;
    rig.config = (struct weir_scribe_config){
        .merge_wait_ns = 180 * WEIR_S, .weight_wait_ns = 10 * WEIR_S, .memory_bytes = 1 << 20};
    rig.join = weir_join_new(
        &(struct weir_join_env){.names = rig.names, .metrics = rig.metrics, .go_on = went_on, .self = NULL});
    assert_non_null(rig.join);
    return 0;
}

static int finish(void **state) {
    (void)state;
    weir_join_free(rig.join);
    weir_batch_unref(rig.gone);
    weir_metrics_free(rig.metrics);
    weir_otlp_free(rig.otlp);
    weir_names_free(rig.names);
    return 0;
}

/* ---- the table ---- */

enum { STEPS_MAX = 8 };
struct step {
    double at_s;
    int verdict;
    struct spec spec; /* id 0: only the time passes */
};
static const struct row {
    const char *name;
    struct step steps[STEPS_MAX];
    const char *log;
} rows[] = {
    {"a whole span of known weight does not wait", {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.5}}}, "1:10+20x2"},
    {"a rate of 1 is a weight",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 1}}, {0, GOES, {SPAN(2, 9, 11, 12, C)}}},
     "1:10+20 2:11+1"},
    {"one without a duration has an end all the same", {{0, GOES, {SPAN(1, 9, 10, 10, S), .rate = 1}}}, "1:10"},
    {"a span waits for its trace's rate",
     {{0, WAITS, {SPAN(2, 9, 11, 20, C)}},
      {0, WAITS, {SPAN(3, 8, 11, 20, C)}},
      {1, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.1}}},
     "2:11+9x10 1:10+20x10"},
    {"for ten seconds", {{0, WAITS, {SPAN(2, 9, 11, 20, C)}}, {.at_s = 9.9}, {.at_s = 10}}, "2:11+9"},
    {"the rate is remembered",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.25}},
      {179, GOES, {SPAN(2, 9, 11, 20, C)}},
      {181, WAITS, {SPAN(3, 9, 11, 20, C)}}},
     "1:10+20x4 2:11+9x4"},
    {"each saying of it renews that",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.25}},
      {100, GOES, {SPAN(4, 9, 10, 30, S), .rate = 0.25}},
      {250, GOES, {SPAN(2, 9, 11, 20, C)}}},
     "1:10+20x4 4:10+20x4 2:11+9x4"},
    {"what was said first holds",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.25}},
      {0, GOES, {SPAN(4, 9, 10, 30, S), .rate = 0.5}},
      {0, GOES, {SPAN(2, 9, 11, 20, C)}}},
     "1:10+20x4 4:10+20x2 2:11+9x4"},
    {"a forced span waits for no rate and takes none",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .debug = true}},
      {0, GOES, {SPAN(3, 8, 10, 30, S), .rate = 0.5}},
      {0, GOES, {SPAN(2, 8, 11, 12, C), .debug = true}}},
     "1:10+20 3:10+20x2 2:11+1"},
    {"spans of Zipkin tell the rate, take it, and never wait",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .receiver = WEIR_RECEIVER_ZIPKIN}},
      {0, WAITS, {SPAN(2, 9, 10, 30, S)}},
      {0, GOES, {SPAN(3, 9, 10, 30, S), .receiver = WEIR_RECEIVER_ZIPKIN, .rate = 0.5}},
      {0, GOES, {SPAN(4, 9, 10, 0, C), .receiver = WEIR_RECEIVER_ZIPKIN}}},
     "1:10+20 2:10+20x2 3:10+20x2 4:10x2"},
    {"a part waits for its end",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S), .rate = 0.5}}, {170, MERGED, {SPAN(1, 9, 25, 0, S), .event = "ss@40"}}},
     "1:10+30x2"},
    {"whichever comes first",
     {{0, WAITS, {SPAN(1, 9, 25, 0, S), .event = "ss@40"}}, {9, MERGED, {SPAN(1, 9, 10, 0, S), .rate = 0.5}}},
     "1:10+30x2"},
    {"and for the rate, when it is whole",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S)}},
      {60, MERGED, {SPAN(1, 9, 25, 40, S)}},
      {.at_s = 69.9},
      {69.9, GOES, {SPAN(2, 9, 10, 11, C), .rate = 0.5}}},
     "1:10+30x2 2:10+1x2"},
    {"or goes on without it",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S)}}, {60, MERGED, {SPAN(1, 9, 25, 40, S)}}, {.at_s = 69.9}, {.at_s = 70}},
     "1:10+30"},
    {"three minutes", {{0, WAITS, {SPAN(1, 9, 10, 0, S), .rate = 0.5}}, {.at_s = 179.9}, {.at_s = 180}}, "1:10x2"},
    {"since its last part",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S), .rate = 0.5}},
      {100, MERGED, {SPAN(1, 9, 12, 0, S), .tag = "a=b"}},
      {.at_s = 279},
      {.at_s = 280}},
     "1:10x2"},
    {"the rate is known when the part goes on",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S)}}, {1, GOES, {SPAN(2, 9, 10, 12, C), .rate = 0.5}}, {.at_s = 181}},
     "2:10+2x2 1:10x2"},
    {"the other side is another span",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S), .rate = 1}}, {0, GOES, {SPAN(1, 9, 9, 40, C)}}, {.at_s = 180}},
     "1:9+31 1:10"},
    {"one whose kind is not said fits either side",
     {{0, WAITS, {SPAN(1, 9, 10, 0, C), .rate = 1}}, {0, MERGED, {SPAN(1, 9, 11, 0, NO_KIND), .event = "cr@15"}}},
     "1:10+5"},
    {"another trace, another span, another high half",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S), .rate = 1, .trace_hi = 5}},
      {0, WAITS, {SPAN(2, 9, 11, 0, S)}},
      {0, WAITS, {SPAN(1, 8, 11, 0, S)}},
      {0, WAITS, {SPAN(1, 9, 11, 0, S), .trace_hi = 6}},
      {0, MERGED, {SPAN(1, 9, 12, 20, S)}}},
     "1:11+9"},
    {"what comes after a whole one is not counted",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.5}},
      {120, GOES, {SPAN(1, 9, 25, 0, S), .event = "late@40"}},
      {120, GOES, {SPAN(1, 9, 26, 0, NO_KIND), .event = "later@50"}},
      {120, WAITS, {SPAN(1, 9, 26, 0, C)}}},
     "1:10+20x2 1:25x2u 1:26x2u"},
    {"nor what comes after one whose patience was over",
     {{0, WAITS, {SPAN(1, 9, 10, 0, S), .rate = 1}},
      {.at_s = 180},
      {200, GOES, {SPAN(1, 9, 10, 30, S)}},
      {201, GOES, {SPAN(1, 9, 40, 0, S)}}},
     "1:10 1:10+20u 1:40u"},
    {"the same once more is nothing",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 0.5}},
      {1, MERGED, {SPAN(1, 9, 10, 30, S), .rate = 0.5}},
      {1, WAITS, {SPAN(2, 9, 10, 0, S)}},
      {1, MERGED, {SPAN(2, 9, 10, 0, S)}},
      {1, WAITS, {SPAN(3, 8, 10, 40, S)}},
      {1, MERGED, {SPAN(3, 8, 10, 40, S)}}},
     "1:10+20x2"},
    {"two whole ones of the same ids are two: a client that asked again",
     {{0, GOES, {SPAN(1, 9, 10, 30, S), .rate = 1}},
      {0, GOES, {SPAN(1, 9, 31, 39, S), .service = "pay-2"}},
      {0, WAITS, {SPAN(3, 8, 10, 30, S)}},
      {0, WAITS, {SPAN(3, 8, 31, 39, S), .service = "pay-2"}}},
     "1:10+20 1:31+8"},
    {"a part goes to the one of its service",
     {{0, WAITS, {SPAN(3, 8, 10, 30, S)}},
      {0, WAITS, {SPAN(3, 8, 31, 39, S), .service = "pay-2"}},
      {0, MERGED, {SPAN(3, 8, 40, 0, S), .tag = "k=v"}},
      {0, GOES, {SPAN(4, 8, 1, 2, C), .rate = 0.5}}},
     "3:10+20x2 3:31+8x2 4:1+1x2"},
};

static void goes(void **state) {
    const struct row *row = *state;
    for (size_t i = 0; i < STEPS_MAX; i++) {
        const struct step *step = &row->steps[i];
        if (i > 0 && step->spec.id == 0 && step->at_s == 0) break;
        at(step->at_s);
        if (step->spec.id == 0) continue;
        int verdict = (int)offer(&step->spec);
        if (verdict != step->verdict) fail_msg("step %zu: %d, not %d", i, verdict, step->verdict);
    }
    if (strcmp(rig.log, row->log) != 0) fail_msg("%s\n   not %s", rig.log, row->log);
}

/* ---- what a merged span holds ---- */

typedef Opentelemetry__Proto__Trace__V1__Span Span;

static Span *last(void) {
    const struct weir_span *span = &rig.gone->spans[rig.gone->span_count - 1];
    Span *read = opentelemetry__proto__trace__v1__span__unpack(NULL, span->size, rig.gone->bytes + span->offset);
    assert_non_null(read);
    return read;
}

static const char *tag_of(const Span *span, const char *key) {
    const char *found = NULL;
    for (size_t i = 0; i < span->n_attributes; i++) {
        if (strcmp(span->attributes[i]->key, key) != 0) continue;
        assert_null(found); /* once */
        found = span->attributes[i]->value->string_value;
    }
    return found;
}

static void merged_spans_hold_what_both_say(void **state) {
    (void)state;
    assert_int_equal(offer(&(struct spec){SPAN(7, 9, 20, 0, S), .rate = 0.5, .service = "Unknown", .name = "unknown",
                                          .tag = "http.uri=/a", .event = "ss@50", .parent = 3}),
                     WEIR_JOIN_WAITS); /* a start in the end's part: that of its first annotation */
    assert_int_equal(offer(&(struct spec){SPAN(7, 9, 10, 0, S), .trace_hi = 77, .service = "router", .name = "GET /a",
                                          .tag = "http.uri=/b", .event = "wr@30"}),
                     WEIR_JOIN_MERGED);
    assert_string_equal(rig.log, "7:10+40x2");
    Span *span = last();
    assert_string_equal(span->name, "GET /a");
    assert_int_equal(span->trace_id.data[7], 77);
    assert_int_equal(span->parent_span_id.len, 8);
    assert_string_equal(tag_of(span, "http.uri"), "/a");
    assert_int_equal(span->n_events, 1); /* `ss` is the end now */
    assert_string_equal(span->events[0]->name, "wr");
    const struct weir_span *view = &rig.gone->spans[0];
    assert_string_equal(weir_names_text(rig.names, view->service, NULL), "router");
    opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
}

static void events_of_both_in_order(void **state) {
    (void)state;
    offer(&(struct spec){SPAN(7, 9, 10, 0, C), .rate = 1, .event = "wr@30"});
    offer(&(struct spec){SPAN(7, 9, 10, 0, C), .event = "ws@20", .tag = "error=timeout"});
    offer(&(struct spec){SPAN(7, 9, 12, 90, C), .event = "finagle.retry@25", .tag = "http.rsp.status=503"});
    assert_string_equal(rig.log, "7:10+80");
    Span *span = last();
    assert_int_equal(span->n_events, 3);
    assert_string_equal(span->events[0]->name, "ws");
    assert_string_equal(span->events[1]->name, "finagle.retry");
    assert_string_equal(span->events[2]->name, "wr");
    assert_string_equal(tag_of(span, "error"), "timeout");
    assert_string_equal(tag_of(span, "http.rsp.status"), "503");
    assert_int_equal(rig.gone->spans[0].status, WEIR_STATUS_ERROR);
    assert_int_equal(rig.gone->spans[0].http_status, 503);
    opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
}

static void one_that_is_too_large_is_not_merged(void **state) {
    (void)state;
    rig.config.memory_bytes = 16 << 20;
    assert_int_equal(offer(&(struct spec){SPAN(7, 9, 10, 0, C), .rate = 1, .filler = 700000}), WEIR_JOIN_WAITS);
    assert_int_equal(offer(&(struct spec){SPAN(7, 9, 10, 20, C), .filler = 600000}), WEIR_JOIN_GOES_ON);
    assert_string_equal(rig.log, "7:10+10u"); /* counted once, by the one that waits on */
    weir_join_drain(rig.join, rig.now_ns);
    assert_string_equal(rig.log, "7:10+10u 7:10");
}

/* ---- bounds ---- */

static void memory_is_bounded(void **state) {
    (void)state;
    rig.config.memory_bytes = 64 * 1024;
    for (uint64_t i = 1; i <= 1000; i++) {
        at((double)i / 1000);
        offer(&(struct spec){SPAN(i, 9 + i, 10, i % 2 ? 0 : 20, S), .filler = 300});
        assert_true(metric("weir_join_held_bytes ") < 64 * 1024 * 5 / 8);
    }
    assert_int_equal(metric("weir_join_released_total{cause=\"memory\"} "), 1000 - rig.held);
    assert_true(rig.held > 20);
    const char *oldest_first = "1:10 2:10+10 3:10 4:10+10 5:10";
    assert_memory_equal(rig.log, oldest_first, strlen(oldest_first));
}

static void what_is_larger_than_the_memory_goes_on(void **state) {
    (void)state;
    rig.config.memory_bytes = 64 * 1024;
    assert_int_equal(offer(&(struct spec){SPAN(1, 9, 10, 0, S), .filler = 50000}), WEIR_JOIN_GOES_ON);
    assert_int_equal(offer(&(struct spec){SPAN(2, 9, 10, 0, S)}), WEIR_JOIN_WAITS);
    rig.config.memory_bytes = 4096; /* less than the tables that are there: nothing waits any more */
    assert_int_equal(offer(&(struct spec){SPAN(3, 9, 10, 0, S)}), WEIR_JOIN_GOES_ON);
}

static void memory_that_merging_needs_is_found(void **state) {
    (void)state;
    rig.config.memory_bytes = 64 * 1024; /* some 40 KiB for spans: one part fits, both together do not */
    assert_int_equal(offer(&(struct spec){SPAN(1, 9, 10, 0, S), .filler = 25000}), WEIR_JOIN_WAITS);
    assert_int_equal(offer(&(struct spec){SPAN(1, 9, 12, 0, S), .tag = "a=b", .filler = 100}), WEIR_JOIN_MERGED);
    assert_int_equal(rig.held, 1);
    weir_join_drain(rig.join, rig.now_ns);
    assert_int_equal(rig.held, 0);
    assert_string_equal(rig.log, "1:10");
    assert_int_equal(metric("weir_join_held_bytes "), 0);
}

/* Many of one trace and one id: what looks for the other part gives up, and is done in no time. */
static void many_of_the_same_ids(void **state) {
    (void)state;
    rig.config.memory_bytes = 64 << 20;
    for (uint64_t i = 0; i < 20000; i++)
        assert_int_equal(offer(&(struct spec){SPAN(1, 9, 10 + i, 11 + i, S)}), WEIR_JOIN_WAITS);
    rig.log[0] = 0;
    weir_batch_truncate(rig.gone, 0, 0);
    assert_int_equal(rig.held, 20000);
}

static void patience_changes_live(void **state) {
    (void)state;
    offer(&(struct spec){SPAN(1, 9, 10, 0, S)});
    offer(&(struct spec){SPAN(2, 9, 10, 20, S)});
    rig.config.merge_wait_ns = 5 * WEIR_S;
    rig.config.weight_wait_ns = 1 * WEIR_S;
    at(1);
    assert_string_equal(rig.log, "2:10+10");
    at(5);
    assert_string_equal(rig.log, "2:10+10 1:10");
    rig.config.merge_wait_ns = rig.config.weight_wait_ns = 0; /* nothing waits */
    assert_int_equal(offer(&(struct spec){SPAN(3, 8, 10, 0, S)}), WEIR_JOIN_GOES_ON);
    assert_int_equal(offer(&(struct spec){SPAN(4, 8, 10, 20, S)}), WEIR_JOIN_GOES_ON);
}

static void all_go_on_at_the_end(void **state) {
    (void)state;
    for (uint64_t i = 1; i <= 10; i++)
        offer(&(struct spec){SPAN(i, 9 + i, 10, i % 2 ? 0 : 20, S)});
    weir_join_drain(rig.join, rig.now_ns);
    assert_int_equal(rig.held, 0);
    assert_int_equal(metric("weir_join_released_total{cause=\"drain\"} "), 10);
    offer(&(struct spec){SPAN(11, 9, 10, 0, S)}); /* freed where it waits */
}

/* Any stream of parts and whole spans: each is held, gone or merged, and nothing is there twice. */
static void any_stream_adds_up(void **state) {
    (void)state;
    uint64_t random = 88172645463325252ull;
    unsigned offered = 0, merged = 0;
    rig.config.memory_bytes = 256 * 1024;
    for (int i = 0; i < 20000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        struct spec spec = {.id = 1 + random % 7, .trace = 1 + (random >> 8) % 50, .start = 1 + (random >> 16) % 20};
        if ((random >> 24) % 2) spec.end = spec.start + (random >> 25) % 9;
        spec.kind = (uint8_t)((random >> 32) % 4 == 0 ? NO_KIND : (random >> 32) % 4 == 1 ? C : S);
        if ((random >> 36) % 5 == 0) spec.rate = 0.5;
        if ((random >> 40) % 3 == 0) spec.event = "ss@9";
        if ((random >> 44) % 3 == 0) spec.tag = "a=b";
        spec.filler = (uint32_t)((random >> 48) % 400);
        if (i % 10 == 0) at(i / 10);
        offered++;
        merged += offer(&spec) == WEIR_JOIN_MERGED;
        rig.log[0] = 0;
    }
    assert_int_equal(offered, merged + rig.held + rig.gone->span_count);
    assert_true(merged > 1000);
    weir_join_drain(rig.join, rig.now_ns);
    assert_int_equal(rig.held, 0);
    assert_int_equal(metric("weir_join_held_bytes "), 0);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test_setup_teardown(merged_spans_hold_what_both_say, begin, finish),
        cmocka_unit_test_setup_teardown(events_of_both_in_order, begin, finish),
        cmocka_unit_test_setup_teardown(one_that_is_too_large_is_not_merged, begin, finish),
        cmocka_unit_test_setup_teardown(memory_is_bounded, begin, finish),
        cmocka_unit_test_setup_teardown(what_is_larger_than_the_memory_goes_on, begin, finish),
        cmocka_unit_test_setup_teardown(memory_that_merging_needs_is_found, begin, finish),
        cmocka_unit_test_setup_teardown(many_of_the_same_ids, begin, finish),
        cmocka_unit_test_setup_teardown(patience_changes_live, begin, finish),
        cmocka_unit_test_setup_teardown(all_go_on_at_the_end, begin, finish),
        cmocka_unit_test_setup_teardown(any_stream_adds_up, begin, finish),
    };
    struct CMUnitTest tests[COUNT_OF(rows) + COUNT_OF(others)];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        tests[i] = (struct CMUnitTest){.name = rows[i].name,
                                       .test_func = goes,
                                       .setup_func = begin,
                                       .teardown_func = finish,
                                       .initial_state = (void *)&rows[i]};
    }
    memcpy(&tests[COUNT_OF(rows)], others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
