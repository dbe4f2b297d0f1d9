#include "collector/core/buffer.h"
#include "collector/core/wire.h"
#include "collector/spool/log_format.h"
#include "collector/spool/record.h"
#include "collector/spool/record_row.h"

#include <assert.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
    CHAIN_MAX = 8, /* rows that differ in places only, before the next one is made without looking: bodies of one
                      operation with names or states of many lengths */
    SLOTS_MIN = 1024,
    MATCH_MIN = 7, /* of zstd's negative levels, as level 1 has it: 7 % fewer instructions at -7, and no byte more */
};

struct key { /* what a view says by itself */
    uint64_t part[3];
};

struct kept_row {
    struct key key;
    struct weir_row row;
    uint32_t need;  /* bytes of a body that has all its places */
    uint32_t older; /* with the same key, + 1 */
};

struct weir_spool_writer {
    const struct weir_names *names;
    ZSTD_CCtx *packer;
    struct kept_row *rows;
    uint32_t row_count, row_capacity;
    uint32_t *slots; /* newest row of a key + 1, open addressing */
    uint32_t slot_count, keys;
    uint16_t *row_of, *size_of; /* of each span */
    uint32_t span_capacity;
    struct weir_buffer extras, index, bodies, payload;
    uint32_t *origin_of; /* of the batch -> of the record + 1 */
    uint32_t origin_capacity, *origin_list, origin_count;
    struct {
        uint32_t record, number;
    } * name_of; /* by name id: in which record it was met last, and as what */
    uint32_t name_capacity, record, *name_list, name_list_capacity, name_count;
    size_t name_bytes, origin_bytes, body_bytes;
    bool in_a_row; /* bodies lie one behind the other */
};

/* ---- a view against a row ---- */

static uint32_t said_extras(const struct weir_span *span) {
    return (span->size >= UINT16_MAX ? WEIR_ROW_SIZE : 0u) | (span->threshold != 0 ? WEIR_ROW_THRESHOLD : 0u) |
           (span->randomness != (span->trace_lo & (WEIR_THRESHOLD_MAX - 1)) ? WEIR_ROW_RANDOMNESS : 0u) |
           (span->prior != 1 ? WEIR_ROW_PRIOR : 0u);
}

static struct key key_of(const struct weir_span *span) {
    return (struct key){{span->service | (uint64_t)span->operation << 32,
                         span->peer | (uint64_t)span->origin << 32 | (uint64_t)span->http_status << 48,
                         span->flags | (uint64_t)span->kind << 16 | (uint64_t)span->status << 24 |
                             (uint64_t)span->receiver << 32 | (uint64_t)said_extras(span) << 40}};
}

static bool same_key(const struct key *a, const struct key *b) {
    return ((a->part[0] ^ b->part[0]) | (a->part[1] ^ b->part[1]) | (a->part[2] ^ b->part[2])) == 0;
}

static uint64_t hash_of(const struct key *key) {
    uint64_t mixed = (key->part[0] + 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ mixed >> 29 ^ key->part[1]) * 0x94d049bb133111ebull;
    mixed = (mixed ^ mixed >> 32 ^ key->part[2]) * 0xbf58476d1ce4e5b9ull;
    return mixed ^ mixed >> 32;
}

static uint64_t at_or_0(const uint8_t *body, uint16_t at) {
    return at == WEIR_ROW_NOWHERE ? 0 : weir_row_load(body + at);
}

/* Does the body say at the row's places what the view says? */
static bool says(const struct kept_row *kept, const uint8_t *body, const struct weir_span *span) {
    const struct weir_row *row = &kept->row;
    if (span->size < kept->need || row->trace_at == WEIR_ROW_NOWHERE) return false;
    return weir_row_load_id(body + row->trace_at) == span->trace_hi &&
           weir_row_load_id(body + row->trace_at + 8) == span->trace_lo &&
           __builtin_bswap64(at_or_0(body, row->span_at)) == span->span_id &&
           __builtin_bswap64(at_or_0(body, row->parent_at)) == span->parent_id &&
           at_or_0(body, row->start_at) == span->start_ns &&
           weir_row_duration(span->start_ns, at_or_0(body, row->end_at)) == span->duration_ns;
}

