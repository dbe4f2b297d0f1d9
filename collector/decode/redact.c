#include "collector/decode/redact.h"

#include <stdio.h>

enum { ANY_STRING = 1, ANY_INT = 3, ANY_BYTES = 7, SPAN_NAME = 5, TRACE_STATE = 3, FIELD_BYTES = 16 };

struct pair {
    const uint8_t *key, *text;
    size_t key_size, text_size;
    uint32_t kind; /* field number of the AnyValue; 0 = none */
    uint64_t bits;
    struct weir_wire value; /* the AnyValue */
    bool twice;             /* a field stands twice: what protobuf does not read is still in the bytes */
};

/* What protobuf reads: the last of each. */
static struct pair read_pair(struct weir_wire wire) {
    struct pair pair = {.key = (const uint8_t *)""};
    struct weir_wire_field field, inner;
    unsigned keys = 0, values = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 1) {
            pair.key = field.bytes;
            pair.key_size = field.value;
            pair.twice |= keys++ > 0;
        } else if (field.number == 2) {
            struct weir_wire any = weir_wire_of(field.bytes, field.value);
            pair.twice |= values++ > 0;
            pair.value = any;
        }
    }
    struct weir_wire any = pair.value;
    for (const uint8_t *start = any.at; weir_wire_next(&any, &inner); start = any.at) {
        if (weir_otlp_field(WEIR_OTLP_ANY_VALUE, inner.number) == NULL) continue;
        pair.twice |= pair.kind != 0;
        pair.value = (struct weir_wire){.at = start, .end = any.at}; /* the last one is the value */
        pair.kind = inner.number;
        pair.bits = inner.value;
        pair.text = inner.type == WEIR_WIRE_BYTES ? inner.bytes : (const uint8_t *)"";
        pair.text_size = inner.type == WEIR_WIRE_BYTES ? inner.value : 0;
    }
    return pair;
}

/* A name's size without its query string; a `?` where no path is before it is no query's. */
static size_t name_cut(const uint8_t *name, size_t size) {
    size_t cut = weir_query_cut(name, size);
    return cut > 0 && memchr(name, '/', cut) != NULL ? cut : size;
}

bool weir_redact_names(const struct weir_rules *rules, const uint8_t *name, size_t size) {
    const struct weir_rules_look *look = weir_rules_look(rules);
    return (look->strips && name_cut(name, size) != size) || (look->cards && weir_cards_find(name, size));
}

/* The next member of a tracestate that may hold a card number: `ot` holds thresholds and randomness, whose digits are
 * as good as any (W3C Trace Context 3.3.1; OpenTelemetry, tracestate-handling.md). NULL: no more. */
static const uint8_t *state_member(const uint8_t **at, const uint8_t *end, size_t *size) {
    while (*at < end) {
        const uint8_t *start = *at, *stop = memchr(start, ',', (size_t)(end - start));
        if (stop == NULL) stop = end;
        *at = stop + (stop < end);
        *size = (size_t)(stop - start);
        size_t blank = 0;
        while (blank < *size && (start[blank] == ' ' || start[blank] == '\t'))
            blank++;
        if (*size - blank < 3 || memcmp(start + blank, "ot=", 3) != 0) return start;
    }
    return NULL;
}

bool weir_redact_state(const struct weir_rules *rules, const uint8_t *state, size_t size) {
    const uint8_t *at = state, *member;
    if (size == 0 || !weir_rules_look(rules)->cards) return false;
    for (size_t length; (member = state_member(&at, state + size, &length)) != NULL;) {
        if (weir_cards_find(member, length)) return true;
    }
    return false;
}

static bool is_state(enum weir_otlp_message message, uint32_t number) {
    return number == TRACE_STATE && (message == WEIR_OTLP_SPAN || message == WEIR_OTLP_LINK);
}

/* Whose strings they are that an array has: rules name them by the attribute's key. */
struct owner {
    const uint8_t *key; /* NULL: no attribute's */
    size_t key_size;
};
static const struct owner nobody;

static bool needs(const struct weir_rules *rules, enum weir_otlp_message message, struct weir_wire wire,
                  struct owner owner);

static bool pair_needs(const struct weir_rules *rules, const struct weir_rules_look *look, struct weir_wire wire) {
    struct pair pair = read_pair(wire);
    if (pair.twice) return true;
    if (pair.kind == ANY_STRING)
        return weir_rules_touch(rules, look, pair.key, pair.key_size, pair.text, pair.text_size);
    if (weir_rules_touch(rules, look, pair.key, pair.key_size, (const uint8_t *)"", 0)) return true;
    return needs(rules, WEIR_OTLP_ANY_VALUE, pair.value, (struct owner){pair.key, pair.key_size});
}

