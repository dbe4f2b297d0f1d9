#include "collector/lane/join.h"
#include "collector/core/clock.h"
#include "collector/core/ledger.h"
#include "collector/lane/join_memory.h"
#include "collector/lane/join_merge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

enum cause { COMPLETE, TIMEOUT, MEMORY, DRAIN, LATE, HELD_BYTES, METRICS };
#define RELEASED(text)                                                                                                 \
    { "join_released_total", "cause=\"" text "\"", WEIR_COUNTER, "Spans of Scribe that waited and went on, by why." }
static const struct weir_metric metrics[METRICS] = {
    [COMPLETE] = RELEASED("complete"),
    [TIMEOUT] = RELEASED("timeout"),
    [MEMORY] = RELEASED("memory"),
    [DRAIN] = RELEASED("drain"),
    [LATE] = {"join_late_parts_total", NULL, WEIR_COUNTER,
              "Parts of spans of Scribe that had gone on before; they are exported and not counted in the series."},
    [HELD_BYTES] = {"join_held_bytes", NULL, WEIR_GAUGE, "Memory of spans of Scribe that wait."},
};

/* ---- what waits ---- */

struct waiting {
    struct waiting *older, *newer;               /* of the same list, by when they came */
    struct waiting *next_of_trace, **trace_slot; /* of the same bucket */
    struct waiting *next_of_span, **span_slot;   /* likewise */
    uint64_t since_ns;
    struct weir_origin *origin;
    struct weir_span span; /* offset 0, origin 0 */
    bool ended;            /* then it waits for its weight */
    uint8_t bytes[];
};

struct list {
    struct waiting *oldest, *newest;
};

enum {
    MALLOC_BYTES = 16,
    BUCKET_SPAN_BYTES = 512, /* a bucket for so much of what may wait */
    STEPS_MAX = 64,          /* through one bucket: who sends the same ids over and over waits alone */
    UNKNOWN_BYTES = 7,
    MERGED_KEPT_BYTES = 64 * 1024,
};

struct weir_join {
    struct weir_join_env env;
    struct weir_metric_set *set;
    uint64_t seed;
    struct list parts, unweighed;
    struct waiting **traces, **spans; /* buckets; NULL until the first span of Scribe */
    uint64_t bucket_mask;
    size_t held_bytes, table_bytes;
    struct weir_join_memory rates; /* of traces: bits of the prior */
    struct weir_join_memory gone;  /* of spans: hash of the body, the lowest bit says whether it had its end */
    struct weir_buffer merged;
};

struct weir_join *weir_join_new(const struct weir_join_env *env) {
    struct weir_join *join = calloc(1, sizeof *join);
    if (join == NULL) return NULL;
    join->env = *env;
    join->set = weir_metrics_open(env->metrics, metrics, METRICS, NULL);
    if (join->set == NULL) {
        free(join);
        return NULL;
    }
    /* Without it who knows the function fills one bucket. */
    if (getrandom(&join->seed, sizeof join->seed, GRND_NONBLOCK) != sizeof join->seed)
        join->seed = (uint64_t)(uintptr_t)join;
    return join;
}

/* The first span of Scribe opens the tables: an eighth for rates, a quarter for spans that went on. */
static bool open_tables(struct weir_join *join, const struct weir_scribe_config *config) {
    if (join->traces != NULL) return true;
    size_t buckets = 64;
    while (buckets * 2 * BUCKET_SPAN_BYTES <= config->memory_bytes)
        buckets *= 2;
    if (join->gone.slots == NULL && !weir_join_memory_open(&join->gone, config->memory_bytes / 4)) return false;
    if (join->rates.slots == NULL && !weir_join_memory_open(&join->rates, config->memory_bytes / 8)) return false;
    join->spans = calloc(buckets, sizeof(struct waiting *));
    join->traces = join->spans == NULL ? NULL : calloc(buckets, sizeof(struct waiting *));
    if (join->traces == NULL) {
        free(join->spans);
        join->spans = NULL;
        return false;
    }
    join->bucket_mask = buckets - 1;
    join->table_bytes = weir_join_memory_bytes(&join->gone) + weir_join_memory_bytes(&join->rates) +
                        2 * buckets * sizeof(struct waiting *);
    return true;
}