static uint16_t place(const uint8_t *body, const uint8_t *value) {
    return value - body < WEIR_ROW_NOWHERE ? (uint16_t)(value - body) : (uint16_t)WEIR_ROW_NOWHERE;
}

/* Where a body has its values: of several fields the last, as the walk reads them. */
static void find_places(const uint8_t *body, uint32_t size, struct weir_row *row) {
    struct weir_wire wire = weir_wire_of(body, size);
    struct weir_wire_field field;
    row->trace_at = row->span_at = row->parent_at = row->start_at = row->end_at = WEIR_ROW_NOWHERE;
    while (weir_wire_next(&wire, &field)) {
        bool bytes = field.type == WEIR_WIRE_BYTES, fixed = field.type == WEIR_WIRE_FIXED64;
        if (field.number == 1 && bytes && field.value == 16) row->trace_at = place(body, field.bytes);
        if (field.number == 2 && bytes && field.value == 8) row->span_at = place(body, field.bytes);
        if (field.number == 4 && bytes && field.value == 8) row->parent_at = place(body, field.bytes);
        if (field.number == 7 && fixed) row->start_at = place(body, wire.at - 8);
        if (field.number == 8 && fixed) row->end_at = place(body, wire.at - 8);
    }
}

/* Takes a place away where the body says something else, and has the value among the extras instead. */
static void check_place(struct weir_row *row, uint16_t *at, bool right, bool none, uint32_t extra) {
    if (*at != WEIR_ROW_NOWHERE && right) return;
    *at = WEIR_ROW_NOWHERE;
    if (!none) row->extras |= (uint16_t)extra;
}

static void make_places(const uint8_t *body, const struct weir_span *span, struct weir_row *row) {
    find_places(body, span->size, row);
    bool trace = row->trace_at != WEIR_ROW_NOWHERE && weir_row_load_id(body + row->trace_at) == span->trace_hi &&
                 weir_row_load_id(body + row->trace_at + 8) == span->trace_lo;
    check_place(row, &row->trace_at, trace, false, WEIR_ROW_TRACE);
    check_place(row, &row->span_at, __builtin_bswap64(at_or_0(body, row->span_at)) == span->span_id, span->span_id == 0,
                WEIR_ROW_SPAN);
    check_place(row, &row->parent_at, __builtin_bswap64(at_or_0(body, row->parent_at)) == span->parent_id,
                span->parent_id == 0, WEIR_ROW_PARENT);
    check_place(row, &row->start_at, at_or_0(body, row->start_at) == span->start_ns, span->start_ns == 0,
                WEIR_ROW_START);
    check_place(row, &row->end_at, weir_row_duration(span->start_ns, at_or_0(body, row->end_at)) == span->duration_ns,
                span->duration_ns == 0, WEIR_ROW_DURATION);
}

/* ---- names, origins, rows of a record ---- */

static bool room_for(void **array, uint32_t *capacity, uint64_t count, size_t element) {
    if (count <= *capacity) return true;
    uint64_t grown = *capacity < 64 ? 64 : *capacity;
    while (grown < count)
        grown *= 2;
    if (grown > UINT32_MAX) return false;
    void *more = realloc(*array, grown * element);
    if (more == NULL) return false;
    *array = more;
    *capacity = (uint32_t)grown;
    return true;
}

/* Its number in the record; UINT32_MAX: out of memory. */
static uint32_t name_number(struct weir_spool_writer *writer, uint32_t id) {
    size_t size;
    if (id == WEIR_NAME_NONE) return 0;
    if (id >= writer->name_capacity) {
        uint32_t before = writer->name_capacity;
        void *array = writer->name_of;
        if (!room_for(&array, &writer->name_capacity, (uint64_t)id + 1, sizeof *writer->name_of)) return UINT32_MAX;
        writer->name_of = array;
        memset(writer->name_of + before, 0, (writer->name_capacity - before) * sizeof *writer->name_of);
    }
    if (writer->name_of[id].record == writer->record) return writer->name_of[id].number;
    void *list = writer->name_list;
    if (!room_for(&list, &writer->name_list_capacity, writer->name_count + 1, sizeof *writer->name_list))
        return UINT32_MAX;
    writer->name_list = list;
    weir_names_text(writer->names, id, &size);
    writer->name_list[writer->name_count++] = id;
    writer->name_bytes += size;
    writer->name_of[id].record = writer->record;
    return writer->name_of[id].number = writer->name_count;
}

