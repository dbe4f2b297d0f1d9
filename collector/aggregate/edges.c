#include "collector/aggregate/histogram.h"
#include "collector/aggregate/series.h"

#include <assert.h>
#include <stdlib.h>

/* One side of a call that waits for the other. Both know (trace, id of the client's span): the server has it as its
 * parent. */
struct side {
    uint64_t trace_lo, client_id;
    uint64_t duration_ns, born_ns;
    double weight;
    uint32_t service, peer;
    uint32_t chain;        /* the next of the same slot; 0 = none */
    uint32_t older, newer; /* 0 = none; all wait equally long, so the oldest is due first */
    uint8_t kind;
    bool failed;
};

struct weir_waiting {
    struct side *sides; /* [1..capacity]; those that are not in use are chained from `unused` */
    uint32_t *slots;    /* [capacity] */
    uint32_t capacity;  /* a power of two */
    uint32_t count, unused, oldest, newest;
};

enum {
    CAPACITY_MIN = 64,
    SERVERS_MAX = 16, /* that wait for one client: more are not hedged calls but one span sent over and over */
};

static bool resize(struct weir_waiting *waiting, uint32_t capacity);

struct weir_waiting *weir_waiting_new(void) {
    struct weir_waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting != NULL && resize(waiting, CAPACITY_MIN)) return waiting;
    free(waiting);
    return NULL;
}

void weir_waiting_free(struct weir_waiting *waiting) {
    if (waiting == NULL) return;
    free(waiting->sides);
    free(waiting->slots);
    free(waiting);
}

static uint32_t *slot_of(const struct weir_waiting *waiting, uint64_t trace_lo, uint64_t client_id) {
    return &waiting->slots[weir_mix(trace_lo ^ client_id * 0x9e3779b97f4a7c15ull) & (waiting->capacity - 1)];
}

/* Room for `capacity`; what waits moves over in its order. */
static bool resize(struct weir_waiting *waiting, uint32_t capacity) {
    struct weir_waiting fresh = {.capacity = capacity};
    static_assert(sizeof(struct side) == 64, "one cache line");
    fresh.sides = aligned_alloc(64, (capacity + 1ull) * sizeof *fresh.sides);
    fresh.slots = calloc(capacity, sizeof *fresh.slots);
    if (fresh.sides == NULL || fresh.slots == NULL) {
        free(fresh.sides);
        free(fresh.slots);
        return false;
    }
    for (uint32_t from = waiting->oldest; from != 0; from = waiting->sides[from].newer) {
        uint32_t to = ++fresh.count;
        struct side *side = &fresh.sides[to];
        *side = waiting->sides[from];
        side->older = to - 1;
        side->newer = to == waiting->count ? 0 : to + 1;
        uint32_t *slot = slot_of(&fresh, side->trace_lo, side->client_id);
        side->chain = *slot;
        *slot = to;
    }
    fresh.oldest = fresh.count > 0;
    fresh.newest = fresh.count;
    for (uint32_t i = capacity; i > fresh.count; i--) {
        fresh.sides[i].chain = fresh.unused;
        fresh.unused = i;
    }
    free(waiting->sides);
    free(waiting->slots);
    *waiting = fresh;
    return true;
}

static void enlist(struct weir_waiting *waiting, const struct side *what) {
    uint32_t at = waiting->unused;
    struct side *side = &waiting->sides[at];
    waiting->unused = side->chain;
    uint32_t *slot = slot_of(waiting, what->trace_lo, what->client_id);
    *side = *what;
    side->chain = *slot;
    *slot = at;
    side->older = waiting->newest;
    side->newer = 0;
    if (waiting->newest != 0) waiting->sides[waiting->newest].newer = at;
    if (waiting->oldest == 0) waiting->oldest = at;
    waiting->newest = at;
    waiting->count++;
}

static void delist(struct weir_waiting *waiting, uint32_t at) {
    struct side *side = &waiting->sides[at];
    uint32_t *link = slot_of(waiting, side->trace_lo, side->client_id);
    while (*link != at)
        link = &waiting->sides[*link].chain;
    *link = side->chain;
    *(side->older != 0 ? &waiting->sides[side->older].newer : &waiting->oldest) = side->newer;
    *(side->newer != 0 ? &waiting->sides[side->newer].older : &waiting->newest) = side->older;
    side->chain = waiting->unused;
    waiting->unused = at;
    waiting->count--;
}

/* ---- the series of a call ---- */

