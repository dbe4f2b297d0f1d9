#include "collector/core/batch.h"
#include "collector/core/block.h"

#include <stdlib.h>
#include <string.h>

struct weir_batch *weir_batch_new(struct weir_budget *budget, size_t bytes_capacity) {
    size_t reserve = sizeof(struct weir_batch) + bytes_capacity;
    if (!weir_budget_reserve(budget, reserve)) return NULL;
    struct weir_batch *batch = calloc(1, sizeof *batch);
    uint8_t *bytes = bytes_capacity > 0 ? weir_block_get(bytes_capacity) : NULL;
    if (batch == NULL || (bytes == NULL && bytes_capacity > 0)) {
        free(batch);
        weir_block_put(bytes, bytes_capacity);
        weir_budget_release(budget, reserve);
        return NULL;
    }
    atomic_init(&batch->refs, 1);
    batch->budget = budget;
    batch->reserved_bytes = reserve;
    batch->bytes = bytes;
    batch->capacity = bytes_capacity;
    return batch;
}

/* Grows one of the batch's arrays by reservation first, memory second, so that a refusal changes nothing. */
static enum weir_status grow(struct weir_batch *batch, void **array, size_t element, size_t old_count,
                             size_t new_count) {
    size_t more = (new_count - old_count) * element;
    if (!weir_budget_reserve(batch->budget, more)) return WEIR_FULL;
    void *grown = weir_block_resize(*array, old_count * element, new_count * element);
    if (grown == NULL) {
        weir_budget_release(batch->budget, more);
        return WEIR_FULL;
    }
    batch->reserved_bytes += more;
    *array = grown;
    return WEIR_OK;
}

enum weir_status weir_batch_room(struct weir_batch *batch, size_t bytes) {
    if (bytes <= batch->capacity - batch->size) return WEIR_OK;
    size_t want = batch->size + bytes;
    if (want < bytes || want > UINT32_MAX) return WEIR_FULL; /* offsets have 32 bits */
    size_t capacity = batch->capacity < 4096 ? 4096 : batch->capacity;
    while (capacity < want)
        capacity *= 2;
    void *array = batch->bytes;
    if (grow(batch, &array, 1, batch->capacity, capacity) != WEIR_OK) {
        if (grow(batch, &array, 1, batch->capacity, want) != WEIR_OK) return WEIR_FULL;
        capacity = want;
    }
    batch->bytes = array;
    batch->capacity = capacity;
    return WEIR_OK;
}

enum weir_status weir_batch_span_room(struct weir_batch *batch, uint32_t spans) {
    if (spans <= batch->span_capacity - batch->span_count) return WEIR_OK;
    uint64_t want = (uint64_t)batch->span_count + spans;
    uint64_t capacity = batch->span_capacity < 16 ? 16 : batch->span_capacity;
    while (capacity < want)
        capacity *= 2;
    if (capacity > UINT32_MAX / 2) return WEIR_FULL;
    void *array = batch->spans;
    if (grow(batch, &array, sizeof *batch->spans, batch->span_capacity, capacity) != WEIR_OK) return WEIR_FULL;
    batch->spans = array;
    batch->span_capacity = (uint32_t)capacity;
    return WEIR_OK;
}

enum weir_status weir_batch_add(struct weir_batch *batch, const struct weir_span *span) {
    if (batch->span_count == batch->span_capacity && weir_batch_span_room(batch, 1) != WEIR_OK) return WEIR_FULL;
    batch->spans[batch->span_count++] = *span;
    batch->span_bytes += span->size;
    return WEIR_OK;
}

enum weir_status weir_batch_origin(struct weir_batch *batch, struct weir_origin *origin, uint16_t *index) {
    for (uint32_t i = batch->origin_count; i-- > 0;) { /* the last one is the likeliest */
        const struct weir_origin *held = batch->origins[i];
        if (held == origin) {
            *index = (uint16_t)i;
            return WEIR_OK;
        }
        if (batch->origin_count - i >= 64) break; /* a duplicate row costs less than a long search */
    }
    return weir_batch_add_origin(batch, origin, index);
}

