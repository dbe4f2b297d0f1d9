#include "exporters/file/splice.h"
#include "collector/core/wire.h"

#include <stdlib.h>

static bool room(struct weir_splice *splice, uint32_t origins, uint32_t spans) {
    if (origins > splice->origin_capacity) {
        uint64_t *bytes = realloc(splice->bytes, origins * sizeof *bytes);
        if (bytes == NULL) return false;
        splice->bytes = bytes;
        uint32_t *starts = realloc(splice->starts, origins * sizeof *starts);
        if (starts == NULL) return false;
        splice->starts = starts;
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

static size_t field_size(size_t size) { /* key of one byte (fields 1 to 15), length, bytes */
    return 1 + weir_wire_varint_size(size) + size;
}

static size_t text_size(size_t size) {
    return size == 0 ? 0 : field_size(size);
}

enum weir_status weir_splice_encode(struct weir_splice *splice, const struct weir_batch *batch,
                                    struct weir_buffer *out) {
    if (!room(splice, batch->origin_count, batch->span_count)) return WEIR_FULL;
    /* Counting sort by origin: how many bytes each needs, where its spans start in `order`. */
    for (uint32_t i = 0; i < batch->origin_count; i++)
        splice->bytes[i] = splice->starts[i] = 0;
    for (uint32_t i = 0; i < batch->span_count; i++) {
        splice->bytes[batch->spans[i].origin] += field_size(batch->spans[i].size);
        splice->starts[batch->spans[i].origin]++;
    }
    uint32_t start = 0;
    for (uint32_t i = 0; i < batch->origin_count; i++) {
        uint32_t count = splice->starts[i];
        splice->starts[i] = start;
        start += count;
    }
    for (uint32_t i = 0; i < batch->span_count; i++)
        splice->order[splice->starts[batch->spans[i].origin]++] = i;
    uint32_t next = 0;
    for (uint32_t i = 0; i < batch->origin_count; i++) {
        if (splice->bytes[i] == 0) continue;
        const struct weir_origin_parts *parts = &batch->origins[i]->parts;
        size_t scope_spans = text_size(parts->scope_size) + splice->bytes[i] + text_size(parts->scope_url_size);
        size_t resource_spans =
            text_size(parts->resource_size) + field_size(scope_spans) + text_size(parts->resource_url_size);
        if (!weir_buffer_room(out, field_size(resource_spans))) return WEIR_FULL;
        uint8_t *at = out->bytes + out->size;
        at = weir_wire_put_varint(weir_wire_put_key(at, 1, WEIR_WIRE_BYTES), resource_spans);
        if (parts->resource_size > 0) at = weir_wire_put_bytes(at, 1, parts->resource, parts->resource_size);
        at = weir_wire_put_varint(weir_wire_put_key(at, 2, WEIR_WIRE_BYTES), scope_spans);
        if (parts->scope_size > 0) at = weir_wire_put_bytes(at, 1, parts->scope, parts->scope_size);
        for (; next < splice->starts[i]; next++) { /* starts[i] is where the next origin's begin by now */
            const struct weir_span *span = &batch->spans[splice->order[next]];
            at = weir_wire_put_bytes(at, 2, batch->bytes + span->offset, span->size);
        }
        if (parts->scope_url_size > 0) at = weir_wire_put_bytes(at, 3, parts->scope_url, parts->scope_url_size);
        if (parts->resource_url_size > 0)
            at = weir_wire_put_bytes(at, 3, parts->resource_url, parts->resource_url_size);
        out->size = (size_t)(at - out->bytes);
    }
    return WEIR_OK;
}

void weir_splice_free(struct weir_splice *splice) {
    free(splice->bytes);
    free(splice->starts);
    free(splice->order);
    *splice = (struct weir_splice){0};
}
