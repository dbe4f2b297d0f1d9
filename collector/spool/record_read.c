#include "collector/core/ledger.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/spool/record.h"
#include "collector/spool/record_row.h"

#include <math.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct read_row {
    struct weir_row row; /* names are the table's ids by now */
    uint32_t need;       /* bytes that a body has at least */
    uint32_t extra_count;
};

struct weir_spool_reader {
    struct weir_names *names;
    struct weir_otlp *otlp; /* knows how to read a resource's service */
    ZSTD_DCtx *unpacker;
    uint8_t *index;
    struct read_row *rows;
    uint32_t *name_ids;
    size_t index_capacity;
    uint32_t row_capacity, name_capacity;
};

/* The index, cut into its parts. */
struct parts {
    uint32_t origins, names, rows, extras;
    const uint8_t *origin_sizes, *name_sizes, *row_bytes, *row_of, *size_of, *extra_bytes, *texts, *end;
};

static enum weir_status invalid(struct weir_error *err, const char *why) {
    return weir_fail(err, WEIR_INVALID, 0, false, "%s", why);
}

static enum weir_status no_memory(struct weir_error *err) {
    return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
}

enum weir_status weir_spool_record_head(const uint8_t *bytes, size_t size, struct weir_spool_record_head *head,
                                        struct weir_error *err) {
    uint32_t numbers[WEIR_SPOOL_RECORD_HEAD_BYTES / 4];
    if (size < sizeof numbers) return invalid(err, "shorter than the head of a record");
    memcpy(numbers, bytes, sizeof numbers);
    if (numbers[0] != WEIR_SPOOL_RECORD_VERSION)
        return weir_fail(err, WEIR_INVALID, 0, false, "version %u of a record, not %d", numbers[0],
                         WEIR_SPOOL_RECORD_VERSION);
    *head = (struct weir_spool_record_head){.spans = numbers[1],
                                            .unix_ns = numbers[2] | (uint64_t)numbers[3] << 32,
                                            .index_bytes = numbers[4],
                                            .body_bytes = numbers[5],
                                            .frame_bytes = numbers[6]};
    uint64_t memory = (uint64_t)head->index_bytes + head->body_bytes + sizeof(struct weir_span) * (uint64_t)head->spans;
    if (head->spans == 0 || head->index_bytes == 0 || memory > WEIR_SPOOL_RECORD_MEMORY_MAX)
        return invalid(err, "says that it is empty, or larger than records are");
    return WEIR_OK;
}

/* Exactly `want` bytes. What the frame itself says is looked at first, so that a lie costs no memory. */
static enum weir_status unpack(struct weir_spool_reader *reader, uint8_t *to, uint32_t want, const uint8_t *bytes,
                               size_t size, struct weir_error *err) {
    size_t got = ZSTD_decompressDCtx(reader->unpacker, to, want, bytes, size);
    if (!ZSTD_isError(got) && got == want) return WEIR_OK;
    if (ZSTD_isError(got) && ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation) return no_memory(err);
    return weir_fail(err, WEIR_INVALID, 0, false, "frame: %s",
                     ZSTD_isError(got) ? ZSTD_getErrorName(got) : "is shorter than it says");
}

static bool is_frame(const uint8_t *bytes, size_t size, uint32_t want) {
    return ZSTD_getFrameContentSize(bytes, size) == want && ZSTD_findFrameCompressedSize(bytes, size) == size;
}

static bool cut(const uint8_t **at, const uint8_t *end, uint64_t count, size_t element, const uint8_t **part) {
    *part = *at;
    if (count > (uint64_t)(end - *at) / element) return false;
    *at += count * element;
    return true;
}

