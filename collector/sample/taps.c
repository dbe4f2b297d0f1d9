#include "collector/sample/taps.h"
#include "collector/core/error.h"
#include "collector/core/hex.h"
#include "collector/core/utf8.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WATCHERS, LOST, TAPS_METRICS };
static const struct weir_metric metrics_table[TAPS_METRICS] = {
    [WATCHERS] = {"tail_watchers", NULL, WEIR_GAUGE, "Streams of GET /tail that are open."},
    [LOST] =
        {"tail_watch_lost_total", NULL, WEIR_COUNTER,
         "Decided traces that a watcher of GET /tail did not get, because it reads too slowly or asks for too many. "
         "They were stored or left out as decided."},
};

/* Encoded once, in the queues of all that want it. */
struct line {
    uint32_t refs; /* under lock */
    size_t size;
    uint8_t *bytes;
};
struct link {
    struct link *next;
    struct line *line;
};

struct weir_tap {
    struct weir_taps *taps; /* NULL: free */
    uint32_t generation;
    struct weir_tap_filter filter;
    uint32_t service; /* name id; WEIR_NAME_NONE: nobody has sent it yet */
    void (*wake)(void *self);
    void *self;
    struct link *first, **last; /* under lock, as all below */
    size_t queued_bytes;
    size_t offset;   /* of the first line: what was read of it */
    uint64_t second; /* monotonic; `taken` traces were taken in it */
    uint32_t taken;
    uint64_t lost;   /* not yet told */
    char notice[48]; /* the line that tells them, and what was read of it */
    size_t notice_size, notice_at;
};

struct weir_taps_inside {
    pthread_mutex_t lock;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    const struct weir_clock *clock;
    _Atomic bool deciding;
    struct weir_tap taps[WEIR_TAPS_MAX];
};

/* ---- JSON ---- */

/* Names were checked or repaired when they came; this is for those that tests and tools make. */
static void put_text(struct weir_buffer *out, const char *name, const char *text) {
    const uint8_t *bytes = (const uint8_t *)text;
    size_t size = strlen(text);
    uint8_t repaired[3 * WEIR_NAME_BYTES_MAX];
    if (size > WEIR_NAME_BYTES_MAX) size = WEIR_NAME_BYTES_MAX;
    if (!weir_utf8_valid(bytes, size)) {
        size = weir_utf8_repair(bytes, size, repaired);
        bytes = repaired;
    }
    weir_buffer_printf(out, "\"%s\":\"", name);
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
            weir_buffer_printf(out, "\\u%04x", bytes[i]);
        } else {
            if (bytes[i] == '"' || bytes[i] == '\\') weir_buffer_byte(out, '\\');
            weir_buffer_byte(out, bytes[i]);
        }
    }
    weir_buffer_byte(out, '"');
}

/* Large numbers as strings, as JSON's readers in many languages have 53 bits (protobuf's JSON does so too). */
static void put_time(struct weir_buffer *out, const char *name, uint64_t unix_ns) {
    weir_buffer_printf(out, ",\"%s\":\"%llu\"", name, (unsigned long long)unix_ns);
}

static void put_id(struct weir_buffer *out, const char *name, uint64_t id) {
    char hex[16];
    weir_hex_u64(id, hex);
    weir_buffer_printf(out, "\"%s\":\"%.16s\"", name, hex);
}

static void put_span(struct weir_buffer *out, const struct weir_names *names, const struct weir_span *span,
                     uint64_t trace_start_ns) {
    static const char *const kinds[] = {"", "internal", "server", "client", "producer", "consumer"};
    weir_buffer_byte(out, '{');
    put_id(out, "id", span->span_id);
    if (span->parent_id != 0 && (span->flags & WEIR_SPAN_ROOT) == 0) {
        weir_buffer_byte(out, ',');
        put_id(out, "parent", span->parent_id);
    }
    weir_buffer_byte(out, ',');
    put_text(out, "service", weir_names_text(names, span->service, NULL));
    weir_buffer_byte(out, ',');
    put_text(out, "operation", weir_names_text(names, span->operation, NULL));
    if (span->kind > 0 && span->kind < sizeof kinds / sizeof kinds[0])
        weir_buffer_printf(out, ",\"kind\":\"%s\"", kinds[span->kind]);
    if (span->start_ns != 0)
        weir_buffer_printf(out, ",\"offset_ns\":%lld", (long long)(span->start_ns - trace_start_ns));
    weir_buffer_printf(out, ",\"duration_ns\":%llu", (unsigned long long)span->duration_ns);
    if (span->status == WEIR_STATUS_ERROR) weir_buffer_text(out, ",\"error\":true");
    weir_buffer_byte(out, '}');
}