static bool needs(const struct weir_rules *rules, enum weir_otlp_message message, struct weir_wire wire,
                  struct owner owner) {
    const struct weir_rules_look *look = weir_rules_look(rules);
    struct weir_wire_field field;
    if (message == WEIR_OTLP_KEY_VALUE) return pair_needs(rules, look, wire);
    while (weir_wire_next(&wire, &field)) {
        const struct weir_otlp_field *row = weir_otlp_field(message, field.number);
        if (row == NULL || row->type != field.type) continue;
        if (row->message != WEIR_OTLP_NOTHING) {
            if (needs(rules, row->message, weir_wire_of(field.bytes, field.value), owner)) return true;
        } else if (is_state(message, field.number)) {
            if (weir_redact_state(rules, field.bytes, field.value)) return true;
        } else if (message == WEIR_OTLP_ANY_VALUE && field.number == ANY_STRING && owner.key != NULL) {
            if (weir_rules_touch(rules, look, owner.key, owner.key_size, field.bytes, field.value)) return true;
        } else if (field.type == WEIR_WIRE_BYTES) {
            bool text = row->text != 0 || (message == WEIR_OTLP_ANY_VALUE && field.number == ANY_BYTES);
            if (text && look->cards && weir_cards_find(field.bytes, field.value)) return true;
        } else if (message == WEIR_OTLP_ANY_VALUE && field.number == ANY_INT) {
            if (look->cards && weir_cards_number(field.value)) return true;
        }
    }
    return false;
}

bool weir_redact_needs(const struct weir_rules *rules, enum weir_otlp_message message, struct weir_wire wire) {
    return needs(rules, message, wire, nobody);
}

/* ---- writing ---- */

struct redaction {
    const struct weir_rules *rules;
    const struct weir_rules_look *look;
    struct weir_buffer *out;
    struct weir_buffer value; /* what the rules made of one value */
    struct owner owner;       /* of the strings that come */
    bool changed;
};

static size_t open_message(struct weir_buffer *out, uint32_t number) {
    if (!weir_buffer_room(out, FIELD_BYTES)) return 0;
    uint8_t *at = weir_wire_put_key(out->bytes + out->size, number, WEIR_WIRE_BYTES);
    *at++ = 0; /* most are short: a byte of length, more when it turns out otherwise */
    out->size = (size_t)(at - out->bytes);
    return out->size;
}

static void close_message(struct weir_buffer *out, size_t mark) {
    if (out->failed) return;
    size_t size = out->size - mark, more = weir_wire_varint_size(size) - 1;
    if (more > 0) {
        if (!weir_buffer_room(out, more)) return;
        memmove(out->bytes + mark + more, out->bytes + mark, size);
        out->size += more;
    }
    weir_wire_put_varint(out->bytes + mark - 1, size);
}

static uint8_t *put_bytes(struct weir_buffer *out, uint32_t number, const uint8_t *bytes, size_t size) {
    if (!weir_buffer_room(out, FIELD_BYTES + size)) return NULL;
    uint8_t *end = weir_wire_put_bytes(out->bytes + out->size, number, bytes, size);
    out->size = (size_t)(end - out->bytes);
    return end - size;
}

/* Text that is no attribute's value: card numbers are masked, and nothing else. */
static void put_text(struct redaction *r, uint32_t number, const uint8_t *bytes, size_t size) {
    uint8_t *at = put_bytes(r->out, number, bytes, size);
    if (at != NULL && weir_rules_mask(r->rules, at, size)) r->changed = true;
}

static void put_state(struct redaction *r, const uint8_t *state, size_t size) {
    uint8_t *copy = put_bytes(r->out, TRACE_STATE, state, size);
    const uint8_t *at = copy, *member;
    if (copy == NULL || size == 0) return;
    for (size_t length; (member = state_member(&at, copy + size, &length)) != NULL;) {
        if (weir_rules_mask(r->rules, copy + (member - copy), length)) r->changed = true;
    }
}

static void put_name(struct redaction *r, const uint8_t *name, size_t size) {
    size_t cut = r->look->strips ? name_cut(name, size) : size;
    if (cut != size) {
        weir_rules_count_strip(r->rules);
        r->changed = true;
    }
    put_text(r, SPAN_NAME, name, cut);
}

