#include "collector/lane/await.h"
#include "collector/core/clock.h"
#include "collector/lane/join_memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum cause { COMPLETE, TIMEOUT, MEMORY, DRAIN, HELD_BYTES, METRICS };
#define RELEASED(text)                                                                                                 \
    {                                                                                                                  \
        "weight_released_total", "cause=\"" text "\"", WEIR_COUNTER,                                                   \
            "Spans that waited for their trace's root to say what they stand for, by why they went on."                \
    }
static const struct weir_metric metrics[METRICS] = {
    [COMPLETE] = RELEASED("complete"),
    [TIMEOUT] = RELEASED("timeout"),
    [MEMORY] = RELEASED("memory"),
    [DRAIN] = RELEASED("drain"),
    [HELD_BYTES] = {"weight_held_bytes", NULL, WEIR_GAUGE,
                    "Memory of spans that wait for their trace's root to say what they stand for."},
};

struct waiting {
    struct waiting *older, *newer;
    struct waiting *next, **slot; /* of one bucket */
    uint64_t since_ns;
    struct weir_origin *origin;
    struct weir_span span; /* offset 0, origin 0 */
    uint8_t bytes[];
};

enum {
    MALLOC_BYTES = 16,
    BUCKET_SPAN_BYTES = 512, /* a bucket for so much of what may wait */
};

struct list {
    struct waiting *oldest, *newest;
};

struct weir_await {
    struct weir_await_env env;
    struct weir_metric_set *set;
    uint64_t seed;
    struct list roots, others;
    struct waiting **buckets; /* NULL until the first span */
    uint64_t bucket_mask;
    size_t held_bytes, table_bytes;
    struct weir_join_memory priors; /* of traces: what their roots said, as bits_of() has it */
};

struct weir_await *weir_await_new(const struct weir_await_env *env) {
    struct weir_await *await = calloc(1, sizeof *await);
    if (await == NULL) return NULL;
    await->env = *env;
    await->set = weir_metrics_open(env->metrics, metrics, METRICS, NULL);
    if (await->set == NULL) {
        free(await);
        return NULL;
    }
    /* Without it who knows the function fills one bucket. */
    if (getrandom(&await->seed, sizeof await->seed, GRND_NONBLOCK) != sizeof await->seed)
        await->seed = (uint64_t)(uintptr_t)await;
    return await;
}

/* The first span opens the tables: a quarter is for what roots said. */
static bool open_tables(struct weir_await *await, const struct weir_weight_config *config) {
    if (await->buckets != NULL) return true;
    size_t buckets = 64;
    while (buckets * 2 * BUCKET_SPAN_BYTES <= config->memory_bytes)
        buckets *= 2;
    if (await->priors.slots == NULL && !weir_join_memory_open(&await->priors, config->memory_bytes / 4)) return false;
    await->buckets = calloc(buckets, sizeof(struct waiting *));
    if (await->buckets == NULL) return false;
    await->bucket_mask = buckets - 1;
    await->table_bytes = weir_join_memory_bytes(&await->priors) + buckets * sizeof(struct waiting *);
    return true;
}