enum { EDGE_LABELS_MAX = 2 * (2 + 16 + WEIR_NAME_BYTES_MAX) };

static struct weir_edge_series *series_of(struct weir_shard *shard, uint32_t client, uint32_t server) {
    uint64_t hash = weir_mix((uint64_t)client << 32 | server);
    struct weir_series *at;
    for (uint32_t i = weir_index_start(&shard->edges, hash); (at = weir_index_next(&shard->edges, hash, &i)) != NULL;) {
        struct weir_edge_series *series = (struct weir_edge_series *)at;
        if (series->client == client && series->server == server) return series;
    }
    uint8_t labels[EDGE_LABELS_MAX];
    size_t size;
    const char *name = weir_names_text(shard->names, client, &size);
    uint32_t labels_size = weir_label_put(labels, 0, "client", name, size, shard->config->label_value_bytes_max);
    name = weir_names_text(shard->names, server, &size);
    labels_size = weir_label_put(labels, labels_size, "server", name, size, shard->config->label_value_bytes_max);
    size_t cells = WEIR_EDGE_BUCKETS + 2u * (shard->config->latency_bucket_count + 1);
    struct weir_edge_series *series =
        (struct weir_edge_series *)weir_shard_book(shard, &shard->edges, shard->aggregate->edges, hash, labels,
                                                   labels_size, sizeof *series + cells * sizeof(struct weir_cell));
    if (series == NULL) return NULL;
    bool own = series->head.hash == hash;
    series->client = own ? client : UINT32_MAX; /* overflow="true": found by no names */
    series->server = own ? server : UINT32_MAX;
    return series;
}

static void add_latency(const struct weir_shard *shard, struct weir_edge_series *series, enum weir_edge_cell sum,
                        uint64_t duration_ns, double weight) {
    uint32_t count = shard->config->latency_bucket_count;
    uint32_t first = WEIR_EDGE_BUCKETS + (sum == WEIR_EDGE_CLIENT_NS ? count + 1 : 0);
    weir_cell_add(&series->cells[sum], weight * (double)duration_ns);
    weir_cell_add(&series->cells[first + weir_bucket_of_ns(shard->latency_bounds_ns, count, duration_ns)], weight);
}

static struct weir_edge_series *count_call(struct weir_shard *shard, uint32_t client, uint32_t server,
                                           uint64_t trace_lo, double weight, bool failed, uint64_t now_ns) {
    struct weir_edge_series *series = series_of(shard, client, server);
    if (series == NULL) return NULL;
    series->head.used_ns = now_ns;
    weir_cell_add(&series->cells[WEIR_EDGE_REQUESTS], weight);
    if (failed) weir_cell_add(&series->cells[WEIR_EDGE_FAILED], weight);
    if (weight > 1) {
        double variance = weir_shard_variance(shard, trace_lo, series->head.hash, weight);
        weir_cell_add(&series->cells[WEIR_EDGE_REQUESTS_VARIANCE], variance);
        if (failed) {
            /* A count of its own: of the trace's calls on this edge only some failed. */
            variance = weir_shard_variance(shard, trace_lo, ~series->head.hash, weight);
            weir_cell_add(&series->cells[WEIR_EDGE_FAILED_VARIANCE], variance);
        }
    }
    return series;
}

static void count_pair(struct weir_shard *shard, const struct side *client, const struct side *server,
                       uint64_t now_ns) {
    /* Both were kept with the smaller of the two probabilities: consistent sampling keeps by one random number of the
     * trace. */
    double weight = client->weight > server->weight ? client->weight : server->weight;
    bool failed = client->failed || server->failed;
    struct weir_edge_series *series =
        count_call(shard, client->service, server->service, client->trace_lo, weight, failed, now_ns);
    if (series == NULL) return;
    add_latency(shard, series, WEIR_EDGE_CLIENT_NS, client->duration_ns, weight);
    add_latency(shard, series, WEIR_EDGE_SERVER_NS, server->duration_ns, weight);
}

/* A client whose server says nothing knows at least whom it called. A server whose client says nothing does not. */
static void count_alone(struct weir_shard *shard, const struct side *side, uint64_t now_ns) {
    weir_count(shard->metrics, side->kind == WEIR_KIND_CLIENT ? WEIR_EDGES_ALONE_CLIENT : WEIR_EDGES_ALONE_SERVER, 1);
    if (side->kind != WEIR_KIND_CLIENT || side->peer == WEIR_NAME_NONE) return;
    struct weir_edge_series *series =
        count_call(shard, side->service, side->peer, side->trace_lo, side->weight, side->failed, now_ns);
    if (series != NULL) add_latency(shard, series, WEIR_EDGE_CLIENT_NS, side->duration_ns, side->weight);
}