/* A string in an array. Rules that drop or hash have had the attribute as a whole. */
static void put_element(struct redaction *r, const uint8_t *bytes, size_t size) {
    if (weir_rules_apply(r->rules, r->owner.key, r->owner.key_size, bytes, size, true, &r->value) != WEIR_RULES_TEXT) {
        put_text(r, ANY_STRING, bytes, size);
    } else {
        put_bytes(r->out, ANY_STRING, r->value.bytes, r->value.size);
        r->changed = true;
    }
}

/* A number that is a card's becomes text, which rules see as any other. */
static void put_masked_number(struct redaction *r, uint64_t number) {
    char text[24];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    if (r->owner.key != NULL)
        put_element(r, (const uint8_t *)text, (size_t)size);
    else
        put_text(r, ANY_STRING, (const uint8_t *)text, (size_t)size);
}

static void put_message(struct redaction *r, enum weir_otlp_message message, struct weir_wire wire);

/* One KeyValue, in a field of this number; nothing, when it is dropped. */
static void put_pair(struct redaction *r, uint32_t number, struct weir_wire wire) {
    struct pair pair = read_pair(wire);
    size_t any_size = (size_t)(pair.value.end - pair.value.at);
    bool is_text = pair.kind == ANY_STRING;
    enum weir_rules_verdict verdict =
        weir_rules_apply(r->rules, pair.key, pair.key_size, is_text ? pair.text : pair.value.at,
                         is_text ? pair.text_size : any_size, is_text, &r->value);
    if (verdict != WEIR_RULES_SAME || pair.twice) r->changed = true;
    if (verdict == WEIR_RULES_DROP) return;
    size_t mark = open_message(r->out, number);
    put_text(r, 1, pair.key, pair.key_size);
    size_t any = open_message(r->out, 2);
    struct owner outer = r->owner;
    r->owner = is_text ? nobody : (struct owner){pair.key, pair.key_size};
    if (verdict == WEIR_RULES_TEXT)
        put_bytes(r->out, ANY_STRING, r->value.bytes, r->value.size);
    else
        put_message(r, WEIR_OTLP_ANY_VALUE, pair.value);
    r->owner = outer;
    close_message(r->out, any);
    close_message(r->out, mark);
}

static void put_field(struct redaction *r, enum weir_otlp_message message, const struct weir_wire_field *field,
                      const uint8_t *start, size_t size) {
    const struct weir_otlp_field *row = weir_otlp_field(message, field->number);
    bool is_pair = row != NULL && row->message == WEIR_OTLP_KEY_VALUE;
    if (row == NULL || row->type != field->type ||
        (is_pair && !pair_needs(r->rules, r->look, weir_wire_of(field->bytes, field->value)))) {
        weir_buffer_put(r->out, start, size);
    } else if (is_pair) {
        put_pair(r, field->number, weir_wire_of(field->bytes, field->value));
    } else if (row->message != WEIR_OTLP_NOTHING) {
        size_t mark = open_message(r->out, field->number);
        put_message(r, row->message, weir_wire_of(field->bytes, field->value));
        close_message(r->out, mark);
    } else if (message == WEIR_OTLP_SPAN && field->number == SPAN_NAME) {
        put_name(r, field->bytes, field->value);
    } else if (is_state(message, field->number)) {
        put_state(r, field->bytes, field->value);
    } else if (message == WEIR_OTLP_ANY_VALUE && field->number == ANY_STRING && r->owner.key != NULL) {
        put_element(r, field->bytes, field->value);
    } else if (row->text != 0 || (message == WEIR_OTLP_ANY_VALUE && field->number == ANY_BYTES)) {
        put_text(r, field->number, field->bytes, field->value);
    } else if (message == WEIR_OTLP_ANY_VALUE && field->number == ANY_INT && r->look->cards &&
               weir_cards_number(field->value)) {
        put_masked_number(r, field->value);
    } else {
        weir_buffer_put(r->out, start, size);
    }
}

static void put_message(struct redaction *r, enum weir_otlp_message message, struct weir_wire wire) {
    struct weir_wire_field field;
    for (const uint8_t *start = wire.at; weir_wire_next(&wire, &field) && !r->out->failed; start = wire.at)
        put_field(r, message, &field, start, (size_t)(wire.at - start));
}

bool weir_redact(const struct weir_rules *rules, enum weir_otlp_message message, struct weir_wire wire,
                 struct weir_buffer *out) {
    struct redaction r = {.rules = rules, .look = weir_rules_look(rules), .out = out};
    put_message(&r, message, wire);
    weir_buffer_free(&r.value);
    return r.changed;
}
