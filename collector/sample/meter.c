/* Two tables of the lane's own, and a copy of the second that it adds to every 100 ms and that somebody else empties:
 *
 *   traces      by trace id, in sets of four: what came before the root, then which operation all that follows is of
 *   operations  by service and operation: what they brought about since the last tick
 *   out         the same, under the lock */
#include "collector/sample/meter.h"
#include "collector/core/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAYS = 4,
    SETS = WEIR_METER_TRACES / WAYS,
    SWEPT_A_TICK = SETS / 128,
    QUIET_MS = 60 * 1000,
    COUNT = WEIR_METER_OPERATIONS + 1, /* the first is for all that find no room */
    BUCKETS = 2 * WEIR_METER_OPERATIONS,
    TIDIED_EVERY_MS = 60 * 1000,
};
enum flag { HAS_ERROR = 1, USED = 2 };

/* Two cache lines: what is looked at, and what is added to. */
struct set {
    uint64_t ids[WAYS];
    uint32_t seen_ms[WAYS];
    uint32_t spans[WAYS];     /* before the root */
    double weight[WAYS];      /* of the root */
    uint32_t bytes[WAYS];     /* before the root; stays at its largest number */
    uint16_t operation[WAYS]; /* 1 + index; 0: no root came yet */
    uint8_t flags[WAYS];
};

struct operation {
    struct weir_control_load load;
    bool dirty, active; /* since the last tick; since operations were last tidied */
};

struct weir_meter {
    struct set *sets; /* in `memory`, on a cache line's border */
    void *memory;
    struct operation *operations;
    uint32_t count;
    uint16_t *buckets; /* 1 + index; linear probing, at most half full */
    uint16_t *dirty;
    uint32_t dirty_count, swept;
    uint32_t now_ms, tidied_ms;
    bool full;
    _Atomic uint64_t rootless;
    pthread_mutex_t lock;
    struct weir_control_load *out; /* under lock, with its count */
    uint32_t out_count;
};

struct weir_meter *weir_meter_new(void) {
    struct weir_meter *meter = calloc(1, sizeof *meter);
    if (meter == NULL) return NULL;
    pthread_mutex_init(&meter->lock, NULL);
    /* By calloc, whose pages cost nothing until a span comes. */
    meter->memory = calloc(SETS + 1, sizeof *meter->sets);
    meter->sets = (struct set *)(((uintptr_t)meter->memory + 63) & ~(uintptr_t)63);
    meter->operations = calloc(COUNT, sizeof *meter->operations);
    meter->out = calloc(COUNT, sizeof *meter->out);
    meter->buckets = calloc(BUCKETS, sizeof *meter->buckets);
    meter->dirty = calloc(COUNT, sizeof *meter->dirty);
    if (meter->memory == NULL || meter->operations == NULL || meter->out == NULL || meter->buckets == NULL ||
        meter->dirty == NULL) {
        weir_meter_free(meter);
        return NULL;
    }
    meter->operations[0].load.service = meter->operations[0].load.operation = WEIR_NAME_OVERFLOW;
    meter->count = 1;
    return meter;
}

void weir_meter_free(struct weir_meter *meter) {
    if (meter == NULL) return;
    pthread_mutex_destroy(&meter->lock);
    free(meter->memory);
    free(meter->operations);
    free(meter->out);
    free(meter->buckets);
    free(meter->dirty);
    free(meter);
}

/* ---- operations ---- */

static uint64_t mix(uint64_t key) {
    return (key ^ key >> 29) * 0x9e3779b97f4a7c15ull;
}

static uint16_t *bucket_of(const struct weir_meter *meter, uint32_t service, uint32_t operation) {
    uint64_t at = mix((uint64_t)service << 32 | operation) >> 32;
    for (;; at++) {
        uint16_t *bucket = &meter->buckets[at % BUCKETS];
        const struct weir_control_load *load = &meter->operations[*bucket > 0 ? *bucket - 1 : 0].load;
        if (*bucket == 0 || (load->service == service && load->operation == operation)) return bucket;
    }
}