static void give_up_oldest(struct weir_shard *shard, uint64_t now_ns) {
    struct weir_waiting *waiting = shard->waiting;
    uint32_t at = waiting->oldest;
    count_alone(shard, &waiting->sides[at], now_ns);
    delist(waiting, at);
    /* The next two: they have waited longer than caches remember. */
    const struct side *next = &waiting->sides[waiting->oldest];
    if (waiting->oldest == 0) return;
    __builtin_prefetch(slot_of(waiting, next->trace_lo, next->client_id), 1);
    __builtin_prefetch(&waiting->sides[next->newer], 1);
}

static void make_room(struct weir_shard *shard, uint64_t now_ns) {
    struct weir_waiting *waiting = shard->waiting;
    bool bound = waiting->count >= shard->config->edges_max;
    if (!bound && (waiting->unused != 0 || resize(waiting, waiting->capacity * 2))) return;
    weir_count(shard->metrics, WEIR_EDGES_EARLY, 1);
    give_up_oldest(shard, now_ns);
}

void weir_shard_edge(struct weir_shard *shard, const struct weir_span *span, double weight, uint64_t now_ns) {
    bool client = span->kind == WEIR_KIND_CLIENT, shared = (span->flags & WEIR_SPAN_SHARED) != 0;
    uint64_t client_id = client || shared ? span->span_id : span->parent_id; /* B3 lets both sides have one id */
    if (client_id == 0 || (!client && !shared && (span->flags & WEIR_SPAN_ROOT) != 0)) return; /* nobody called it */
    struct weir_waiting *waiting = shard->waiting;
    struct side side = {.trace_lo = span->trace_lo,
                        .client_id = client_id,
                        .duration_ns = span->duration_ns,
                        .born_ns = now_ns,
                        .weight = weight,
                        .service = span->service,
                        .peer = span->peer,
                        .kind = span->kind,
                        .failed = span->status == WEIR_STATUS_ERROR};
    unsigned servers = 0;
    for (uint32_t at = *slot_of(waiting, side.trace_lo, client_id); at != 0; at = waiting->sides[at].chain) {
        const struct side *other = &waiting->sides[at];
        if (other->client_id != client_id || other->trace_lo != side.trace_lo) continue;
        if (other->kind == span->kind) {
            if (client) return; /* the same span a second time */
            if (++servers < SERVERS_MAX)
                continue; /* one more under one client: hedged, or retried below what is traced */
            weir_count(shard->metrics, WEIR_EDGES_ALONE_SERVER, 1);
            return;
        }
        count_pair(shard, client ? &side : other, client ? other : &side, now_ns);
        weir_count(shard->metrics, WEIR_EDGES_PAIRED, 1);
        delist(waiting, at);
        return;
    }
    make_room(shard, now_ns);
    enlist(waiting, &side);
}

void weir_shard_edge_prefetch(const struct weir_shard *shard, const struct weir_span *span, bool near) {
    const struct weir_waiting *waiting = shard->waiting;
    bool client = span->kind == WEIR_KIND_CLIENT;
    if (waiting == NULL || (!client && span->kind != WEIR_KIND_SERVER)) return;
    uint64_t client_id = client || (span->flags & WEIR_SPAN_SHARED) != 0 ? span->span_id : span->parent_id;
    const uint32_t *slot = slot_of(waiting, span->trace_lo, client_id);
    if (!near)
        __builtin_prefetch(slot, 1);
    else
        __builtin_prefetch(&waiting->sides[*slot], 1);
}

void weir_shard_edges_expire(struct weir_shard *shard, uint32_t count, uint64_t now_ns) {
    struct weir_waiting *waiting = shard->waiting;
    if (waiting == NULL) return;
    for (uint32_t i = 0; i < count && waiting->oldest != 0; i++) {
        if (now_ns - waiting->sides[waiting->oldest].born_ns < shard->config->edge_wait_ns) break;
        give_up_oldest(shard, now_ns);
    }
    if (waiting->capacity > CAPACITY_MIN && waiting->count < waiting->capacity / 8)
        resize(waiting, waiting->capacity / 2);
    weir_gauge(shard->metrics, WEIR_EDGES_WAITING, waiting->count);
}