/* Source: MurmurHash3's 64-bit finalizer; every bit of the id moves every bit of the key. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}
static uint64_t trace_key(const struct weir_join *join, const struct weir_span *span) {
    return mix(span->trace_lo ^ join->seed);
}
static uint64_t span_key(const struct weir_join *join, const struct weir_span *span) {
    return mix(trace_key(join, span) ^ span->span_id);
}
static uint64_t gone_key(const struct weir_join *join, const struct weir_span *span, uint8_t kind) {
    return mix(span_key(join, span) + kind);
}

static uint64_t hash_of(const struct weir_join *join, const uint8_t *bytes, const struct weir_span *span, bool ended) {
    return (weir_names_hash(join->env.names, bytes, span->size) & ~1ull) | ended;
}

static void unlink_from(struct list *list, struct waiting *waiting) {
    *(waiting->older != NULL ? &waiting->older->newer : &list->oldest) = waiting->newer;
    *(waiting->newer != NULL ? &waiting->newer->older : &list->newest) = waiting->older;
}

static void link_newest(struct list *list, struct waiting *waiting) {
    waiting->older = list->newest;
    waiting->newer = NULL;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = waiting;
    list->newest = waiting;
}

static struct list *list_of(struct weir_join *join, const struct waiting *waiting) {
    return waiting->ended ? &join->unweighed : &join->parts;
}

static size_t memory_of(const struct weir_span *span, const struct weir_origin *origin) {
    return sizeof(struct waiting) + MALLOC_BYTES + span->size + weir_origin_memory(origin);
}

static void forget(struct weir_join *join, struct waiting *waiting) {
    unlink_from(list_of(join, waiting), waiting);
    *waiting->trace_slot = waiting->next_of_trace;
    if (waiting->next_of_trace != NULL) waiting->next_of_trace->trace_slot = waiting->trace_slot;
    *waiting->span_slot = waiting->next_of_span;
    if (waiting->next_of_span != NULL) waiting->next_of_span->span_slot = waiting->span_slot;
    join->held_bytes -= memory_of(&waiting->span, waiting->origin);
    weir_gauge(join->set, HELD_BYTES, join->held_bytes);
    weir_origin_unref(waiting->origin);
    free(waiting);
}

static bool is_weighed(const struct weir_span *span) {
    /* One that was forced passed the sampler by: the rate of others says nothing of it. */
    return (span->flags & (WEIR_SPAN_TH | WEIR_SPAN_PRIOR | WEIR_SPAN_PRIOR_CHANGED | WEIR_SPAN_FORCED)) != 0;
}

static void weigh(struct weir_span *span, double prior) {
    span->prior = prior;
    span->flags |= WEIR_SPAN_PRIOR_CHANGED;
}

static void remember(struct weir_join *join, const struct weir_span *span, const uint8_t *bytes, bool ended,
                     uint64_t now_ns) {
    weir_join_memory_set(&join->gone, gone_key(join, span, span->kind), hash_of(join, bytes, span, ended), now_ns);
}

static void emit(struct weir_join *join, struct weir_span span, uint8_t *bytes, bool ended, struct weir_origin *origin,
                 enum cause cause, uint64_t now_ns) {
    span.offset = 0;
    span.origin = 0;
    struct weir_batch one = {.bytes = bytes,
                             .size = span.size,
                             .capacity = span.size,
                             .spans = &span,
                             .span_count = 1,
                             .span_capacity = 1,
                             .origins = &origin,
                             .origin_count = 1,
                             .origin_capacity = 1};
    remember(join, &span, bytes, ended, now_ns);
    weir_count(join->set, cause, 1);
    join->env.go_on(join->env.self, &one, 0);
}