static bool cut_index(const uint8_t *index, size_t size, uint32_t spans, struct parts *parts) {
    const uint8_t *at = index, *end = index + size, *counts;
    if (!cut(&at, end, 4, 4, &counts)) return false;
    memcpy(&parts->origins, counts, 4);
    memcpy(&parts->names, counts + 4, 4);
    memcpy(&parts->rows, counts + 8, 4);
    memcpy(&parts->extras, counts + 12, 4);
    parts->end = end;
    return parts->origins <= UINT16_MAX && parts->rows <= WEIR_ROWS_MAX &&
           cut(&at, end, parts->origins, 16, &parts->origin_sizes) &&
           cut(&at, end, parts->names, 2, &parts->name_sizes) &&
           cut(&at, end, parts->rows, WEIR_ROW_BYTES, &parts->row_bytes) && cut(&at, end, spans, 2, &parts->row_of) &&
           cut(&at, end, spans, 2, &parts->size_of) && cut(&at, end, parts->extras, 8, &parts->extra_bytes) &&
           cut(&at, end, 0, 1, &parts->texts);
}

static enum weir_status read_origins(struct weir_spool_reader *reader, const struct parts *parts, const uint8_t **texts,
                                     struct weir_batch *batch, struct weir_error *err) {
    for (uint32_t i = 0; i < parts->origins; i++) {
        uint32_t sizes[4];
        uint16_t index;
        bool sound;
        struct weir_origin_parts origin;
        memcpy(sizes, parts->origin_sizes + 16 * (size_t)i, sizeof sizes);
        if (!cut(texts, parts->end, sizes[0], 1, &origin.resource) ||
            !cut(texts, parts->end, sizes[1], 1, &origin.scope) ||
            !cut(texts, parts->end, sizes[2], 1, &origin.resource_url) ||
            !cut(texts, parts->end, sizes[3], 1, &origin.scope_url))
            return invalid(err, "an origin is torn");
        origin.resource_size = sizes[0], origin.scope_size = sizes[1];
        origin.resource_url_size = sizes[2], origin.scope_url_size = sizes[3];
        struct weir_origin *known = weir_otlp_origin_again(reader->otlp, &origin, &sound);
        if (known == NULL) return sound ? no_memory(err) : invalid(err, "a resource or scope is not sound");
        enum weir_status status = weir_batch_add_origin(batch, known, &index);
        weir_origin_unref(known);
        if (status != WEIR_OK) return no_memory(err);
    }
    return WEIR_OK;
}

static enum weir_status read_names(struct weir_spool_reader *reader, const struct parts *parts, const uint8_t **texts,
                                   struct weir_error *err) {
    if (parts->names >= reader->name_capacity) {
        uint32_t *ids = realloc(reader->name_ids, (parts->names + (size_t)1) * sizeof *ids);
        if (ids == NULL) return no_memory(err);
        reader->name_ids = ids;
        reader->name_capacity = parts->names + 1;
    }
    reader->name_ids[0] = WEIR_NAME_NONE;
    for (uint32_t i = 0; i < parts->names; i++) {
        uint16_t size;
        const uint8_t *text;
        memcpy(&size, parts->name_sizes + 2 * (size_t)i, 2);
        if (!cut(texts, parts->end, size, 1, &text)) return invalid(err, "a name is torn");
        reader->name_ids[i + 1] = weir_names_intern(reader->names, text, size);
    }
    return *texts == parts->end ? WEIR_OK : invalid(err, "bytes behind the index");
}

static enum weir_status read_rows(struct weir_spool_reader *reader, const struct parts *parts, struct weir_error *err) {
    if (parts->rows > reader->row_capacity) {
        struct read_row *rows = realloc(reader->rows, parts->rows * sizeof *rows);
        if (rows == NULL) return no_memory(err);
        reader->rows = rows;
        reader->row_capacity = parts->rows;
    }
    for (uint32_t i = 0; i < parts->rows; i++) {
        struct weir_row *row = &reader->rows[i].row;
        memcpy(row, parts->row_bytes + WEIR_ROW_BYTES * (size_t)i, WEIR_ROW_BYTES);
        if (row->origin >= parts->origins || row->operation > parts->names || row->peer > parts->names ||
            row->service > parts->names || row->kind > WEIR_KIND_CONSUMER || row->status > WEIR_STATUS_ERROR ||
            row->receiver >= WEIR_RECEIVERS || (row->extras & ~WEIR_ROW_EXTRAS) != 0)
            return invalid(err, "a row says what no span does");
        row->operation = reader->name_ids[row->operation];
        row->peer = reader->name_ids[row->peer];
        row->service = reader->name_ids[row->service];
        reader->rows[i].need = weir_row_need(row);
        reader->rows[i].extra_count = weir_row_extra_count(row);
    }
    return WEIR_OK;
}