static uint32_t origin_number(struct weir_spool_writer *writer, const struct weir_batch *batch, uint32_t origin) {
    if (writer->origin_of[origin] == 0) {
        writer->origin_list[writer->origin_count++] = origin;
        writer->origin_of[origin] = writer->origin_count;
        writer->origin_bytes += weir_origin_memory(batch->origins[origin]) - sizeof(struct weir_origin);
    }
    return writer->origin_of[origin] - 1;
}

static uint32_t *slot_of(const struct weir_spool_writer *writer, const struct key *key) {
    uint32_t mask = writer->slot_count - 1, at = (uint32_t)hash_of(key) & mask;
    while (writer->slots[at] != 0 && !same_key(&writer->rows[writer->slots[at] - 1].key, key))
        at = (at + 1) & mask;
    return &writer->slots[at];
}

static bool grow_slots(struct weir_spool_writer *writer) {
    uint32_t *old = writer->slots, before = writer->slot_count;
    uint32_t *slots = calloc(2 * (size_t)before, sizeof *slots);
    if (slots == NULL) return false;
    writer->slots = slots;
    writer->slot_count = 2 * before;
    for (uint32_t i = 0; i < before; i++) {
        if (old[i] != 0) *slot_of(writer, &writer->rows[old[i] - 1].key) = old[i];
    }
    free(old);
    return true;
}

enum { NO_ROW = WEIR_ROWS_MAX, NO_MEMORY = WEIR_ROWS_MAX + 1 };

/* A new row for the span in front of those of its key, or the very same that is there. */
static uint32_t add_row(struct weir_spool_writer *writer, const struct weir_batch *batch, const struct weir_span *span,
                        const struct key *key) {
    struct weir_row row = {.http_status = span->http_status,
                           .flags = span->flags,
                           .extras = (uint16_t)said_extras(span),
                           .kind = span->kind,
                           .status = span->status,
                           .receiver = span->receiver};
    row.operation = name_number(writer, span->operation);
    row.peer = name_number(writer, span->peer);
    row.service = name_number(writer, span->service);
    row.origin = (uint16_t)origin_number(writer, batch, span->origin);
    if (row.operation == UINT32_MAX || row.peer == UINT32_MAX || row.service == UINT32_MAX) return NO_MEMORY;
    make_places(batch->bytes + span->offset, span, &row);
    uint32_t *slot = slot_of(writer, key), at = *slot;
    for (int tries = 0; at != 0 && tries < CHAIN_MAX; tries++, at = writer->rows[at - 1].older) {
        if (memcmp(&writer->rows[at - 1].row, &row, sizeof row) == 0) return at - 1;
    }
    if (writer->row_count == WEIR_ROWS_MAX) return NO_ROW;
    void *rows = writer->rows;
    if (!room_for(&rows, &writer->row_capacity, writer->row_count + 1, sizeof *writer->rows)) return NO_MEMORY;
    writer->rows = rows;
    if (*slot == 0) {
        if (2 * (writer->keys + 1) > writer->slot_count) {
            if (!grow_slots(writer)) return NO_MEMORY;
            slot = slot_of(writer, key);
        }
        writer->keys++;
    }
    writer->rows[writer->row_count] =
        (struct kept_row){.key = *key, .row = row, .need = weir_row_need(&row), .older = *slot};
    *slot = ++writer->row_count;
    return *slot - 1;
}

static uint32_t row_of(struct weir_spool_writer *writer, const struct weir_batch *batch, const struct weir_span *span) {
    struct key key = key_of(span);
    const uint8_t *body = batch->bytes + span->offset;
    uint32_t at = *slot_of(writer, &key);
    for (int tries = 0; at != 0 && tries < CHAIN_MAX; tries++, at = writer->rows[at - 1].older) {
        if (says(&writer->rows[at - 1], body, span)) return at - 1;
    }
    return add_row(writer, batch, span, &key);
}

