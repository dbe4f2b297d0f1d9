/* register.c - operations, counters, histograms: handles of cells, and how these are called on the wire. */
#include "emitter/inside.h"
#include "emitter/wire.h"

#include <math.h>
#include <stdlib.h>

enum { NAME = 1, LABELS = 2, LABEL_NAME = 1, LABEL_VALUE = 2, BOUNDS = 4 }; /* Counter, Histogram, Label */
enum { SPAN_NAME = 5, HEAD_BYTES_MAX = 8192, COUNTER_TAIL = 3 + 11, HISTOGRAM_TAIL = 3 + 9 + 3, COUNT_BYTES = 10 };

static uint8_t *put_label(uint8_t *at, const uint8_t *limit, const char *name, const char *value) {
    size_t name_size = strlen(name), value_size = strlen(value);
    if (name_size == 0 || name_size > NAME_BYTES_MAX || value_size > NAME_BYTES_MAX) return NULL;
    size_t size = 2 + length_size(name_size) + name_size + length_size(value_size) + value_size;
    if (size + 3 > (size_t)(limit - at)) return NULL;
    at = put_length(put_key(at, LABELS, WIRE_BYTES), size);
    at = put_text(at, LABEL_NAME, name, name_size);
    return put_text(at, LABEL_VALUE, value, value_size);
}

/* Name and labels. Returns the size, 0: no name that can be. */
static size_t put_head(uint8_t head[HEAD_BYTES_MAX], const char *name, const struct weir_emit_label *labels,
                       size_t count) {
    size_t size = name != NULL ? strlen(name) : 0;
    if (size == 0 || size > METRIC_BYTES_MAX || count > LABELS_MAX || strncmp(name, "weir_", 5) == 0) return 0;
    uint8_t *at = put_text(head, NAME, name, size);
    for (size_t i = 0; i < count && at != NULL; i++)
        at = put_label(at, head + HEAD_BYTES_MAX, labels[i].name, labels[i].value);
    return at != NULL ? (size_t)(at - head) : 0;
}

static struct entry *find(struct weir_emit *emit, const uint8_t *head, size_t size) {
    uint32_t count = atomic_load_explicit(&emit->entry_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct entry *entry = &emit->entries[i];
        if (entry->head_size == size && memcmp(entry->head, head, size) == 0) return entry;
    }
    return NULL;
}

static struct handle handle_of(struct weir_emit *emit, uint32_t cell) {
    return (struct handle){.emit = emit, .run = emit->id, .index = emit->index, .cell = cell};
}

void register_entered(struct weir_emit *emit) {
    for (uint32_t i = 0; i < atomic_load(&emit->entry_count); i++)
        emit->entries[i].counter.handle = handle_of(emit, emit->entries[i].cell);
    for (uint32_t i = 0; i < atomic_load(&emit->operation_count); i++)
        emit->operations[i].handle = handle_of(emit, emit->operations[i].handle.cell);
}

/* Under lock. cells: so many new ones, or own_cell. NULL: no room. */
static struct entry *add(struct weir_emit *emit, const uint8_t *head, size_t size, uint32_t cells, uint32_t own_cell,
                         struct weir_emit_histogram *histogram) {
    uint32_t count = atomic_load_explicit(&emit->entry_count, memory_order_relaxed);
    if (count == emit->options.cells_max || (own_cell == 0 && cells > emit->options.cells_max - emit->cell_count))
        return NULL;
    struct entry *entry = &emit->entries[count];
    entry->head = malloc(size);
    if (entry->head == NULL) return NULL;
    memcpy(entry->head, head, size);
    entry->head_size = (uint32_t)size;
    entry->cell = own_cell != 0 ? own_cell : emit->cell_count;
    entry->counts = histogram != NULL ? cells - 1 : 0;
    entry->counter.handle = handle_of(emit, entry->cell);
    entry->histogram = histogram;
    if (histogram != NULL) histogram->handle = entry->counter.handle;
    if (own_cell == 0) emit->cell_count += cells;
    atomic_store_explicit(&emit->entry_count, count + 1, memory_order_release);
    return entry;
}

/* Under lock. */
static struct entry *counter(struct weir_emit *emit, const char *name, const struct weir_emit_label *labels,
                             size_t label_count, uint32_t own_cell) {
    uint8_t head[HEAD_BYTES_MAX];
    size_t size = put_head(head, name, labels, label_count);
    if (size == 0 || size + COUNTER_TAIL > pack_room_max(emit->options.datagram_bytes, emit->resource_size))
        return NULL;
    struct entry *known = find(emit, head, size);
    if (known != NULL) return known->counts == 0 ? known : NULL;
    return add(emit, head, size, 1, own_cell, NULL);
}

