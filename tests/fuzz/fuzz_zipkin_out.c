/* Any bytes as resource, scope and span body through both Zipkin encoders; proto3 must unpack.
 *   kind · flags · size of the resource · size of the scope · resource · scope · span body */
#include "exporters/zipkin/encode.h"
#include "zipkin/zipkin.pb-c.h"

#include <stdlib.h>
#include <string.h>

static struct weir_origin *origin_of(const uint8_t *resource, uint32_t resource_size, const uint8_t *scope,
                                     uint32_t scope_size) {
    struct weir_origins *table = weir_origins_new(1);
    struct weir_origin_parts parts = {
        .resource = resource, .resource_size = resource_size, .scope = scope, .scope_size = scope_size};
    int is_new;
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    weir_origins_free(table);
    return origin;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    uint32_t resource = data[2], scope = data[3];
    struct weir_span span = {.trace_lo = 1,
                             .span_id = 2,
                             .start_ns = 3000,
                             .prior = 2,
                             .threshold = 1ull << 55,
                             .kind = data[0] % 7,
                             .flags = data[1]};
    data += 4;
    size -= 4;
    if (resource + scope > size) return 0;
    struct weir_origin *origin = origin_of(data, resource, data + resource, scope);
    data += resource + scope;
    size -= resource + scope;
    struct weir_batch *batch = weir_batch_new(NULL, size + 1);
    memcpy(batch->bytes, data, size);
    batch->size = size;
    span.size = (uint32_t)size;
    weir_batch_origin(batch, origin, &span.origin);
    for (int i = 0; i < 3; i++)
        weir_batch_add(batch, &span); /* the origin is met once and known then */

    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    if (!weir_zipkin_begin(&scratch, batch) || weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, &out) != 3) abort();
    for (size_t i = 0; i < out.size; i++) {
        if (out.bytes[i] < 0x20) abort();
    }
    weir_buffer_clear(&out);
    if (!weir_zipkin_begin(&scratch, batch) || weir_zipkin_encode_proto3(&scratch, 0, SIZE_MAX, &out) != 3) abort();
    Zipkin__Proto3__ListOfSpans *list = zipkin__proto3__list_of_spans__unpack(NULL, out.size, out.bytes);
    if (list == NULL || list->n_spans != 3) abort();
    zipkin__proto3__list_of_spans__free_unpacked(list, NULL);
    weir_buffer_free(&out);
    weir_zipkin_scratch_free(&scratch);
    weir_batch_unref(batch);
    weir_origin_unref(origin);
    return 0;
}