static void go_on(struct weir_join *join, struct waiting *waiting, enum cause cause, uint64_t now_ns) {
    emit(join, waiting->span, waiting->bytes, waiting->ended, waiting->origin, cause, now_ns);
    forget(join, waiting);
}

static void make_room(struct weir_join *join, const struct weir_scribe_config *config, size_t more, uint64_t now_ns) {
    size_t limit = config->memory_bytes > join->table_bytes ? config->memory_bytes - join->table_bytes : 0;
    while (join->held_bytes + more > limit) {
        struct waiting *part = join->parts.oldest, *unweighed = join->unweighed.oldest;
        if (part == NULL && unweighed == NULL) return;
        bool is_part = unweighed == NULL || (part != NULL && part->since_ns <= unweighed->since_ns);
        go_on(join, is_part ? part : unweighed, MEMORY, now_ns);
    }
}

/* A copy waits. False: there is no room for it. */
static bool hold(struct weir_join *join, const struct weir_scribe_config *config, const struct weir_span *span,
                 const uint8_t *bytes, struct weir_origin *origin, bool ended, uint64_t now_ns) {
    size_t more = memory_of(span, origin);
    if (more > config->memory_bytes || more + join->table_bytes > config->memory_bytes) return false;
    struct waiting *waiting = malloc(sizeof *waiting + span->size);
    if (waiting == NULL) return false;
    waiting->span = *span;
    waiting->span.offset = 0;
    waiting->span.origin = 0;
    waiting->ended = ended;
    waiting->since_ns = now_ns;
    waiting->origin = weir_origin_ref(origin);
    memcpy(waiting->bytes, bytes, span->size);
    make_room(join, config, more, now_ns);

    uint64_t by_span = span_key(join, span) & join->bucket_mask, by_trace = trace_key(join, span) & join->bucket_mask;
    waiting->span_slot = &join->spans[by_span];
    waiting->next_of_span = *waiting->span_slot;
    if (waiting->next_of_span != NULL) waiting->next_of_span->span_slot = &waiting->next_of_span;
    *waiting->span_slot = waiting;
    waiting->trace_slot = &join->traces[by_trace];
    waiting->next_of_trace = *waiting->trace_slot;
    if (waiting->next_of_trace != NULL) waiting->next_of_trace->trace_slot = &waiting->next_of_trace;
    *waiting->trace_slot = waiting;
    link_newest(list_of(join, waiting), waiting);
    join->held_bytes += more;
    weir_gauge(join->set, HELD_BYTES, join->held_bytes);
    return true;
}

/* ---- the trace's rate ---- */

/* A span said it: for those that wait, and for those that come later. A trace is decided once: what was said first
 * holds, and those that wait are looked for only then. */
static void learn(struct weir_join *join, const struct weir_span *said, uint64_t now_ns) {
    uint64_t bits, key = trace_key(join, said);
    memcpy(&bits, &said->prior, sizeof bits);
    const struct weir_join_slot *known = weir_join_memory_find(&join->rates, key, now_ns);
    bool is_news = known == NULL;
    weir_join_memory_set(&join->rates, key, is_news ? bits : known->value, now_ns);
    if (!is_news || join->traces == NULL) return;
    for (struct waiting *waiting = join->traces[key & join->bucket_mask], *next; waiting != NULL; waiting = next) {
        next = waiting->next_of_trace;
        if (waiting->span.trace_lo != said->trace_lo || is_weighed(&waiting->span)) continue;
        weigh(&waiting->span, said->prior);
        if (waiting->ended) go_on(join, waiting, COMPLETE, now_ns);
    }
}

static void find_rate(struct weir_join *join, struct weir_span *span, uint64_t now_ns) {
    const struct weir_join_slot *known = weir_join_memory_find(&join->rates, trace_key(join, span), now_ns);
    double prior;
    if (known == NULL) return;
    memcpy(&prior, &known->value, sizeof prior);
    weigh(span, prior);
}

/* ---- the other part ---- */