static uint16_t find_operation(struct weir_meter *meter, uint32_t service, uint32_t operation) {
    if (service == WEIR_NAME_OVERFLOW && operation == WEIR_NAME_OVERFLOW) return 0;
    uint16_t *bucket = bucket_of(meter, service, operation);
    if (*bucket > 0) return (uint16_t)(*bucket - 1);
    if (meter->count == COUNT) {
        meter->full = true;
        return 0;
    }
    uint16_t index = (uint16_t)meter->count++;
    meter->operations[index] = (struct operation){.load = {.service = service, .operation = operation}};
    *bucket = (uint16_t)(index + 1);
    return index;
}

static struct weir_control_load *touch(struct weir_meter *meter, uint32_t index) {
    struct operation *operation = &meter->operations[index];
    if (!operation->dirty) {
        operation->dirty = operation->active = true;
        meter->dirty[meter->dirty_count++] = (uint16_t)index;
    }
    return &operation->load;
}

/* ---- traces ---- */

static inline struct set *set_of(const struct weir_meter *meter, uint64_t trace_lo) {
    return &meter->sets[mix(trace_lo) >> 40 & (SETS - 1)];
}

static void lose(struct weir_meter *meter, const struct set *set, int way) {
    if (set->operation[way] != 0 || set->spans[way] == 0) return;
    atomic_store_explicit(&meter->rootless,
                          atomic_load_explicit(&meter->rootless, memory_order_relaxed) + set->spans[way],
                          memory_order_relaxed);
}

static int way_of(struct weir_meter *meter, struct set *set, uint64_t trace_lo) {
    int oldest = 0;
    for (int way = 0; way < WAYS; way++) {
        if (set->ids[way] == trace_lo && (set->flags[way] & USED)) return way;
        if ((set->flags[way] & USED) == 0)
            oldest = way;
        else if ((set->flags[oldest] & USED) &&
                 meter->now_ms - set->seen_ms[way] > meter->now_ms - set->seen_ms[oldest])
            oldest = way;
    }
    lose(meter, set, oldest);
    set->ids[oldest] = trace_lo;
    set->spans[oldest] = set->bytes[oldest] = 0;
    set->operation[oldest] = 0;
    set->flags[oldest] = USED;
    return oldest;
}

/* The root came: what was remembered of its trace is its operation's. */
static void begin(struct weir_meter *meter, struct set *set, int way, const struct weir_span *root) {
    uint16_t index = find_operation(meter, root->service, root->operation);
    struct weir_control_load *load = touch(meter, index);
    double weight = weir_span_weight(root);
    set->operation[way] = (uint16_t)(index + 1);
    set->weight[way] = weight;
    load->roots += 1;
    load->traces += weight;
    load->seconds += weight * (double)root->duration_ns / (double)WEIR_S;
    load->spans += set->spans[way];
    load->bytes += set->bytes[way];
    if (set->flags[way] & HAS_ERROR) load->errors += weight;
}

static void remember(struct set *set, int way, uint32_t size) {
    if (set->spans[way] < UINT32_MAX) set->spans[way]++;
    set->bytes[way] = set->bytes[way] < UINT32_MAX - size ? set->bytes[way] + size : UINT32_MAX;
}

void weir_meter_prefetch(const struct weir_meter *meter, const struct weir_span *span) {
    const struct set *set = set_of(meter, span->trace_lo);
    __builtin_prefetch(set, 1);
    __builtin_prefetch((const char *)set + 64, 1);
}

void weir_meter_span(struct weir_meter *meter, const struct weir_span *span, uint64_t now_ns) {
    struct set *set = set_of(meter, span->trace_lo);
    meter->now_ms = (uint32_t)(now_ns / WEIR_MS);
    int way = way_of(meter, set, span->trace_lo);
    set->seen_ms[way] = meter->now_ms;
    bool error = span->status == WEIR_STATUS_ERROR, first_error = error && (set->flags[way] & HAS_ERROR) == 0;
    if (error) set->flags[way] |= HAS_ERROR;
    if (set->operation[way] == 0) {
        if (span->flags & WEIR_SPAN_ROOT) {
            begin(meter, set, way, span);
        } else {
            remember(set, way, span->size);
            return;
        }
    } else if (first_error) {
        touch(meter, set->operation[way] - 1u)->errors += set->weight[way];
    }
    struct weir_control_load *load = touch(meter, set->operation[way] - 1u);
    load->spans += 1;
    load->bytes += span->size;
}

void weir_meter_decided(struct weir_meter *meter, uint32_t service, uint32_t operation, bool kept) {
    struct weir_control_load *load = touch(meter, find_operation(meter, service, operation));
    load->decided += 1;
    if (kept) load->kept += 1;
}