/* At most WEIR_TAP_SPANS_MAX, and what a line has room for: the root and errors first, so that they are never among
 * those that are missing. */
static void put_spans(struct weir_buffer *out, const struct weir_names *names, const struct weir_batch *spans,
                      uint32_t mark, uint64_t trace_start_ns) {
    enum { SPAN_BYTES_MAX = 256 + 2 * 6 * WEIR_NAME_BYTES_MAX };
    uint32_t put = 0;
    weir_buffer_text(out, ",\"spans\":[");
    for (unsigned round = 0; spans != NULL && round < 2; round++) {
        for (uint32_t i = 0; i < spans->span_count && put < WEIR_TAP_SPANS_MAX; i++) {
            const struct weir_span *span = &spans->spans[i];
            bool first = i == mark || span->status == WEIR_STATUS_ERROR;
            if (first != (round == 0) || out->size + SPAN_BYTES_MAX > WEIR_TAP_LINE_BYTES) continue;
            if (put++ > 0) weir_buffer_byte(out, ',');
            put_span(out, names, span, trace_start_ns);
        }
    }
    weir_buffer_byte(out, ']');
}

static double weight_of(const struct weir_batch *spans, uint32_t mark, const struct weir_verdict *verdict) {
    struct weir_span span = {.prior = 1, .threshold = verdict->threshold};
    if (spans != NULL && mark < spans->span_count) span = spans->spans[mark];
    double weight = weir_span_weight(&span);
    return isfinite(weight) ? weight : 0;
}

static struct line *line_of(struct weir_buffer *out) {
    struct line *line = out->failed ? NULL : calloc(1, sizeof *line);
    if (line == NULL) {
        weir_buffer_free(out);
        return NULL;
    }
    line->bytes = out->bytes;
    line->size = out->size;
    return line;
}

static struct line *encode(const struct weir_taps_inside *inside, const struct weir_batch *spans, uint32_t mark,
                           const struct weir_trace *trace, const struct weir_verdict *verdict, enum weir_cause cause) {
    struct weir_buffer out = {0};
    const struct weir_names *names = inside->names;
    char hi[16], lo[16];
    weir_hex_u64(trace->trace_hi, hi);
    weir_hex_u64(trace->trace_lo, lo);
    weir_buffer_printf(&out, "{\"trace\":\"%.*s%.16s\",\"kept\":%s", trace->trace_hi != 0 ? 16 : 0, hi, lo,
                       verdict->kept ? "true" : "false");
    put_time(&out, "decided_unix_ns", weir_unix_ns(inside->clock));
    if (trace->start_ns != 0) put_time(&out, "start_unix_ns", trace->start_ns);
    weir_buffer_printf(&out, ",\"duration_ns\":%llu,\"span_count\":%u",
                       (unsigned long long)weir_trace_duration_ns(trace), trace->span_count);
    if ((trace->flags & WEIR_TRACE_ERROR) != 0) weir_buffer_text(&out, ",\"error\":true");
    weir_buffer_byte(&out, ',');
    put_text(&out, "rule", weir_names_text(names, verdict->rule_name, NULL));
    if (verdict->kept) {
        weir_buffer_text(&out, ",\"weight\":");
        weir_buffer_double(&out, weight_of(spans, mark, verdict));
    }
    weir_buffer_byte(&out, ',');
    put_text(&out, "cause", weir_cause_names[cause]);
    weir_buffer_byte(&out, ',');
    put_text(&out, "service", weir_names_text(names, trace->service, NULL));
    weir_buffer_byte(&out, ',');
    put_text(&out, "operation", weir_names_text(names, trace->operation, NULL));
    put_spans(&out, names, spans, mark, trace->start_ns);
    weir_buffer_text(&out, "}\n");
    return line_of(&out);
}

/* ---- queues; all under lock ---- */

static void release(struct line *line) {
    if (--line->refs > 0) return;
    free(line->bytes);
    free(line);
}

static bool push(struct weir_tap *tap, struct line *line) {
    struct link *link = malloc(sizeof *link);
    if (link == NULL) return false;
    *link = (struct link){.line = line};
    line->refs++;
    *tap->last = link;
    tap->last = &link->next;
    tap->queued_bytes += line->size;
    return true;
}

static void pop(struct weir_tap *tap) {
    struct link *link = tap->first;
    tap->first = link->next;
    if (tap->first == NULL) tap->last = &tap->first;
    tap->queued_bytes -= link->line->size;
    tap->offset = 0;
    release(link->line);
    free(link);
}

static void lose(struct weir_tap *tap) {
    tap->lost++;
    weir_count_shared(tap->taps->inside->set, LOST, 1);
}

