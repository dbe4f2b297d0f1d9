#include "collector/decode/otlp_json.h"
#include "collector/core/hex.h"
#include "collector/core/wire.h"
#include "collector/decode/json.h"
#include "collector/decode/otlp_json_fields.h"
#include "collector/decode/span_writer.h"

#include <stdio.h>

enum {
    HEADER_BYTES = 16, /* a key and a length, or a key and a number */
    PLACES = WEIR_JSON_DEPTH_MAX,
    PATH_BYTES = 200,
};

/* Where the walk is: the fields from the request down, and the element of each that is repeated. */
struct place {
    const char *name;
    int64_t index; /* -1: not in an array */
};

struct walk {
    struct weir_json json;
    struct weir_span_writer out;
    struct place places[PLACES];
    unsigned depth;
};

/* ---- scalars ---- */

static bool varint(struct walk *walk, uint32_t number, uint64_t value) {
    uint8_t *at = weir_span_room(&walk->out, HEADER_BYTES);
    if (at == NULL) return false;
    if (number != 0) at = weir_wire_put_key(at, number, WEIR_WIRE_VARINT);
    weir_span_wrote(&walk->out, weir_wire_put_varint(at, value));
    return true;
}

static bool fixed(struct walk *walk, uint32_t number, uint64_t value, size_t size) {
    uint8_t *at = weir_span_room(&walk->out, HEADER_BYTES);
    if (at == NULL) return false;
    if (number != 0) at = weir_wire_put_key(at, number, size == 8 ? WEIR_WIRE_FIXED64 : WEIR_WIRE_FIXED32);
    memcpy(at, &value, size); /* little endian on the wire, and so are we (checked in CMakeLists.txt) */
    weir_span_wrote(&walk->out, at + size);
    return true;
}

static bool read_u32(struct walk *walk, uint64_t *value) {
    const uint8_t *start = walk->json.at;
    if (!weir_json_u64(&walk->json, value)) return false;
    if (*value <= UINT32_MAX) return true;
    walk->json.at = start;
    return weir_json_fail(&walk->json, "is out of range");
}

static bool read_i32(struct walk *walk, int64_t *value) {
    const uint8_t *start = walk->json.at;
    if (!weir_json_i64(&walk->json, value)) return false;
    if (*value >= INT32_MIN && *value <= INT32_MAX) return true;
    walk->json.at = start;
    return weir_json_fail(&walk->json, "is out of range");
}

/* The number, or the name: OTLP/JSON writes numbers only, other ProtoJSON writes names. */
static bool read_enum(struct walk *walk, const char *words, int64_t *value) {
    struct weir_json_text text;
    struct weir_json ahead = walk->json;
    if (weir_json_peek(&ahead) == WEIR_JSON_STRING && weir_json_string(&ahead, &text)) {
        *value = 0;
        for (const char *word = words; *word != 0; word += strlen(word) + 1, ++*value) {
            if (!weir_json_is(&text, word)) continue;
            walk->json = ahead;
            return true;
        }
        if (text.size > 0 && text.bytes[0] >= 'A') return weir_json_fail(&walk->json, "is an unknown name");
    }
    return read_i32(walk, value);
}

/* number 0: the value alone, in a packed field. */
static bool scalar(struct walk *walk, const struct weir_otlp_json_field *field, uint32_t number) {
    struct weir_json *json = &walk->json;
    uint64_t value;
    int64_t whole;
    double real;
    bool yes;
    switch ((enum weir_otlp_json_kind)field->kind) {
    case WEIR_OTLP_JSON_BOOL: return weir_json_bool(json, &yes) && varint(walk, number, yes);
    case WEIR_OTLP_JSON_ENUM: return read_enum(walk, field->words, &whole) && varint(walk, number, (uint64_t)whole);
    case WEIR_OTLP_JSON_UINT32: return read_u32(walk, &value) && varint(walk, number, value);
    case WEIR_OTLP_JSON_SINT32:
        return read_i32(walk, &whole) && varint(walk, number, (uint64_t)whole << 1 ^ -(uint64_t)(whole < 0));
    case WEIR_OTLP_JSON_INT64: return weir_json_i64(json, &whole) && varint(walk, number, (uint64_t)whole);
    case WEIR_OTLP_JSON_UINT64: return weir_json_u64(json, &value) && varint(walk, number, value);
    case WEIR_OTLP_JSON_FIXED32: return read_u32(walk, &value) && fixed(walk, number, value, 4);
    case WEIR_OTLP_JSON_FIXED64: return weir_json_u64(json, &value) && fixed(walk, number, value, 8);
    case WEIR_OTLP_JSON_SFIXED64: return weir_json_i64(json, &whole) && fixed(walk, number, (uint64_t)whole, 8);
    default:
        if (!weir_json_double(json, &real)) return false;
        memcpy(&value, &real, 8);
        return fixed(walk, number, value, 8);
    }
}