/* Went it on, or a part of it? Then *repeated says whether these very bytes did. */
static bool went_on(const struct weir_join *join, const struct weir_span *span, const uint8_t *bytes, bool ended,
                    uint64_t now_ns, bool *repeated) {
    uint64_t hash = hash_of(join, bytes, span, ended);
    *repeated = false;
    for (unsigned kind = 0; kind <= WEIR_KIND_CONSUMER; kind++) {
        bool fits =
            kind == span->kind || (!ended && (kind == WEIR_KIND_UNSPECIFIED || span->kind == WEIR_KIND_UNSPECIFIED));
        if (!fits) continue;
        const struct weir_join_slot *slot =
            weir_join_memory_find(&join->gone, gone_key(join, span, (uint8_t)kind), now_ns);
        if (slot == NULL) continue;
        *repeated = slot->value == hash;
        /* Two whole ones are two spans: a client that asks again under the same id has two servers answer. */
        if (*repeated || !ended || (slot->value & 1) == 0) return true;
    }
    return false;
}

static bool fits(const struct waiting *waiting, const struct weir_span *span, const uint8_t *bytes, bool ended) {
    const struct weir_span *other = &waiting->span;
    if (other->span_id != span->span_id || other->trace_lo != span->trace_lo) return false;
    if (other->trace_hi != span->trace_hi && other->trace_hi != 0 && span->trace_hi != 0) return false;
    if (ended && waiting->ended) return other->size == span->size && memcmp(waiting->bytes, bytes, span->size) == 0;
    return other->kind == span->kind || other->kind == WEIR_KIND_UNSPECIFIED || span->kind == WEIR_KIND_UNSPECIFIED;
}

/* Of several the one of the same service. */
static struct waiting *find_other(const struct weir_join *join, const struct weir_span *span, const uint8_t *bytes,
                                  bool ended) {
    struct waiting *found = NULL;
    int steps = 0;
    for (struct waiting *waiting = join->spans[span_key(join, span) & join->bucket_mask];
         waiting != NULL && steps < STEPS_MAX; waiting = waiting->next_of_span, steps++) {
        if (!fits(waiting, span, bytes, ended)) continue;
        if (waiting->span.service == span->service) return waiting;
        if (found == NULL) found = waiting;
    }
    return found;
}

static bool names_a_service(const struct weir_join *join, uint32_t service) {
    size_t size;
    const char *text = weir_names_text(join->env.names, service, &size);
    return size > 0 && !(size == UNKNOWN_BYTES && strncasecmp(text, "unknown", UNKNOWN_BYTES) == 0);
}

/* The two become one, which goes on, or waits for what it still lacks. */
static enum weir_join_verdict merge(struct weir_join *join, const struct weir_scribe_config *config,
                                    struct waiting *waiting, struct weir_span *span, const uint8_t *bytes,
                                    struct weir_origin *origin, uint64_t now_ns) {
    if (waiting->span.size == span->size && memcmp(waiting->bytes, bytes, span->size) == 0) return WEIR_JOIN_MERGED;
    struct weir_join_part first = {.span = &waiting->span,
                                   .bytes = waiting->bytes,
                                   .named_service = names_a_service(join, waiting->span.service)},
                          second = {
                              .span = span, .bytes = bytes, .named_service = names_a_service(join, span->service)};
    struct weir_span whole;
    bool service_of_second;
    weir_buffer_clear(&join->merged);
    if (!weir_join_merge(&first, &second, &join->merged, &whole, &service_of_second)) {
        weir_buffer_free(&join->merged);
        span->flags |= WEIR_SPAN_UNCOUNTED; /* too much to put together here: a back end that merges does it */
        return WEIR_JOIN_GOES_ON;
    }
    bool ended = weir_join_ended(&(struct weir_join_part){.span = &whole, .bytes = join->merged.bytes});
    struct weir_origin *of = weir_origin_ref(service_of_second ? origin : waiting->origin);
    forget(join, waiting);
    if (ended && is_weighed(&whole)) {
        emit(join, whole, join->merged.bytes, ended, of, COMPLETE, now_ns);
    } else if (!hold(join, config, &whole, join->merged.bytes, of, ended, now_ns)) {
        emit(join, whole, join->merged.bytes, ended, of, MEMORY, now_ns);
    }
    weir_origin_unref(of);
    if (join->merged.capacity > MERGED_KEPT_BYTES) weir_buffer_free(&join->merged);
    return WEIR_JOIN_MERGED;
}