static void put_u64(struct weir_buffer *out, uint64_t value) {
    weir_buffer_put(out, &value, 8);
}

static void put_extras(struct weir_buffer *out, uint32_t extras, const struct weir_span *span) {
    uint64_t prior;
    memcpy(&prior, &span->prior, 8);
    if ((extras & WEIR_ROW_SIZE) != 0) put_u64(out, span->size);
    if ((extras & WEIR_ROW_TRACE) != 0) put_u64(out, span->trace_hi), put_u64(out, span->trace_lo);
    if ((extras & WEIR_ROW_SPAN) != 0) put_u64(out, span->span_id);
    if ((extras & WEIR_ROW_PARENT) != 0) put_u64(out, span->parent_id);
    if ((extras & WEIR_ROW_START) != 0) put_u64(out, span->start_ns);
    if ((extras & WEIR_ROW_DURATION) != 0) put_u64(out, span->duration_ns);
    if ((extras & WEIR_ROW_THRESHOLD) != 0) put_u64(out, span->threshold);
    if ((extras & WEIR_ROW_RANDOMNESS) != 0) put_u64(out, span->randomness);
    if ((extras & WEIR_ROW_PRIOR) != 0) put_u64(out, prior);
}

/* ---- the record ---- */

enum { COUNTS_BYTES = 16 };

static uint64_t index_size(const struct weir_spool_writer *writer, uint32_t spans) {
    return COUNTS_BYTES + 16ull * writer->origin_count + 2ull * writer->name_count +
           (uint64_t)WEIR_ROW_BYTES * writer->row_count + 4ull * spans + writer->extras.size + writer->origin_bytes +
           writer->name_bytes;
}

static uint64_t memory_of(const struct weir_spool_writer *writer, uint32_t spans) {
    return index_size(writer, spans) + writer->body_bytes + sizeof(struct weir_span) * (uint64_t)spans;
}

static bool begin(struct weir_spool_writer *writer, const struct weir_batch *batch, uint32_t spans) {
    void *origins = writer->origin_of;
    uint32_t capacity = writer->origin_capacity;
    if (batch->origin_count > capacity) {
        if (!room_for(&origins, &capacity, batch->origin_count, sizeof *writer->origin_of)) return false;
        writer->origin_of = origins;
        void *list = realloc(writer->origin_list, capacity * sizeof *writer->origin_list);
        if (list == NULL) return false;
        writer->origin_list = list;
        writer->origin_capacity = capacity;
    }
    if (spans > writer->span_capacity) {
        uint16_t *more = realloc(writer->row_of, spans * sizeof *more);
        if (more == NULL) return false;
        writer->row_of = more;
        more = realloc(writer->size_of, spans * sizeof *more);
        if (more == NULL) return false;
        writer->size_of = more;
        writer->span_capacity = spans;
    }
    if (writer->slot_count > SLOTS_MIN) { /* one record had many: the next does not pay for it */
        uint32_t *less = realloc(writer->slots, SLOTS_MIN * sizeof *less);
        if (less == NULL) return false;
        writer->slots = less;
        writer->slot_count = SLOTS_MIN;
    }
    memset(writer->slots, 0, writer->slot_count * sizeof *writer->slots);
    if (batch->origin_count > 0) memset(writer->origin_of, 0, batch->origin_count * sizeof *writer->origin_of);
    writer->row_count = writer->keys = writer->origin_count = writer->name_count = 0;
    writer->name_bytes = writer->origin_bytes = writer->body_bytes = 0;
    writer->in_a_row = true;
    weir_buffer_clear(&writer->extras);
    if (++writer->record == 0) { /* after four thousand million */
        memset(writer->name_of, 0, writer->name_capacity * sizeof *writer->name_of);
        writer->record = 1;
    }
    return true;
}

