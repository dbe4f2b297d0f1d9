#include "collector/cli/tail/lines.h"
#include "collector/core/hex.h"
#include "collector/decode/json.h"

#include <stdlib.h>
#include <string.h>

/* A text of the line, NUL-terminated. There is room: meaning is never longer than what was written, and the quotes make
 * up for the NUL. NULL: broken. */
static const char *read_text(struct weir_json *json, struct weir_tail_line *line) {
    struct weir_json_text text;
    if (!weir_json_string(json, &text)) return NULL;
    char *out = line->texts + line->texts_size;
    size_t size = weir_json_unescape(&text, (uint8_t *)out);
    for (size_t i = 0; i < size; i++) {
        if (out[i] == 0) out[i] = 1; /* \u0000: one control is drawn like another */
    }
    out[size] = 0;
    line->texts_size += size + 1;
    return out;
}

/* 16 digits into *lo, 32 into both. */
static bool read_id(struct weir_json *json, uint64_t *hi, uint64_t *lo) {
    struct weir_json_text text;
    uint8_t id[16] = {0};
    if (!weir_json_string(json, &text)) return false;
    if ((text.size != 16 && (text.size != 32 || hi == NULL)) ||
        !weir_hex_decode((const char *)text.bytes, text.size, id + (32 - text.size) / 2))
        return weir_json_fail(json, "no id of hex digits");
    uint64_t high = 0, low = 0;
    for (unsigned i = 0; i < 8; i++) {
        high = high << 8 | id[i];
        low = low << 8 | id[8 + i];
    }
    if (hi != NULL) *hi = high;
    *lo = low;
    return true;
}

static bool read_kind(struct weir_json *json, enum weir_kind *kind) {
    static const char *const names[] = {"", "internal", "server", "client", "producer", "consumer"};
    struct weir_json_text text;
    if (!weir_json_string(json, &text)) return false;
    for (unsigned i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (weir_json_is(&text, names[i])) *kind = (enum weir_kind)i;
    }
    return true;
}

static void read_span(struct weir_json *json, struct weir_tail_line *line, struct weir_tree_span *span) {
    struct weir_json_text key;
    *span = (struct weir_tree_span){.service = "", .operation = "", .offset_ns = WEIR_TREE_NO_OFFSET};
    weir_json_object(json);
    while (weir_json_key(json, &key)) {
        if (weir_json_is(&key, "id")) {
            read_id(json, NULL, &span->id);
        } else if (weir_json_is(&key, "parent")) {
            read_id(json, NULL, &span->parent);
        } else if (weir_json_is(&key, "service")) {
            span->service = read_text(json, line);
        } else if (weir_json_is(&key, "operation")) {
            span->operation = read_text(json, line);
        } else if (weir_json_is(&key, "kind")) {
            read_kind(json, &span->kind);
        } else if (weir_json_is(&key, "offset_ns")) {
            weir_json_i64(json, &span->offset_ns);
        } else if (weir_json_is(&key, "duration_ns")) {
            weir_json_u64(json, &span->duration_ns);
        } else if (weir_json_is(&key, "error")) {
            weir_json_bool(json, &span->error);
        } else {
            weir_json_skip(json);
        }
    }
}

/* False: out of memory. */
static bool span_room(struct weir_tail_line *line) {
    if (line->trace.count < line->span_capacity) return true;
    uint32_t capacity = line->span_capacity == 0 ? 64 : line->span_capacity * 2;
    struct weir_tree_span *grown = realloc(line->trace.spans, capacity * sizeof *grown);
    if (grown == NULL) return false;
    line->trace.spans = grown;
    line->span_capacity = capacity;
    return true;
}

static bool read_spans(struct weir_json *json, struct weir_tail_line *line) {
    weir_json_array(json);
    while (weir_json_element(json)) {
        if (line->trace.count >= WEIR_TAIL_SPANS_MAX) {
            weir_json_skip(json);
            continue;
        }
        if (!span_room(line)) return false;
        read_span(json, line, &line->trace.spans[line->trace.count]);
        if (json->why == NULL) line->trace.count++;
    }
    return true;
}

static void read_member(struct weir_json *json, const struct weir_json_text *key, struct weir_tail_line *line) {
    struct weir_tree_trace *trace = &line->trace;
    if (weir_json_is(key, "trace")) {
        line->kind = WEIR_TAIL_TRACE;
        read_id(json, &trace->trace_hi, &trace->trace_lo);
    } else if (weir_json_is(key, "weir")) {
        line->kind = WEIR_TAIL_HELLO;
        weir_json_skip(json);
    } else if (weir_json_is(key, "pulse")) {
        line->kind = WEIR_TAIL_PULSE;
        weir_json_skip(json);
    } else if (weir_json_is(key, "lost")) {
        line->kind = WEIR_TAIL_LOST;
        weir_json_u64(json, &line->lost);
    } else if (weir_json_is(key, "deciding")) {
        weir_json_bool(json, &line->deciding);
    } else if (weir_json_is(key, "note")) {
        line->note = read_text(json, line);
    } else if (weir_json_is(key, "kept")) {
        weir_json_bool(json, &trace->kept);
    } else if (weir_json_is(key, "decided_unix_ns")) {
        weir_json_u64(json, &trace->decided_ns);
    } else if (weir_json_is(key, "start_unix_ns")) {
        weir_json_u64(json, &trace->start_ns);
    } else if (weir_json_is(key, "duration_ns")) {
        weir_json_u64(json, &trace->duration_ns);
    } else if (weir_json_is(key, "span_count")) {
        weir_json_u64(json, &trace->span_count);
    } else if (weir_json_is(key, "error")) {
        weir_json_bool(json, &trace->error);
    } else if (weir_json_is(key, "rule")) {
        trace->rule = read_text(json, line);
    } else if (weir_json_is(key, "cause")) {
        trace->cause = read_text(json, line);
    } else if (weir_json_is(key, "weight")) {
        weir_json_double(json, &trace->weight);
    } else if (weir_json_is(key, "service")) {
        trace->service = read_text(json, line);
    } else if (weir_json_is(key, "operation")) {
        trace->operation = read_text(json, line);
    } else {
        weir_json_skip(json);
    }
}

enum weir_status weir_tail_line_read(struct weir_tail_line *line, const uint8_t *bytes, size_t size,
                                     struct weir_error *err) {
    struct weir_tree_span *spans = line->trace.spans;
    line->kind = WEIR_TAIL_OTHER;
    line->deciding = false;
    line->note = "";
    line->lost = 0;
    line->trace = (struct weir_tree_trace){.spans = spans};
    line->texts_size = 0;
    if (line->texts_capacity < size) {
        free(line->texts);
        line->texts = malloc(size);
        line->texts_capacity = line->texts == NULL ? 0 : size;
        if (line->texts == NULL) return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    }
    struct weir_json json = weir_json_of(bytes, size);
    struct weir_json_text key;
    weir_json_object(&json);
    while (weir_json_key(&json, &key)) {
        if (!weir_json_is(&key, "spans")) {
            read_member(&json, &key, line);
        } else if (!read_spans(&json, line)) {
            return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
        }
    }
    if (json.why == NULL) weir_json_end(&json);
    if (json.why != NULL)
        return weir_fail(err, WEIR_INVALID, 0, false, "byte %zu: %s", (size_t)(json.at - json.start), json.why);
    return WEIR_OK;
}

void weir_tail_line_free(struct weir_tail_line *line) {
    free(line->texts);
    free(line->trace.spans);
    *line = (struct weir_tail_line){0};
}