/* ---- what the lane calls ---- */

static enum weir_join_verdict offer(struct weir_join *join, const struct weir_scribe_config *config,
                                    struct weir_span *span, const uint8_t *bytes, struct weir_origin *origin,
                                    uint64_t now_ns) {
    bool ended = weir_join_ended(&(struct weir_join_part){.span = span, .bytes = bytes}), repeated;
    if (went_on(join, span, bytes, ended, now_ns, &repeated)) {
        if (repeated) return WEIR_JOIN_MERGED;
        span->flags |= WEIR_SPAN_UNCOUNTED;
        weir_count(join->set, LATE, 1);
        if (ended) remember(join, span, bytes, ended, now_ns);
        return WEIR_JOIN_GOES_ON;
    }
    struct waiting *other = find_other(join, span, bytes, ended);
    if (other != NULL) return merge(join, config, other, span, bytes, origin, now_ns);
    uint64_t patience_ns = !ended ? config->merge_wait_ns : is_weighed(span) ? 0 : config->weight_wait_ns;
    if (patience_ns != 0 && hold(join, config, span, bytes, origin, ended, now_ns)) return WEIR_JOIN_WAITS;
    remember(join, span, bytes, ended, now_ns);
    return WEIR_JOIN_GOES_ON;
}

enum weir_join_verdict weir_join_offer(struct weir_join *join, const struct weir_scribe_config *config,
                                       const struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    struct weir_span *span = &batch->spans[i];
    bool is_scribe = span->receiver == WEIR_RECEIVER_SCRIBE, says = (span->flags & WEIR_SPAN_PRIOR) != 0;
    if ((is_scribe || says) && !open_tables(join, config)) return WEIR_JOIN_GOES_ON;
    if (says) {
        learn(join, span, now_ns);
    } else if (!is_weighed(span)) {
        find_rate(join, span, now_ns);
    }
    if (!is_scribe) return WEIR_JOIN_GOES_ON;
    return offer(join, config, span, batch->bytes + span->offset, batch->origins[span->origin], now_ns);
}

static void expire(struct weir_join *join, const struct list *list, uint64_t patience_ns, uint64_t now_ns) {
    while (list->oldest != NULL && now_ns - list->oldest->since_ns >= patience_ns)
        go_on(join, list->oldest, TIMEOUT, now_ns);
}

void weir_join_tick(struct weir_join *join, const struct weir_scribe_config *config, uint64_t now_ns) {
    expire(join, &join->parts, config->merge_wait_ns, now_ns);
    expire(join, &join->unweighed, config->weight_wait_ns, now_ns);
}

void weir_join_drain(struct weir_join *join, uint64_t now_ns) {
    const struct list *const lists[] = {&join->parts, &join->unweighed};
    for (int i = 0; i < 2; i++) {
        for (struct waiting *waiting = lists[i]->oldest, *newer; waiting != NULL; waiting = newer) {
            newer = waiting->newer;
            go_on(join, waiting, DRAIN, now_ns);
        }
    }
}

void weir_join_free(struct weir_join *join) {
    if (join == NULL) return;
    const struct list *const lists[] = {&join->parts, &join->unweighed};
    for (int i = 0; i < 2; i++) {
        for (struct waiting *waiting = lists[i]->oldest, *newer; waiting != NULL; waiting = newer) {
            newer = waiting->newer;
            forget(join, waiting);
        }
    }
    weir_join_memory_close(&join->rates);
    weir_join_memory_close(&join->gone);
    weir_buffer_free(&join->merged);
    weir_metrics_close(join->env.metrics, join->set);
    free(join->traces);
    free(join->spans);
    free(join);
}