/* Source: MurmurHash3's 64-bit finalizer; every bit of the id moves every bit of the key. */
static uint64_t key_of(const struct weir_await *await, uint64_t trace_lo) {
    uint64_t x = trace_lo ^ await->seed;
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static size_t memory_of(const struct weir_span *span, const struct weir_origin *origin) {
    return sizeof(struct waiting) + MALLOC_BYTES + span->size + weir_origin_memory(origin);
}

static struct list *list_of(struct weir_await *await, const struct weir_span *span) {
    return span->flags & WEIR_SPAN_ROOT ? &await->roots : &await->others;
}

static void unlink_waiting(struct weir_await *await, struct waiting *waiting) {
    struct list *list = list_of(await, &waiting->span);
    *(waiting->older != NULL ? &waiting->older->newer : &list->oldest) = waiting->newer;
    *(waiting->newer != NULL ? &waiting->newer->older : &list->newest) = waiting->older;
    *waiting->slot = waiting->next;
    if (waiting->next != NULL) waiting->next->slot = waiting->slot;
    assert(await->roots.oldest != waiting && await->others.oldest != waiting);
    await->held_bytes -= memory_of(&waiting->span, waiting->origin);
    weir_gauge(await->set, HELD_BYTES, await->held_bytes);
}

static void free_waiting(struct waiting *waiting) {
    weir_origin_unref(waiting->origin);
    free(waiting);
}

static const struct weir_said_weight nothing = {.source = WEIR_WEIGHT_UNKNOWN};

static struct weir_batch batch_of(struct waiting *waiting) {
    return (struct weir_batch){.bytes = waiting->bytes,
                               .size = waiting->span.size,
                               .capacity = waiting->span.size,
                               .spans = &waiting->span,
                               .span_count = 1,
                               .span_capacity = 1,
                               .origins = &waiting->origin,
                               .origin_count = 1,
                               .origin_capacity = 1};
}

/* A root that goes on tells others of its trace meanwhile. */
static void go_on(struct weir_await *await, struct waiting *waiting, const struct weir_said_weight *said,
                  enum cause cause) {
    struct weir_batch one = batch_of(waiting);
    unlink_waiting(await, waiting);
    weir_count(await->set, cause, 1);
    await->env.go_on(await->env.self, &one, 0, said);
    free_waiting(waiting);
}

static struct waiting *oldest_of(const struct weir_await *await) {
    struct waiting *root = await->roots.oldest, *other = await->others.oldest;
    if (root == NULL || other == NULL) return root != NULL ? root : other;
    return root->since_ns <= other->since_ns ? root : other;
}

/* A copy waits. False: there is no room for it. */
static bool hold(struct weir_await *await, const struct weir_weight_config *config, const struct weir_batch *batch,
                 uint32_t i, uint64_t now_ns) {
    const struct weir_span *span = &batch->spans[i];
    struct weir_origin *origin = batch->origins[span->origin];
    size_t more = memory_of(span, origin);
    size_t limit = config->memory_bytes > await->table_bytes ? config->memory_bytes - await->table_bytes : 0;
    if (more > limit) return false;
    struct waiting *waiting = malloc(sizeof *waiting + span->size);
    if (waiting == NULL) return false;
    while (await->held_bytes + more > limit)
        go_on(await, oldest_of(await), &nothing, MEMORY);
    waiting->span = *span;
    waiting->span.offset = 0;
    waiting->span.origin = 0;
    waiting->since_ns = now_ns;
    waiting->origin = weir_origin_ref(origin);
    memcpy(waiting->bytes, batch->bytes + span->offset, span->size);
    waiting->slot = &await->buckets[key_of(await, span->trace_lo) & await->bucket_mask];
    waiting->next = *waiting->slot;
    if (waiting->next != NULL) waiting->next->slot = &waiting->next;
    *waiting->slot = waiting;
    struct list *list = list_of(await, span);
    waiting->older = list->newest;
    waiting->newer = NULL;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = waiting;
    list->newest = waiting;
    await->held_bytes += more;
    weir_gauge(await->set, HELD_BYTES, await->held_bytes);
    return true;
}

/* The two lowest bits of the number say the rest: one part in 2^50 less of what a trace carries. */
static uint64_t bits_of(const struct weir_said_weight *said) {
    uint64_t bits;
    memcpy(&bits, &said->prior, sizeof bits);
    return (bits & ~3ull) | (said->by_id ? 2u : 0u) | (said->source == WEIR_WEIGHT_TRACE ? 1u : 0u);
}

static struct weir_said_weight said_by(uint64_t value) {
    struct weir_said_weight said = {.source = value & 1 ? WEIR_WEIGHT_TRACE : WEIR_WEIGHT_POLICY,
                                    .by_id = (value & 2) != 0};
    value &= ~3ull;
    memcpy(&said.prior, &value, sizeof value);
    return said.prior > 0 ? said : nothing;
}

/* A trace has one root. Where several say that they are (a client and a server that share an id), the one that knows
 * counts. */
void weir_await_tell(struct weir_await *await, const struct weir_weight_config *config, const struct weir_span *root,
                     const struct weir_said_weight *said, uint64_t now_ns) {
    if (!open_tables(await, config)) return;
    uint64_t key = key_of(await, root->trace_lo);
    const struct weir_join_slot *known = weir_join_memory_find(&await->priors, key, now_ns);
    if (known != NULL && said->source == WEIR_WEIGHT_UNKNOWN) return;
    weir_join_memory_set(&await->priors, key, bits_of(said), now_ns);
    for (struct waiting *waiting = await->buckets[key & await->bucket_mask], *next; waiting != NULL; waiting = next) {
        next = waiting->next;
        bool other = (waiting->span.flags & WEIR_SPAN_ROOT) == 0; /* another root has its own proxy */
        if (other && waiting->span.trace_lo == root->trace_lo) go_on(await, waiting, said, COMPLETE);
    }
}

enum weir_await_verdict weir_await_offer(struct weir_await *await, const struct weir_weight_config *config,
                                         const struct weir_batch *batch, uint32_t i, uint64_t now_ns,
                                         struct weir_said_weight *said) {
    *said = nothing;
    if (!open_tables(await, config)) return WEIR_AWAIT_KNOWN;
    uint64_t key = key_of(await, batch->spans[i].trace_lo);
    const struct weir_join_slot *known = weir_join_memory_find(&await->priors, key, now_ns);
    if (known != NULL) {
        *said = said_by(known->value);
        return WEIR_AWAIT_KNOWN;
    }
    if (config->wait_ns == 0 || !hold(await, config, batch, i, now_ns)) return WEIR_AWAIT_KNOWN;
    return WEIR_AWAIT_WAITS;
}

void weir_await_prefetch(const struct weir_await *await, const struct weir_span *span) {
    weir_join_memory_prefetch(&await->priors, key_of(await, span->trace_lo));
}

bool weir_await_hold_root(struct weir_await *await, const struct weir_weight_config *config,
                          const struct weir_batch *batch, uint32_t i, uint64_t now_ns) {
    return config->wait_ns > 0 && open_tables(await, config) && hold(await, config, batch, i, now_ns);
}

void weir_await_review(struct weir_await *await) {
    for (struct waiting *root = await->roots.oldest, *newer; root != NULL; root = newer) {
        struct weir_batch one = batch_of(root);
        newer = root->newer; /* going on lets no other root go */
        if (!await->env.expected(await->env.self, &one, 0)) go_on(await, root, &nothing, COMPLETE);
    }
}

static void expire(struct weir_await *await, const struct list *list, uint64_t wait_ns, uint64_t now_ns) {
    while (list->oldest != NULL && now_ns - list->oldest->since_ns >= wait_ns)
        go_on(await, list->oldest, &nothing, TIMEOUT);
}

/* Roots first: they may know more than those that wait for them. */
void weir_await_tick(struct weir_await *await, const struct weir_weight_config *config, uint64_t now_ns) {
    expire(await, &await->roots, config->wait_ns, now_ns);
    expire(await, &await->others, config->wait_ns, now_ns);
}

void weir_await_drain(struct weir_await *await) {
    while (await->roots.oldest != NULL)
        go_on(await, await->roots.oldest, &nothing, DRAIN);
    while (await->others.oldest != NULL)
        go_on(await, await->others.oldest, &nothing, DRAIN);
}

void weir_await_free(struct weir_await *await) {
    if (await == NULL) return;
    for (struct waiting *waiting = oldest_of(await); waiting != NULL; waiting = oldest_of(await)) {
        unlink_waiting(await, waiting);
        free_waiting(waiting);
    }
    weir_join_memory_close(&await->priors);
    weir_metrics_close(await->env.metrics, await->set);
    free((void *)await->buckets);
    free(await);
}
