#include "collector/sample/sealed.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static const uint8_t magic[4] = {'W', 'T', 'B', '1'};
enum {
    HEAD_BYTES = 16,
    ORIGIN_HEAD_BYTES = 16,
    RAW_BYTES_MAX = 256 << 20, /* a block is 32 KiB, or one record; a message is 16 MiB by default */
};

size_t weir_record_write(uint8_t *out, const struct weir_record *record, uint16_t origin) {
    memcpy(out, &record->serial, 4);
    memcpy(out + 4, &record->slot, 4);
    memcpy(out + 8, &record->size, 4);
    memcpy(out + 12, &record->operation, 4);
    memcpy(out + 16, &record->flags, 2);
    memcpy(out + 18, &origin, 2);
    out[20] = record->receiver;
    out[21] = record->status;
    size_t at = WEIR_RECORD_HEAD_BYTES;
    if ((record->flags & (WEIR_SPAN_TH_CHANGED | WEIR_SPAN_PRIOR_CHANGED)) != 0) {
        memcpy(out + at, &record->threshold, 8);
        memcpy(out + at + 8, &record->prior, 8);
        at += WEIR_RECORD_CHANGED_BYTES;
    }
    memcpy(out + at, record->body, record->size);
    return at + record->size;
}

size_t weir_record_read(const uint8_t *bytes, size_t size, struct weir_origin *const *origins, uint32_t origin_count,
                        struct weir_record *record) {
    uint16_t origin;
    size_t at = WEIR_RECORD_HEAD_BYTES;
    if (size < at) return 0;
    memcpy(&record->serial, bytes, 4);
    memcpy(&record->slot, bytes + 4, 4);
    memcpy(&record->size, bytes + 8, 4);
    memcpy(&record->operation, bytes + 12, 4);
    memcpy(&record->flags, bytes + 16, 2);
    memcpy(&origin, bytes + 18, 2);
    record->receiver = bytes[20];
    record->status = bytes[21];
    record->threshold = 0;
    record->prior = 1;
    if ((record->flags & (WEIR_SPAN_TH_CHANGED | WEIR_SPAN_PRIOR_CHANGED)) != 0) {
        if (size < at + WEIR_RECORD_CHANGED_BYTES) return 0;
        memcpy(&record->threshold, bytes + at, 8);
        memcpy(&record->prior, bytes + at + 8, 8);
        at += WEIR_RECORD_CHANGED_BYTES;
    }
    if (record->size > size - at || origin >= origin_count) return 0;
    record->origin = origins[origin];
    record->body = bytes + at;
    return at + record->size;
}

static void put_u32(struct weir_buffer *out, size_t value) {
    uint32_t small = (uint32_t)value;
    weir_buffer_put(out, &small, 4);
}

void weir_sealed_write(struct weir_buffer *out, struct weir_origin *const *origins, uint32_t origin_count,
                       const uint8_t *stored, size_t size, size_t raw_size, bool plain) {
    uint16_t count = (uint16_t)origin_count;
    weir_buffer_put(out, magic, sizeof magic);
    put_u32(out, raw_size);
    put_u32(out, size);
    weir_buffer_byte(out, plain);
    weir_buffer_byte(out, 0);
    weir_buffer_put(out, &count, 2);
    for (uint32_t i = 0; i < origin_count; i++) {
        const struct weir_origin_parts *parts = &origins[i]->parts;
        put_u32(out, parts->resource_size);
        put_u32(out, parts->scope_size);
        put_u32(out, parts->resource_url_size);
        put_u32(out, parts->scope_url_size);
        weir_buffer_put(out, parts->resource, parts->resource_size);
        weir_buffer_put(out, parts->scope, parts->scope_size);
        weir_buffer_put(out, parts->resource_url, parts->resource_url_size);
        weir_buffer_put(out, parts->scope_url, parts->scope_url_size);
    }
    weir_buffer_put(out, stored, size);
}

/* ---- reading back: bytes from a disk may be anything ---- */