enum weir_status weir_batch_add_origin(struct weir_batch *batch, struct weir_origin *origin, uint16_t *index) {
    if (batch->origin_count >= UINT16_MAX) return WEIR_FULL;
    size_t bytes = weir_origin_memory(origin);
    if (!weir_budget_reserve(batch->budget, bytes)) return WEIR_FULL;
    if (batch->origin_count == batch->origin_capacity) {
        uint32_t capacity = batch->origin_capacity == 0 ? 4 : batch->origin_capacity * 2;
        void *array = (void *)batch->origins;
        if (grow(batch, &array, sizeof(void *), batch->origin_capacity, capacity) != WEIR_OK) {
            weir_budget_release(batch->budget, bytes);
            return WEIR_FULL;
        }
        batch->origins = array;
        batch->origin_capacity = capacity;
    }
    batch->reserved_bytes += bytes;
    batch->origin_bytes += bytes;
    *index = (uint16_t)batch->origin_count;
    batch->origins[batch->origin_count++] = weir_origin_ref(origin);
    return WEIR_OK;
}

enum weir_status weir_batch_copy(struct weir_batch *to, const struct weir_batch *from, uint32_t i) {
    struct weir_span span = from->spans[i];
    uint16_t origin;
    if (weir_batch_room(to, span.size) != WEIR_OK || weir_batch_span_room(to, 1) != WEIR_OK ||
        weir_batch_origin(to, from->origins[span.origin], &origin) != WEIR_OK) {
        return WEIR_FULL;
    }
    memcpy(to->bytes + to->size, from->bytes + span.offset, span.size);
    span.offset = (uint32_t)to->size;
    span.origin = origin;
    to->size += span.size;
    return weir_batch_add(to, &span);
}

void weir_batch_truncate(struct weir_batch *batch, uint32_t span_count, size_t size) {
    while (batch->span_count > span_count)
        batch->span_bytes -= batch->spans[--batch->span_count].size;
    if (batch->size > size) batch->size = size;
}

/* To new_count, when that is less than half: a block that is nearly full serves the next batch as it is. The count that
 * it has room for now. */
static size_t shrink(struct weir_batch *batch, void **array, size_t element, size_t old_count, size_t new_count) {
    if (2 * new_count >= old_count) return old_count;
    void *smaller = NULL;
    if (new_count == 0) {
        weir_block_put(*array, old_count * element);
    } else if ((smaller = weir_block_resize(*array, old_count * element, new_count * element)) == NULL) {
        return old_count; /* as it was */
    }
    size_t less = (old_count - new_count) * element;
    *array = smaller;
    batch->reserved_bytes -= less;
    weir_budget_release(batch->budget, less);
    return new_count;
}

void weir_batch_trim(struct weir_batch *batch) {
    void *bytes = batch->bytes, *spans = batch->spans;
    batch->capacity = shrink(batch, &bytes, 1, batch->capacity, batch->size);
    batch->span_capacity =
        (uint32_t)shrink(batch, &spans, sizeof *batch->spans, batch->span_capacity, batch->span_count);
    batch->bytes = bytes;
    batch->spans = spans;
}

size_t weir_batch_memory(const struct weir_batch *batch) {
    return batch->reserved_bytes;
}

void weir_batch_leave(struct weir_batch *batch) {
    atomic_store_explicit(&batch->left, true, memory_order_relaxed);
}

struct weir_batch *weir_batch_ref(struct weir_batch *batch) {
    atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
    return batch;
}

void weir_batch_unref(struct weir_batch *batch) {
    if (batch == NULL || atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) != 1) return;
    if (batch->gone != NULL && !atomic_load_explicit(&batch->left, memory_order_relaxed))
        batch->gone(batch->gone_self, batch->gone_token);
    for (uint32_t i = 0; i < batch->origin_count; i++)
        weir_origin_unref(batch->origins[i]);
    weir_block_put((void *)batch->origins, batch->origin_capacity * sizeof(void *));
    weir_block_put(batch->spans, batch->span_capacity * sizeof *batch->spans);
    weir_block_put(batch->bytes, batch->capacity);
    weir_budget_release(batch->budget, batch->reserved_bytes);
    free(batch);
}