static bool is_of_service(struct weir_tap *tap, const struct weir_batch *spans, const struct weir_trace *trace) {
    if (tap->filter.service[0] == 0) return true;
    if (tap->service == WEIR_NAME_NONE)
        tap->service = weir_names_find(tap->taps->inside->names, tap->filter.service, strlen(tap->filter.service));
    if (tap->service == WEIR_NAME_NONE) return false;
    if (trace->service == tap->service) return true;
    for (uint32_t i = 0; spans != NULL && i < spans->span_count; i++) {
        if (spans->spans[i].service == tap->service) return true;
    }
    return false;
}

static bool wants(struct weir_tap *tap, const struct weir_batch *spans, const struct weir_trace *trace,
                  const struct weir_verdict *verdict) {
    if (tap->taps == NULL || (!verdict->kept && !tap->filter.dropped)) return false;
    if (tap->filter.errors && (trace->flags & WEIR_TRACE_ERROR) == 0) return false;
    if (weir_trace_duration_ns(trace) < tap->filter.min_duration_ns) return false;
    const char *rule = weir_names_text(tap->taps->inside->names, verdict->rule_name, NULL);
    if (tap->filter.rule[0] != 0 && strcmp(rule, tap->filter.rule) != 0) return false;
    return is_of_service(tap, spans, trace);
}

/* Is there room for one more trace, in the queue and in this second? */
static bool has_room(struct weir_tap *tap, uint64_t now_ns) {
    if (tap->queued_bytes >= WEIR_TAP_QUEUE_BYTES) return false;
    if (now_ns / WEIR_S != tap->second) {
        tap->second = now_ns / WEIR_S;
        tap->taken = 0;
    }
    if (tap->taken >= WEIR_TAP_TRACES_PER_SECOND) return false;
    tap->taken++;
    return true;
}

/* ---- lanes ---- */

void weir_taps_offer(struct weir_taps *taps, const struct weir_batch *spans, uint32_t mark,
                     const struct weir_trace *trace, const struct weir_verdict *verdict, enum weir_cause cause) {
    if (!weir_taps_wanted(taps) || (!verdict->kept && !weir_taps_dropped_wanted(taps))) return;
    struct weir_taps_inside *inside = taps->inside;
    uint64_t now_ns = weir_mono_ns(inside->clock);
    uint32_t wanted = 0, generations[WEIR_TAPS_MAX];
    pthread_mutex_lock(&inside->lock);
    for (uint32_t i = 0; i < WEIR_TAPS_MAX; i++) {
        struct weir_tap *tap = &inside->taps[i];
        if (!wants(tap, spans, trace, verdict)) continue;
        if (has_room(tap, now_ns)) {
            wanted |= 1u << i;
            generations[i] = tap->generation;
        } else {
            lose(tap);
        }
    }
    pthread_mutex_unlock(&inside->lock);
    if (wanted == 0) return;
    struct line *line = encode(inside, spans, mark, trace, verdict, cause); /* other lanes go on meanwhile */
    pthread_mutex_lock(&inside->lock);
    if (line != NULL) line->refs = 1;
    for (uint32_t i = 0; i < WEIR_TAPS_MAX; i++) {
        struct weir_tap *tap = &inside->taps[i];
        if ((wanted & 1u << i) == 0 || tap->taps == NULL || tap->generation != generations[i]) continue;
        bool woken = tap->first != NULL;
        if (line == NULL || !push(tap, line)) lose(tap);
        if (!woken) tap->wake(tap->self);
    }
    if (line != NULL) release(line);
    pthread_mutex_unlock(&inside->lock);
}

/* ---- watchers ---- */

static struct line *hello(const struct weir_taps_inside *inside) {
    struct weir_buffer out = {0};
    weir_buffer_text(&out, atomic_load(&inside->deciding)
                               ? "{\"weir\":\"tail\",\"deciding\":true}\n"
                               : "{\"weir\":\"tail\",\"deciding\":false,\"note\":\"the sampling policy has no keep: "
                                 "spans are not held back, so no trace is decided and there is nothing to show\"}\n");
    return line_of(&out);
}