uint64_t weir_meter_rootless(const struct weir_meter *meter) {
    return atomic_load_explicit(&meter->rootless, memory_order_relaxed);
}

/* ---- about every 100 ms ---- */

static void sweep(struct weir_meter *meter) {
    for (uint32_t i = 0; i < SWEPT_A_TICK; i++) {
        struct set *set = &meter->sets[meter->swept];
        meter->swept = (meter->swept + 1) % SETS;
        for (int way = 0; way < WAYS; way++) {
            if ((set->flags[way] & USED) == 0 || meter->now_ms - set->seen_ms[way] < QUIET_MS) continue;
            lose(meter, set, way);
            set->flags[way] = 0;
        }
    }
}

static void add(struct weir_control_load *to, const struct weir_control_load *from) {
    to->service = from->service;
    to->operation = from->operation;
    weir_control_load_add(to, from);
}

static bool is_empty(const struct weir_control_load *load) {
    return load->roots <= 0 && load->spans <= 0 && load->decided <= 0;
}

static void clear(struct weir_control_load *load) {
    *load = (struct weir_control_load){.service = load->service, .operation = load->operation};
}

/* Under the lock. */
static void hand_out(struct weir_meter *meter) {
    for (uint32_t i = 0; i < meter->dirty_count; i++) {
        struct operation *operation = &meter->operations[meter->dirty[i]];
        add(&meter->out[meter->dirty[i]], &operation->load);
        clear(&operation->load);
        operation->dirty = false;
    }
    meter->dirty_count = 0;
    meter->out_count = meter->count;
}

/* Operations that nobody has asked for of late make room for others. Under the lock, when nothing is dirty. */
static void tidy(struct weir_meter *meter) {
    uint16_t *moved = calloc(COUNT, sizeof *moved); /* 1 + index, from old to new; 0 = gone */
    if (moved == NULL) return;
    for (uint32_t i = 0; i < SETS * WAYS; i++) {
        const struct set *set = &meter->sets[i / WAYS];
        if ((set->flags[i % WAYS] & USED) && set->operation[i % WAYS] > 0)
            meter->operations[set->operation[i % WAYS] - 1].active = true;
    }
    uint32_t count = 1;
    moved[0] = 1;
    for (uint32_t i = 1; i < meter->count; i++) {
        if (!meter->operations[i].active && is_empty(&meter->out[i])) continue;
        meter->operations[count] = meter->operations[i];
        meter->operations[count].active = false;
        meter->out[count] = meter->out[i];
        moved[i] = (uint16_t)++count;
    }
    memset(meter->out + count, 0, (COUNT - count) * sizeof *meter->out);
    meter->count = meter->out_count = count;
    memset(meter->buckets, 0, BUCKETS * sizeof *meter->buckets);
    for (uint32_t i = 1; i < count; i++) {
        const struct weir_control_load *load = &meter->operations[i].load;
        *bucket_of(meter, load->service, load->operation) = (uint16_t)(i + 1);
    }
    for (uint32_t i = 0; i < SETS * WAYS; i++) {
        uint16_t *operation = &meter->sets[i / WAYS].operation[i % WAYS];
        if (*operation > 0) *operation = moved[*operation - 1];
    }
    free(moved);
    meter->full = false;
}

void weir_meter_tick(struct weir_meter *meter, uint64_t now_ns) {
    meter->now_ms = (uint32_t)(now_ns / WEIR_MS);
    sweep(meter);
    bool tidies = meter->full && meter->now_ms - meter->tidied_ms >= TIDIED_EVERY_MS;
    if (meter->dirty_count == 0 && !tidies) return;
    pthread_mutex_lock(&meter->lock);
    hand_out(meter);
    if (tidies) {
        meter->tidied_ms = meter->now_ms;
        tidy(meter);
    }
    pthread_mutex_unlock(&meter->lock);
}

void weir_meter_take(struct weir_meter *meter, void (*load)(void *self, const struct weir_control_load *load),
                     void *self) {
    pthread_mutex_lock(&meter->lock);
    for (uint32_t i = 0; i < meter->out_count; i++) {
        if (is_empty(&meter->out[i])) continue;
        load(self, &meter->out[i]);
        clear(&meter->out[i]);
    }
    pthread_mutex_unlock(&meter->lock);
}
