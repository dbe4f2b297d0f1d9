#include "exporters/splice.h"
#include "collector/core/wire.h"

#include <stdlib.h>

struct weir_splice_origin {
    uint64_t bytes;       /* of its spans, as fields */
    uint32_t count, next; /* of its spans; in `order`, where the next one goes */
};

static bool room(struct weir_splice *splice, uint32_t origins, uint32_t spans) {
    if (origins > splice->origin_capacity) {
        struct weir_splice_origin *grown = calloc(origins, sizeof *grown); /* nothing in it is needed */
        if (grown == NULL) return false;
        free(splice->origins);
        splice->origins = grown;
        uint32_t *met = realloc(splice->met, origins * sizeof *met);
        if (met == NULL) return false;
        splice->met = met;
        splice->origin_capacity = origins;
    }
    if (spans > splice->span_capacity) {
        uint32_t *order = realloc(splice->order, spans * sizeof *order);
        if (order == NULL) return false;
        splice->order = order;
        splice->span_capacity = spans;
    }
    return true;
}

static size_t text_size(size_t size) {
    return size == 0 ? 0 : weir_wire_bytes_size(size);
}

static enum weir_status put_origin(struct weir_splice *splice, const struct weir_batch *batch, uint32_t index,
                                   struct weir_buffer *out) {
    const struct weir_splice_origin *origin = &splice->origins[index];
    const struct weir_origin_parts *parts = &batch->origins[index]->parts;
    size_t scope_spans = text_size(parts->scope_size) + origin->bytes + text_size(parts->scope_url_size);
    size_t resource_spans =
        text_size(parts->resource_size) + weir_wire_bytes_size(scope_spans) + text_size(parts->resource_url_size);
    if (!weir_buffer_room(out, weir_wire_bytes_size(resource_spans))) return WEIR_FULL;
    uint8_t *at = out->bytes + out->size;
    at = weir_wire_put_varint(weir_wire_put_key(at, 1, WEIR_WIRE_BYTES), resource_spans);
    if (parts->resource_size > 0) at = weir_wire_put_bytes(at, 1, parts->resource, parts->resource_size);
    at = weir_wire_put_varint(weir_wire_put_key(at, 2, WEIR_WIRE_BYTES), scope_spans);
    if (parts->scope_size > 0) at = weir_wire_put_bytes(at, 1, parts->scope, parts->scope_size);
    for (uint32_t i = origin->next - origin->count; i < origin->next; i++) { /* next is behind its last by now */
        const struct weir_span *span = &batch->spans[splice->order[i]];
        at = weir_wire_put_bytes(at, 2, batch->bytes + span->offset, span->size);
    }
    if (parts->scope_url_size > 0) at = weir_wire_put_bytes(at, 3, parts->scope_url, parts->scope_url_size);
    if (parts->resource_url_size > 0) at = weir_wire_put_bytes(at, 3, parts->resource_url, parts->resource_url_size);
    out->size = (size_t)(at - out->bytes);
    return WEIR_OK;
}

/* which NULL: the first `count`. */
static enum weir_status encode(struct weir_splice *splice, const struct weir_batch *batch, const uint32_t *which,
                               uint32_t count, struct weir_buffer *out) {
    if (!room(splice, batch->origin_count, count)) return WEIR_FULL;
    /* Counting sort by origin: how many bytes each needs, where its spans start in `order`. */
    uint32_t met = 0, start = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_span *span = &batch->spans[which != NULL ? which[i] : i];
        struct weir_splice_origin *origin = &splice->origins[span->origin];
        if (origin->count++ == 0) splice->met[met++] = span->origin;
        origin->bytes += weir_wire_bytes_size(span->size);
    }
    for (uint32_t i = 0; i < met; i++) {
        struct weir_splice_origin *origin = &splice->origins[splice->met[i]];
        origin->next = start;
        start += origin->count;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = which != NULL ? which[i] : i;
        splice->order[splice->origins[batch->spans[index].origin].next++] = index;
    }
    enum weir_status status = WEIR_OK;
    for (uint32_t i = 0; i < met; i++) {
        if (status == WEIR_OK) status = put_origin(splice, batch, splice->met[i], out);
        splice->origins[splice->met[i]] = (struct weir_splice_origin){0};
    }
    return status;
}

enum weir_status weir_splice_encode(struct weir_splice *splice, const struct weir_batch *batch,
                                    struct weir_buffer *out) {
    return encode(splice, batch, NULL, batch->span_count, out);
}

enum weir_status weir_splice_encode_some(struct weir_splice *splice, const struct weir_batch *batch,
                                         const uint32_t *which, uint32_t count, struct weir_buffer *out) {
    return encode(splice, batch, which, count, out);
}

void weir_splice_free(struct weir_splice *splice) {
    free(splice->origins);
    free(splice->met);
    free(splice->order);
    *splice = (struct weir_splice){0};
}
