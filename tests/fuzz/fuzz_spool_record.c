/* Any bytes as a record of the spool: no crash, no view outside of its batch, and what is read can be given to every
 * encoder and written again.
 *   0 · payload as it is          1 · spans (2) · index bytes (2) · index · bodies: sealed here, so that what lies
 *                                 behind zstd is reached */
#include "collector/spool/log_format.h"
#include "collector/spool/record.h"
#include "exporters/splice.h"
#include "exporters/zipkin/encode.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct weir_names *names, const struct weir_batch *batch, struct weir_spool_reader *reader) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < batch->span_count; i++) {
        const struct weir_span *span = &batch->spans[i];
        if ((uint64_t)span->offset + span->size > batch->size || span->origin >= batch->origin_count ||
            span->operation >= weir_names_count(names) || !(weir_span_weight(span) > 0))
            abort();
        sum += span->size;
    }
    if (sum != batch->span_bytes) abort();
    struct weir_splice splice = {0};
    struct weir_zipkin_scratch scratch = {0};
    struct weir_buffer out = {0};
    weir_splice_encode(&splice, batch, &out);
    weir_zipkin_begin(&scratch, batch);
    weir_zipkin_encode_json(&scratch, 0, SIZE_MAX, &out);
    weir_zipkin_encode_proto3(&scratch, 0, SIZE_MAX, &out);
    weir_splice_free(&splice);
    weir_zipkin_scratch_free(&scratch);
    weir_buffer_free(&out);
    const uint8_t *bytes;
    size_t written;
    uint64_t unix_ns;
    struct weir_error err;
    struct weir_batch *again;
    uint32_t to = batch->span_count;
    struct weir_spool_writer *writer = weir_spool_writer_new(names, 1);
    if (weir_spool_record_write(writer, batch, 0, &to, 7, &bytes, &written, &err) != WEIR_OK ||
        weir_spool_record_read(reader, bytes, written, &again, &unix_ns, &err) != WEIR_OK || again->span_count != to ||
        unix_ns != 7)
        abort();
    for (uint32_t i = 0; i < to; i++) {
        struct weir_span a = batch->spans[i], b = again->spans[i];
        b.offset = a.offset, b.origin = a.origin;
        if (memcmp(&a, &b, offsetof(struct weir_span, receiver) + 1) != 0) abort();
    }
    weir_batch_unref(again);
    weir_spool_writer_free(writer);
}

static size_t seal(uint8_t *out, size_t room, const uint8_t *data, size_t size) {
    uint16_t spans, index_bytes;
    memcpy(&spans, data, 2);
    memcpy(&index_bytes, data + 2, 2);
    data += 4, size -= 4;
    uint32_t index = index_bytes < size ? index_bytes : (uint32_t)size;
    size_t frame =
        ZSTD_compress(out + WEIR_SPOOL_RECORD_HEAD_BYTES, room - WEIR_SPOOL_RECORD_HEAD_BYTES, data, index, -7);
    size_t at = WEIR_SPOOL_RECORD_HEAD_BYTES + frame;
    uint32_t head[] = {WEIR_SPOOL_RECORD_VERSION, spans, 0, 0, index, (uint32_t)size - index, (uint32_t)frame};
    memcpy(out, head, sizeof head);
    return at + ZSTD_compress(out + at, room - at, data + index, size - index, -7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 5) return 0;
    uint8_t *sealed = NULL;
    const uint8_t *payload = data + 1;
    size_t payload_size = size - 1;
    if (data[0] % 2 == 1) {
        size_t room = 2 * ZSTD_compressBound(size) + 64;
        payload = sealed = malloc(room);
        payload_size = seal(sealed, room, data + 1, size - 1);
    }
    struct weir_names *names = weir_names_new(1024, 256 * 1024);
    struct weir_spool_reader *reader = weir_spool_reader_new(names);
    struct weir_batch *batch;
    struct weir_error err;
    uint64_t unix_ns;
    if (weir_spool_record_read(reader, payload, payload_size, &batch, &unix_ns, &err) == WEIR_OK) {
        use(names, batch, reader);
        weir_batch_unref(batch);
    }
    weir_spool_reader_free(reader);
    weir_names_free(names);
    free(sealed);
    return 0;
}