static size_t read_origin(const uint8_t *bytes, size_t size, struct weir_origin_parts *parts) {
    uint32_t sizes[4];
    if (size < ORIGIN_HEAD_BYTES) return 0;
    memcpy(sizes, bytes, sizeof sizes);
    uint64_t whole = (uint64_t)ORIGIN_HEAD_BYTES + sizes[0] + sizes[1] + sizes[2] + sizes[3];
    if (whole > size) return 0;
    const uint8_t *at = bytes + ORIGIN_HEAD_BYTES;
    *parts = (struct weir_origin_parts){.resource = at,
                                        .scope = at + sizes[0],
                                        .resource_url = at + sizes[0] + sizes[1],
                                        .scope_url = at + sizes[0] + sizes[1] + sizes[2],
                                        .resource_size = sizes[0],
                                        .scope_size = sizes[1],
                                        .resource_url_size = sizes[2],
                                        .scope_url_size = sizes[3]};
    return (size_t)whole;
}

static enum weir_status read_records(const uint8_t *raw, size_t size, struct weir_origin *const *origins,
                                     uint32_t count, const struct weir_blocks_reader *reader, struct weir_error *err) {
    struct weir_record record;
    for (size_t at = 0; at < size;) {
        size_t read = weir_record_read(raw + at, size - at, origins, count, &record);
        if (read == 0) return weir_fail(err, WEIR_INVALID, 0, false, "record at byte %zu of the block is torn", at);
        reader->each(reader->self, &record);
        at += read;
    }
    return WEIR_OK;
}

static enum weir_status unpack(const uint8_t *stored, size_t size, uint32_t raw_size, bool plain, uint8_t **raw,
                               struct weir_error *err) {
    if (plain ? size != raw_size : ZSTD_getFrameContentSize(stored, size) != raw_size)
        return weir_fail(err, WEIR_INVALID, 0, false, "block is not of the size that it says");
    *raw = malloc(raw_size > 0 ? raw_size : 1);
    if (*raw == NULL) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    if (plain) {
        memcpy(*raw, stored, size);
        return WEIR_OK;
    }
    size_t got = ZSTD_decompress(*raw, raw_size, stored, size);
    if (!ZSTD_isError(got) && got == raw_size) return WEIR_OK;
    return weir_fail(err, WEIR_INVALID, 0, false, "block: %s",
                     ZSTD_isError(got) ? ZSTD_getErrorName(got) : "is shorter than it says");
}

enum weir_status weir_blocks_read_sealed(const uint8_t *bytes, size_t size, const struct weir_blocks_reader *reader,
                                         struct weir_error *err) {
    uint32_t raw_size, stored_size;
    uint16_t count;
    if (size < HEAD_BYTES || memcmp(bytes, magic, sizeof magic) != 0)
        return weir_fail(err, WEIR_INVALID, 0, false, "not a block of spans");
    memcpy(&raw_size, bytes + 4, 4);
    memcpy(&stored_size, bytes + 8, 4);
    memcpy(&count, bytes + 14, 2);
    if (raw_size > RAW_BYTES_MAX) return weir_fail(err, WEIR_INVALID, 0, false, "block of %u bytes", raw_size);
    struct weir_origin **origins = calloc(count + 1u, sizeof *origins);
    if (origins == NULL) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    enum weir_status status = WEIR_OK;
    size_t at = HEAD_BYTES;
    for (uint32_t i = 0; status == WEIR_OK && i < count; i++) {
        struct weir_origin_parts parts;
        size_t read = read_origin(bytes + at, size - at, &parts);
        if (read == 0) {
            status = weir_fail(err, WEIR_INVALID, 0, false, "origin %u is torn", i);
        } else {
            origins[i] = reader->origin(reader->self, &parts);
            if (origins[i] == NULL) status = weir_fail(err, WEIR_FULL, 0, true, "out of memory");
        }
        at += read;
    }
    uint8_t *raw = NULL;
    if (status == WEIR_OK && size - at != stored_size)
        status = weir_fail(err, WEIR_INVALID, 0, false, "block is not of the size that it says");
    if (status == WEIR_OK) status = unpack(bytes + at, stored_size, raw_size, bytes[12] != 0, &raw, err);
    if (status == WEIR_OK) status = read_records(raw, raw_size, origins, count, reader, err);
    free(raw);
    for (uint32_t i = 0; i < count; i++)
        weir_origin_unref(origins[i]);
    free(origins);
    return status;
}