bool register_own(struct weir_emit *emit) {
    static const struct {
        enum cell cell;
        const char *name, *label, *value;
    } own[] = {
        {CELL_SPANS, "emitter_spans_total", NULL, NULL},
        {CELL_FULL, "emitter_dropped_total", "reason", "full"},
        {CELL_LARGE, "emitter_dropped_total", "reason", "large"},
        {CELL_THREADS, "emitter_dropped_total", "reason", "threads"},
        {CELL_INVALID, "emitter_dropped_total", "reason", "invalid"},
        {CELL_CUT, "emitter_cut_texts_total", NULL, NULL},
        {CELL_SENSELESS, "emitter_senseless_observations_total", NULL, NULL},
        {CELL_UNSENT_REFUSED, "emitter_unsent_total", "reason", "refused"},
        {CELL_UNSENT_FULL, "emitter_unsent_total", "reason", "full"},
        {CELL_UNSENT_FAILED, "emitter_unsent_total", "reason", "failed"},
        {CELL_ASKS, "emitter_asks_total", NULL, NULL},
        {CELL_VERDICTS + POLICY_TAKEN, "emitter_answers_total", "verdict", "taken"},
        {CELL_VERDICTS + POLICY_MALFORMED, "emitter_answers_total", "verdict", "malformed"},
        {CELL_VERDICTS + POLICY_SIGNATURE, "emitter_answers_total", "verdict", "signature"},
        {CELL_VERDICTS + POLICY_NONCE, "emitter_answers_total", "verdict", "nonce"},
        {CELL_VERDICTS + POLICY_LARGE, "emitter_answers_total", "verdict", "large"},
        {CELL_VERDICTS + POLICY_SAME, "emitter_answers_total", "verdict", "same"},
        {CELL_RESTARTS, "emitter_restarts_total", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        struct weir_emit_label labels[2] = {{"service", emit->service}, {own[i].label, own[i].value}};
        if (counter(emit, own[i].name, labels, own[i].label != NULL ? 2 : 1, own[i].cell) == NULL) return false;
    }
    return weir_emit_operation(emit, "other") != NULL;
}

/* ---- handles ---- */

/* Under lock. NULL: no room. */
static struct operation *new_operation(struct weir_emit *emit, const char *name, size_t size) {
    uint32_t count = atomic_load_explicit(&emit->operation_count, memory_order_relaxed);
    struct weir_emit_label labels[2] = {{"service", emit->service}, {"operation", name}};
    uint8_t *field = malloc(size + 3);
    if (field == NULL) return NULL;
    struct entry *entry =
        count <= emit->options.operations_max ? counter(emit, "emitter_requests_total", labels, 2, 0) : NULL;
    if (entry == NULL) {
        free(field);
        return NULL;
    }
    struct operation *operation = &emit->operations[count];
    operation->handle = entry->counter.handle;
    operation->name = field;
    operation->name_size = (uint32_t)(put_text(field, SPAN_NAME, name, size) - field);
    /* As all have of which Weir said nothing; the first is made before there is a thread. */
    uint64_t threshold = count > 0 ? weir_emit_threshold(&emit->operations[0].open) : emit->policy.threshold;
    __atomic_store_n(&operation->open.threshold, threshold, __ATOMIC_RELAXED);
    atomic_store_explicit(&emit->operation_count, count + 1, memory_order_release);
    return operation;
}

static struct operation *find_operation(const struct weir_emit *emit, const char *name, size_t size) {
    uint32_t count = atomic_load_explicit(&emit->operation_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct operation *operation = &emit->operations[i];
        size_t head = 1 + length_size(size);
        if (operation->name_size == head + size && memcmp(operation->name + head, name, size) == 0) return operation;
    }
    return NULL;
}

struct weir_emit_operation *weir_emit_operation(struct weir_emit *emit, const char *name) {
    size_t size = name != NULL ? strlen(name) : 0;
    struct operation *operation = NULL;
    if (emit->disabled) return &emit->operations[0].open;
    pthread_mutex_lock(&emit->lock);
    if (size > 0 && size <= NAME_BYTES_MAX) {
        operation = find_operation(emit, name, size);
        if (operation == NULL) operation = new_operation(emit, name, size);
    }
    if (operation == NULL && atomic_load(&emit->operation_count) > 0) operation = &emit->operations[0];
    pthread_mutex_unlock(&emit->lock);
    return operation != NULL ? &operation->open : NULL;
}

struct weir_emit_counter *weir_emit_counter(struct weir_emit *emit, const char *name,
                                            const struct weir_emit_label *labels, size_t label_count) {
    if (emit->disabled) return NULL;
    pthread_mutex_lock(&emit->lock);
    struct entry *entry = counter(emit, name, labels, label_count, 0);
    pthread_mutex_unlock(&emit->lock);
    return entry != NULL ? &entry->counter : NULL;
}

static bool ascend(const double *bounds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1])) return false;
    }
    return true;
}

struct weir_emit_histogram *weir_emit_histogram(struct weir_emit *emit, const char *name,
                                                const struct weir_emit_label *labels, size_t label_count,
                                                const double *bounds, size_t bound_count) {
    uint8_t head[HEAD_BYTES_MAX];
    if (emit->disabled || bound_count == 0 || bound_count > BOUNDS_MAX || !ascend(bounds, bound_count)) return NULL;
    size_t size = put_head(head, name, labels, label_count), bound_bytes = bound_count * sizeof *bounds;
    if (size == 0 || size + 3 + bound_bytes > sizeof head) return NULL;
    size = (size_t)(put_text(head + size, BOUNDS, bounds, bound_bytes) - head);
    size_t most = size + HISTOGRAM_TAIL + (bound_count + 1) * COUNT_BYTES;
    if (most > pack_room_max(emit->options.datagram_bytes, emit->resource_size)) return NULL;
    pthread_mutex_lock(&emit->lock);
    struct entry *entry = find(emit, head, size);
    if (entry == NULL) {
        struct weir_emit_histogram *histogram = aligned_alloc(RING_LINE, sizeof *histogram);
        if (histogram != NULL) {
            histogram->bound_count = (uint32_t)bound_count;
            histogram->blocks = (uint32_t)(bound_count + 7) / 8;
            memcpy(histogram->bounds, bounds, bound_bytes);
            for (size_t i = bound_count; i < BOUNDS_MAX; i++)
                histogram->bounds[i] = HUGE_VAL;
            entry = add(emit, head, size, (uint32_t)bound_count + 2, 0, histogram);
            if (entry == NULL) free(histogram);
        }
    }
    pthread_mutex_unlock(&emit->lock);
    return entry != NULL ? entry->histogram : NULL;
}