/* ---- texts and bytes ---- */

static int base64_digit(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62; /* ProtoJSON takes both alphabets of RFC 4648, */
    if (c == '/' || c == '_') return 63;
    return -1;
}

/* In place, with or without padding. False: it is not base64. */
static bool decode_base64(uint8_t *bytes, size_t *size) {
    size_t in = *size, out = 0;
    uint32_t bits = 0;
    for (int pads = 0; pads < 2 && in > 0 && bytes[in - 1] == '='; pads++)
        in--;
    if (in % 4 == 1 || (*size != in && *size % 4 != 0)) return false;
    for (size_t i = 0; i < in; i++) {
        int digit = base64_digit(bytes[i]);
        if (digit < 0) return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0) bytes[out++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *size = out;
    return true;
}

static bool decode_hex(uint8_t *bytes, size_t *size) {
    if (*size % 2 != 0 || !weir_hex_decode((const char *)bytes, *size, bytes)) return false;
    *size /= 2;
    return true;
}

/* A string is unescaped behind the room for its key and length, decoded there, and moved up to them. */
static bool text(struct walk *walk, const struct weir_otlp_json_field *field) {
    struct weir_json_text found;
    weir_json_peek(&walk->json);
    const uint8_t *start = walk->json.at;
    if (!weir_json_string(&walk->json, &found)) return false;
    uint8_t *at = weir_span_room(&walk->out, HEADER_BYTES + found.size);
    if (at == NULL) return false;
    if (field->kind == WEIR_OTLP_JSON_TEXT && !found.escaped) {
        weir_span_wrote(&walk->out, weir_wire_put_bytes(at, field->number, found.bytes, found.size));
        return true;
    }
    uint8_t *plain = at + HEADER_BYTES;
    size_t size = weir_json_unescape(&found, plain);
    if (field->kind == WEIR_OTLP_JSON_HEX && !decode_hex(plain, &size)) {
        walk->json.at = start;
        return weir_json_fail(&walk->json, "is not hex");
    }
    if (field->kind == WEIR_OTLP_JSON_BASE64 && !decode_base64(plain, &size)) {
        walk->json.at = start;
        return weir_json_fail(&walk->json, "is not base64");
    }
    at = weir_wire_put_key(at, field->number, WEIR_WIRE_BYTES);
    at = weir_wire_put_varint(at, size);
    memmove(at, plain, size);
    weir_span_wrote(&walk->out, at + size);
    return true;
}

/* ---- messages ---- */

/* Is this key the name, as in the .proto ("span_id") or in lowerCamelCase ("spanId")? */
static bool is_name(const uint8_t *key, size_t size, const char *name) {
    if (size == 0 || key[0] != (uint8_t)name[0]) return false;
    size_t i = 0;
    const char *at = name;
    for (; i < size && *at != 0; i++, at++) {
        if (key[i] == (uint8_t)*at) continue;
        if (*at != '_' || key[i] != (uint8_t)(at[1] - 'a' + 'A')) return false;
        at++;
    }
    return i == size && *at == 0;
}

/* Writers keep to one order: the search begins behind the field found last. */
static const struct weir_otlp_json_field *find(enum weir_otlp_json_message message, const struct weir_json_text *key,
                                               unsigned *last) {
    const struct weir_otlp_json_field *fields = weir_otlp_json_fields[message];
    const uint8_t *bytes = key->bytes;
    size_t size = key->size;
    uint8_t plain[6 * 32]; /* no name has 32 characters, and an escape has six bytes */
    if (key->escaped) {
        if (size > sizeof plain) return NULL;
        size = weir_json_unescape(key, plain);
        bytes = plain;
    }
    for (unsigned i = *last; i < WEIR_OTLP_JSON_FIELDS && fields[i].name != NULL; i++) {
        if (is_name(bytes, size, fields[i].name)) return *last = i + 1, &fields[i];
    }
    for (unsigned i = 0; i < *last; i++) {
        if (is_name(bytes, size, fields[i].name)) return *last = i + 1, &fields[i];
    }
    return NULL;
}

static bool message(struct walk *walk, enum weir_otlp_json_message what);

static bool one(struct walk *walk, const struct weir_otlp_json_field *field, uint32_t number) {
    if (field->kind <= WEIR_OTLP_JSON_BASE64) return text(walk, field);
    if (field->kind != WEIR_OTLP_JSON_INSIDE) return scalar(walk, field, number);
    size_t mark = weir_span_open(&walk->out, number);
    if (!message(walk, (enum weir_otlp_json_message)field->inside)) return false;
    weir_span_close(&walk->out, mark);
    return !walk->out.full;
}

static bool many(struct walk *walk, const struct weir_otlp_json_field *field, struct place *place) {
    if (!weir_json_array(&walk->json)) return false;
    bool packed = field->kind != WEIR_OTLP_JSON_INSIDE && field->kind > WEIR_OTLP_JSON_BASE64;
    size_t mark = packed ? weir_span_open(&walk->out, field->number) : 0;
    for (place->index = 0; weir_json_element(&walk->json); place->index++) {
        if (!one(walk, field, packed ? 0 : field->number)) return false;
    }
    if (walk->json.why != NULL) return false;
    if (packed) weir_span_close(&walk->out, mark);
    return !walk->out.full;
}

/* A place stays where it is when the walk fails: it is what the error names. */
static bool message(struct walk *walk, enum weir_otlp_json_message what) {
    struct weir_json_text key;
    unsigned last = 0;
    if (!weir_json_object(&walk->json)) return false;
    struct place *place = &walk->places[walk->depth++]; /* an object each, and objects are PLACES deep at most */
    while (*place = (struct place){.index = -1}, weir_json_key(&walk->json, &key)) {
        const struct weir_otlp_json_field *field = find(what, &key, &last);
        if (field == NULL || weir_json_peek(&walk->json) == WEIR_JSON_NULL) {
            if (!weir_json_skip(&walk->json)) return false;
            continue;
        }
        place->name = field->name;
        if (!(field->many ? many(walk, field, place) : one(walk, field, field->number))) return false;
    }
    if (walk->json.why != NULL) return false;
    walk->depth--;
    return true;
}

/* ---- errors ---- */

static size_t put(char *path, size_t at, char c) {
    if (at < PATH_BYTES - 1) path[at++] = c;
    return at;
}

/* "resourceSpans[0].scopeSpans[0]": what does not fit is left out. */
static void render(const struct walk *walk, char path[PATH_BYTES]) {
    size_t at = 0;
    for (unsigned i = 0; i < walk->depth && walk->places[i].name != NULL; i++) {
        if (i > 0) at = put(path, at, '.');
        for (const char *c = walk->places[i].name; *c != 0; c++) {
            bool joint = *c == '_';
            c += joint;
            at = put(path, at, (char)(joint ? *c - 'a' + 'A' : *c));
        }
        if (walk->places[i].index < 0) continue;
        char index[24];
        snprintf(index, sizeof index, "[%lld]", (long long)walk->places[i].index);
        for (const char *c = index; *c != 0; c++)
            at = put(path, at, *c);
    }
    path[at] = 0;
}

static enum weir_status broken(const struct walk *walk, struct weir_error *err) {
    char path[PATH_BYTES];
    render(walk, path);
    return weir_fail(err, WEIR_INVALID, 0, false, "byte %td: %s%s%s", walk->json.at - walk->json.start, path,
                     path[0] != 0 ? ": " : "", walk->json.why);
}

enum weir_status weir_otlp_json(enum weir_otlp_json_request request, const uint8_t *bytes, size_t size,
                                struct weir_batch *batch, struct weir_error *err) {
    struct walk walk = {.json = weir_json_of(bytes, size)};
    weir_span_begin(&walk.out, batch);
    bool ok = message(&walk, request == WEIR_OTLP_JSON_TRACES ? WEIR_OTLP_JSON_TRACE_REQUEST
                                                              : WEIR_OTLP_JSON_METRICS_REQUEST) &&
              weir_json_end(&walk.json);
    if (ok && !walk.out.full) return WEIR_OK;
    weir_span_cancel(&walk.out);
    if (walk.json.why != NULL) return broken(&walk, err);
    return weir_fail(err, WEIR_FULL, 0, true, "memory.intake is used up");
}