/* Rows, sizes and extras of as many spans as there is room for; *to is behind the last. False: out of memory. */
static bool gather(struct weir_spool_writer *writer, const struct weir_batch *batch, uint32_t from, uint32_t *to) {
    if (!begin(writer, batch, *to - from)) return false;
    uint64_t offset = batch->spans[from].offset;
    for (uint32_t i = from; i < *to; i++) {
        const struct weir_span *span = &batch->spans[i];
        uint32_t row = row_of(writer, batch, span);
        if (row == NO_MEMORY) return false;
        writer->body_bytes += span->size;
        if (row == NO_ROW || memory_of(writer, i + 1 - from) > WEIR_SPOOL_RECORD_MEMORY_MAX) {
            *to = i;
            return i == from || gather(writer, batch, from, to); /* without the origin and names that are too much */
        }
        writer->in_a_row = writer->in_a_row && span->offset == offset;
        offset += span->size;
        writer->row_of[i - from] = (uint16_t)row;
        writer->size_of[i - from] = span->size < UINT16_MAX ? (uint16_t)span->size : UINT16_MAX;
        uint32_t extras = writer->rows[row].row.extras;
        if (extras != 0) put_extras(&writer->extras, extras, span);
    }
    return !writer->extras.failed;
}

static void put_index(struct weir_spool_writer *writer, const struct weir_batch *batch, uint32_t spans) {
    struct weir_buffer *out = &writer->index;
    uint32_t counts[4] = {writer->origin_count, writer->name_count, writer->row_count,
                          (uint32_t)(writer->extras.size / 8)};
    weir_buffer_clear(out);
    if (!weir_buffer_room(out, index_size(writer, spans))) return;
    weir_buffer_put(out, counts, sizeof counts);
    for (uint32_t i = 0; i < writer->origin_count; i++) {
        const struct weir_origin_parts *parts = &batch->origins[writer->origin_list[i]]->parts;
        uint32_t sizes[4] = {parts->resource_size, parts->scope_size, parts->resource_url_size, parts->scope_url_size};
        weir_buffer_put(out, sizes, sizeof sizes);
    }
    for (uint32_t i = 0; i < writer->name_count; i++) {
        size_t size;
        weir_names_text(writer->names, writer->name_list[i], &size);
        weir_buffer_put(out, &(uint16_t){(uint16_t)size}, 2);
    }
    for (uint32_t i = 0; i < writer->row_count; i++)
        weir_buffer_put(out, &writer->rows[i].row, WEIR_ROW_BYTES);
    weir_buffer_put(out, writer->row_of, 2 * (size_t)spans);
    weir_buffer_put(out, writer->size_of, 2 * (size_t)spans);
    weir_buffer_put(out, writer->extras.bytes, writer->extras.size);
    for (uint32_t i = 0; i < writer->origin_count; i++) {
        const struct weir_origin_parts *parts = &batch->origins[writer->origin_list[i]]->parts;
        weir_buffer_put(out, parts->resource, parts->resource_size);
        weir_buffer_put(out, parts->scope, parts->scope_size);
        weir_buffer_put(out, parts->resource_url, parts->resource_url_size);
        weir_buffer_put(out, parts->scope_url, parts->scope_url_size);
    }
    for (uint32_t i = 0; i < writer->name_count; i++) {
        size_t size;
        const char *text = weir_names_text(writer->names, writer->name_list[i], &size);
        weir_buffer_put(out, text, size);
    }
}

static const uint8_t *bodies_of(struct weir_spool_writer *writer, const struct weir_batch *batch, uint32_t from,
                                uint32_t to) {
    if (writer->in_a_row) return batch->bytes + batch->spans[from].offset;
    weir_buffer_clear(&writer->bodies);
    weir_buffer_room(&writer->bodies, writer->body_bytes);
    for (uint32_t i = from; i < to; i++)
        weir_buffer_put(&writer->bodies, batch->bytes + batch->spans[i].offset, batch->spans[i].size);
    return writer->bodies.bytes;
}

enum packed { PACKED, TOO_LARGE, OUT_OF_MEMORY };