static uint64_t id_or_0(const uint8_t *body, uint16_t at) {
    return at == WEIR_ROW_NOWHERE ? 0 : weir_row_load_id(body + at);
}

static uint64_t time_or_0(const uint8_t *body, uint16_t at) {
    return at == WEIR_ROW_NOWHERE ? 0 : weir_row_load(body + at);
}

static uint64_t next(const uint8_t **extras) {
    *extras += 8;
    return weir_row_load(*extras - 8);
}

/* What stands among the extras, in their order. False: others must not believe it. */
static bool apply_extras(uint32_t extras, const uint8_t *at, struct weir_span *span) {
    if ((extras & WEIR_ROW_SIZE) != 0) next(&at); /* was read before */
    if ((extras & WEIR_ROW_TRACE) != 0) {
        span->trace_hi = next(&at);
        span->trace_lo = next(&at);
        span->randomness = span->trace_lo & (WEIR_THRESHOLD_MAX - 1);
    }
    if ((extras & WEIR_ROW_SPAN) != 0) span->span_id = next(&at);
    if ((extras & WEIR_ROW_PARENT) != 0) span->parent_id = next(&at);
    if ((extras & WEIR_ROW_START) != 0) span->start_ns = next(&at);
    if ((extras & WEIR_ROW_DURATION) != 0) span->duration_ns = next(&at);
    if ((extras & WEIR_ROW_THRESHOLD) != 0) span->threshold = next(&at);
    if ((extras & WEIR_ROW_RANDOMNESS) != 0) span->randomness = next(&at);
    if ((extras & WEIR_ROW_PRIOR) != 0) span->prior = weir_wire_double(next(&at));
    return span->threshold < WEIR_THRESHOLD_MAX && span->randomness < WEIR_THRESHOLD_MAX && isfinite(span->prior) &&
           span->prior > 0 && isfinite(weir_span_weight(span));
}

static enum weir_status read_spans(const struct weir_spool_reader *reader, const struct parts *parts, uint32_t count,
                                   struct weir_batch *batch, struct weir_error *err) {
    const uint8_t *extras = parts->extra_bytes, *extras_end = extras + 8 * (size_t)parts->extras;
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t number, short_size;
        memcpy(&number, parts->row_of + 2 * (size_t)i, 2);
        memcpy(&short_size, parts->size_of + 2 * (size_t)i, 2);
        if (number >= parts->rows) return invalid(err, "a span has no row");
        const struct read_row *read = &reader->rows[number];
        const struct weir_row *row = &read->row;
        if (read->extra_count > (size_t)(extras_end - extras) / 8) return invalid(err, "a span's extras are torn");
        uint64_t size = (row->extras & WEIR_ROW_SIZE) != 0 ? weir_row_load(extras) : short_size;
        if (size > batch->size - offset || size < read->need) return invalid(err, "a body is torn");
        const uint8_t *body = batch->bytes + offset;
        struct weir_span *span = &batch->spans[i];
        *span = (struct weir_span){
            .trace_hi = id_or_0(body, row->trace_at),
            .trace_lo = row->trace_at == WEIR_ROW_NOWHERE ? 0 : weir_row_load_id(body + row->trace_at + 8),
            .span_id = id_or_0(body, row->span_at),
            .parent_id = id_or_0(body, row->parent_at),
            .start_ns = time_or_0(body, row->start_at),
            .prior = 1,
            .offset = (uint32_t)offset,
            .size = (uint32_t)size,
            .service = row->service,
            .operation = row->operation,
            .peer = row->peer,
            .origin = row->origin,
            .http_status = row->http_status,
            .flags = row->flags,
            .kind = row->kind,
            .status = row->status,
            .receiver = row->receiver};
        span->randomness = span->trace_lo & (WEIR_THRESHOLD_MAX - 1);
        uint64_t end_ns = time_or_0(body, row->end_at);
        if (row->extras != 0) {
            if (!apply_extras(row->extras, extras, span)) return invalid(err, "a span's weight is not sound");
            extras += 8 * (size_t)read->extra_count;
        }
        if ((row->extras & WEIR_ROW_DURATION) == 0) span->duration_ns = weir_row_duration(span->start_ns, end_ns);
        offset += size;
    }
    batch->span_count = count;
    batch->span_bytes = offset;
    if (offset != batch->size || extras != extras_end) return invalid(err, "bytes behind the last span");
    return WEIR_OK;
}