enum weir_status weir_tap_open(struct weir_taps *taps, const struct weir_tap_filter *filter, void (*wake)(void *self),
                               void *self, struct weir_tap **out, struct weir_error *err) {
    struct weir_taps_inside *inside = taps->inside;
    struct line *first = hello(inside);
    if (first == NULL) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    pthread_mutex_lock(&inside->lock);
    first->refs = 1;
    struct weir_tap *tap = NULL;
    for (uint32_t i = 0; i < WEIR_TAPS_MAX && tap == NULL; i++) {
        if (inside->taps[i].taps == NULL) tap = &inside->taps[i];
    }
    if (tap != NULL) {
        *tap = (struct weir_tap){
            .taps = taps, .generation = tap->generation + 1, .filter = *filter, .wake = wake, .self = self};
        tap->last = &tap->first;
        push(tap, first);
        atomic_fetch_add(&taps->watchers, 1);
        if (filter->dropped) atomic_fetch_add(&taps->dropped_watchers, 1);
        weir_gauge(inside->set, WATCHERS, atomic_load(&taps->watchers));
        *out = tap;
    }
    release(first);
    pthread_mutex_unlock(&inside->lock);
    if (tap == NULL)
        return weir_fail(err, WEIR_FULL, 0, true, "%d watch already, and more would cost too much", WEIR_TAPS_MAX);
    return WEIR_OK;
}

/* Between two lines what was lost is told. */
static void take_notice(struct weir_tap *tap) {
    if (tap->notice_at < tap->notice_size || tap->offset > 0 || tap->lost == 0) return;
    tap->notice_size =
        (size_t)snprintf(tap->notice, sizeof tap->notice, "{\"lost\":%llu}\n", (unsigned long long)tap->lost);
    tap->notice_at = 0;
    tap->lost = 0;
}

/* As much of `from` as there is room for, from *at on. */
static size_t copy_part(char *out, size_t room, const void *from, size_t from_size, size_t *at) {
    size_t part = from_size - *at < room ? from_size - *at : room;
    memcpy(out, (const char *)from + *at, part);
    *at += part;
    return part;
}

size_t weir_tap_read(struct weir_tap *tap, char *out, size_t size) {
    pthread_mutex_t *lock = &tap->taps->inside->lock;
    size_t read = 0;
    pthread_mutex_lock(lock);
    while (read < size) {
        take_notice(tap);
        if (tap->notice_at < tap->notice_size) {
            read += copy_part(out + read, size - read, tap->notice, tap->notice_size, &tap->notice_at);
            continue;
        }
        if (tap->first == NULL) break;
        const struct line *line = tap->first->line;
        read += copy_part(out + read, size - read, line->bytes, line->size, &tap->offset);
        if (tap->offset == line->size) pop(tap);
    }
    pthread_mutex_unlock(lock);
    return read;
}

void weir_tap_pulse(struct weir_tap *tap) {
    struct weir_taps_inside *inside = tap->taps->inside;
    struct weir_buffer out = {0};
    weir_buffer_printf(&out, "{\"pulse\":\"%llu\",\"deciding\":%s}\n", (unsigned long long)weir_unix_ns(inside->clock),
                       atomic_load(&inside->deciding) ? "true" : "false");
    struct line *line = line_of(&out);
    if (line == NULL) return;
    pthread_mutex_lock(&inside->lock);
    line->refs = 1;
    if (tap->first == NULL) push(tap, line);
    release(line);
    pthread_mutex_unlock(&inside->lock);
}

void weir_tap_close(struct weir_tap *tap) {
    if (tap == NULL) return;
    struct weir_taps *taps = tap->taps;
    pthread_mutex_lock(&taps->inside->lock);
    while (tap->first != NULL)
        pop(tap);
    tap->taps = NULL;
    atomic_fetch_sub(&taps->watchers, 1);
    if (tap->filter.dropped) atomic_fetch_sub(&taps->dropped_watchers, 1);
    weir_gauge(taps->inside->set, WATCHERS, atomic_load(&taps->watchers));
    pthread_mutex_unlock(&taps->inside->lock);
}

/* ---- life ---- */

struct weir_taps *weir_taps_new(struct weir_names *names, struct weir_metrics *metrics,
                                const struct weir_clock *clock) {
    struct weir_taps *taps = calloc(1, sizeof *taps);
    struct weir_taps_inside *inside = calloc(1, sizeof *inside);
    struct weir_metric_set *set = weir_metrics_open(metrics, metrics_table, TAPS_METRICS, NULL);
    if (taps == NULL || inside == NULL || set == NULL) {
        weir_metrics_close(metrics, set);
        free(inside);
        free(taps);
        return NULL;
    }
    *inside = (struct weir_taps_inside){.names = names, .metrics = metrics, .set = set, .clock = clock};
    pthread_mutex_init(&inside->lock, NULL);
    taps->inside = inside;
    return taps;
}

void weir_taps_set_deciding(struct weir_taps *taps, bool deciding) {
    atomic_store(&taps->inside->deciding, deciding);
}

void weir_taps_free(struct weir_taps *taps) {
    if (taps == NULL) return;
    weir_metrics_close(taps->inside->metrics, taps->inside->set);
    pthread_mutex_destroy(&taps->inside->lock);
    free(taps->inside);
    free(taps);
}