static enum packed put_frame(struct weir_spool_writer *writer, const uint8_t *bytes, size_t size) {
    struct weir_buffer *out = &writer->payload;
    size_t room = ZSTD_compressBound(size), left = WEIR_LOG_RECORD_MAX - out->size;
    if (!weir_buffer_room(out, room < left ? room : left)) return OUT_OF_MEMORY;
    size_t packed = ZSTD_compress2(writer->packer, out->bytes + out->size, room < left ? room : left, bytes, size);
    if (ZSTD_isError(packed))
        return ZSTD_getErrorCode(packed) == ZSTD_error_dstSize_tooSmall ? TOO_LARGE : OUT_OF_MEMORY;
    out->size += packed;
    return PACKED;
}

static enum packed pack(struct weir_spool_writer *writer, const struct weir_batch *batch, uint32_t from, uint32_t to,
                        uint64_t unix_ns) {
    put_index(writer, batch, to - from);
    const uint8_t *bodies = bodies_of(writer, batch, from, to);
    struct weir_buffer *out = &writer->payload;
    weir_buffer_clear(out);
    if (writer->index.failed || writer->bodies.failed || !weir_buffer_room(out, WEIR_SPOOL_RECORD_HEAD_BYTES))
        return OUT_OF_MEMORY;
    out->size = WEIR_SPOOL_RECORD_HEAD_BYTES;
    enum packed packed = put_frame(writer, writer->index.bytes, writer->index.size);
    if (packed != PACKED) return packed;
    uint32_t numbers[] = {WEIR_SPOOL_RECORD_VERSION,
                          to - from,
                          (uint32_t)unix_ns,
                          (uint32_t)(unix_ns >> 32),
                          (uint32_t)writer->index.size,
                          (uint32_t)writer->body_bytes,
                          (uint32_t)(out->size - WEIR_SPOOL_RECORD_HEAD_BYTES)};
    _Static_assert(sizeof numbers == WEIR_SPOOL_RECORD_HEAD_BYTES, "as record.h draws it");
    memcpy(out->bytes, numbers, sizeof numbers);
    return put_frame(writer, bodies, writer->body_bytes);
}

static enum weir_status no_memory(struct weir_error *err) {
    return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
}

enum weir_status weir_spool_record_write(struct weir_spool_writer *writer, const struct weir_batch *batch,
                                         uint32_t from, uint32_t *to, uint64_t unix_ns, const uint8_t **bytes,
                                         size_t *size, struct weir_error *err) {
    uint32_t end = *to;
    assert(from < end && end <= batch->span_count);
    for (;;) {
        if (!gather(writer, batch, from, &end)) return no_memory(err);
        enum packed packed = end > from ? pack(writer, batch, from, end, unix_ns) : TOO_LARGE;
        if (packed == PACKED) break;
        if (packed == OUT_OF_MEMORY) return no_memory(err);
        if (end - from <= 1)
            return weir_fail(err, WEIR_INVALID, 0, false, "a span of %u bytes is too large for a record",
                             batch->spans[from].size);
        end = from + (end - from) / 2; /* compressed it is more than a record's size */
    }
    *to = end;
    *bytes = writer->payload.bytes;
    *size = writer->payload.size;
    return WEIR_OK;
}

struct weir_spool_writer *weir_spool_writer_new(const struct weir_names *names, int level) {
    struct weir_spool_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return NULL;
    writer->names = names;
    writer->packer = ZSTD_createCCtx();
    writer->slot_count = SLOTS_MIN;
    writer->slots = malloc(SLOTS_MIN * sizeof *writer->slots);
    if (writer->packer != NULL && writer->slots != NULL &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_compressionLevel, level)) &&
        (level >= 0 || !ZSTD_isError(ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_minMatch, MATCH_MIN))))
        return writer;
    weir_spool_writer_free(writer);
    return NULL;
}

void weir_spool_writer_free(struct weir_spool_writer *writer) {
    if (writer == NULL) return;
    ZSTD_freeCCtx(writer->packer);
    free(writer->rows);
    free(writer->slots);
    free(writer->row_of);
    free(writer->size_of);
    weir_buffer_free(&writer->extras);
    weir_buffer_free(&writer->index);
    weir_buffer_free(&writer->bodies);
    weir_buffer_free(&writer->payload);
    free(writer->origin_of);
    free(writer->origin_list);
    free(writer->name_of);
    free(writer->name_list);
    free(writer);
}