static enum weir_status read_index(struct weir_spool_reader *reader, const uint8_t *bytes, size_t size,
                                   const struct weir_spool_record_head *head, struct weir_error *err) {
    if (!is_frame(bytes, size, head->index_bytes)) return invalid(err, "its index is not of the size that it says");
    if (head->index_bytes > reader->index_capacity) {
        uint8_t *index = realloc(reader->index, head->index_bytes);
        if (index == NULL) return no_memory(err);
        reader->index = index;
        reader->index_capacity = head->index_bytes;
    }
    return unpack(reader, reader->index, head->index_bytes, bytes, size, err);
}

static enum weir_status read_batch(struct weir_spool_reader *reader, const struct weir_spool_record_head *head,
                                   const uint8_t *bodies, size_t size, struct weir_batch *batch,
                                   struct weir_error *err) {
    struct parts parts;
    if (!cut_index(reader->index, head->index_bytes, head->spans, &parts)) return invalid(err, "its index is torn");
    const uint8_t *texts = parts.texts;
    enum weir_status status = read_origins(reader, &parts, &texts, batch, err);
    if (status == WEIR_OK) status = read_names(reader, &parts, &texts, err);
    if (status == WEIR_OK) status = read_rows(reader, &parts, err);
    if (status != WEIR_OK) return status;
    batch->size = head->body_bytes;
    if (weir_batch_span_room(batch, head->spans) != WEIR_OK) return no_memory(err);
    status = unpack(reader, batch->bytes, head->body_bytes, bodies, size, err);
    return status == WEIR_OK ? read_spans(reader, &parts, head->spans, batch, err) : status;
}

enum weir_status weir_spool_record_read(struct weir_spool_reader *reader, const uint8_t *bytes, size_t size,
                                        struct weir_batch **batch, uint64_t *unix_ns, struct weir_error *err) {
    struct weir_spool_record_head head;
    enum weir_status status = weir_spool_record_head(bytes, size, &head, err);
    if (status != WEIR_OK) return status;
    bytes += WEIR_SPOOL_RECORD_HEAD_BYTES;
    size -= WEIR_SPOOL_RECORD_HEAD_BYTES;
    if (head.frame_bytes > size) return invalid(err, "its index is torn");
    const uint8_t *bodies = bytes + head.frame_bytes;
    size_t body_size = size - head.frame_bytes;
    if (!is_frame(bodies, body_size, head.body_bytes)) return invalid(err, "bodies are not of the size that it says");
    status = read_index(reader, bytes, head.frame_bytes, &head, err);
    if (status != WEIR_OK) return status;
    struct weir_batch *fresh = weir_batch_new(NULL, head.body_bytes);
    if (fresh == NULL) return no_memory(err);
    status = read_batch(reader, &head, bodies, body_size, fresh, err);
    if (status != WEIR_OK) {
        weir_batch_unref(fresh);
        return status;
    }
    *batch = fresh;
    *unix_ns = head.unix_ns;
    return WEIR_OK;
}

struct weir_spool_reader *weir_spool_reader_new(struct weir_names *names) {
    struct weir_spool_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return NULL;
    reader->names = names;
    reader->otlp = weir_otlp_new(names);
    reader->unpacker = ZSTD_createDCtx();
    if (reader->otlp != NULL && reader->unpacker != NULL) return reader;
    weir_spool_reader_free(reader);
    return NULL;
}

void weir_spool_reader_free(struct weir_spool_reader *reader) {
    if (reader == NULL) return;
    weir_otlp_free(reader->otlp);
    ZSTD_freeDCtx(reader->unpacker);
    free(reader->index);
    free(reader->rows);
    free(reader->name_ids);
    free(reader);
}
