#include "collector/decode/json.h"
#include "collector/decode/number.h"

#include <math.h>
#include <string.h>

struct weir_json weir_json_of(const uint8_t *bytes, size_t size) {
    return (struct weir_json){.start = bytes, .at = bytes, .end = size > 0 ? bytes + size : bytes};
}

bool weir_json_fail(struct weir_json *json, const char *why) {
    if (json->why == NULL) json->why = why;
    return false;
}

static inline void space(struct weir_json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
        json->at++;
}

enum weir_json_type weir_json_peek(struct weir_json *json) {
    space(json);
    if (json->at == json->end || json->why != NULL) return WEIR_JSON_NONE;
    switch (*json->at) {
    case '{': return WEIR_JSON_OBJECT;
    case '[': return WEIR_JSON_ARRAY;
    case '"': return WEIR_JSON_STRING;
    case 't': return WEIR_JSON_TRUE;
    case 'f': return WEIR_JSON_FALSE;
    case 'n': return WEIR_JSON_NULL;
    default: return *json->at == '-' || (*json->at >= '0' && *json->at <= '9') ? WEIR_JSON_NUMBER : WEIR_JSON_NONE;
    }
}

/* ---- objects and arrays ---- */

static bool enter(struct weir_json *json, uint8_t bracket, const char *why) {
    space(json);
    if (json->why != NULL) return false;
    if (json->at == json->end || *json->at != bracket) return weir_json_fail(json, why);
    if (json->depth == WEIR_JSON_DEPTH_MAX) return weir_json_fail(json, "nested too deep");
    json->depth++;
    json->at++;
    json->first = true;
    return true;
}

/* Past the comma before a next item. False: past the closing bracket, or broken. */
static bool another(struct weir_json *json, uint8_t bracket, const char *why) {
    space(json);
    if (json->why != NULL) return false;
    if (json->at == json->end) return weir_json_fail(json, "ends in the middle");
    bool first = json->first;
    json->first = false;
    if (*json->at == bracket) {
        json->at++;
        json->depth--;
        return false;
    }
    if (first) return true;
    if (*json->at != ',') return weir_json_fail(json, why);
    json->at++;
    space(json);
    return true;
}

bool weir_json_object(struct weir_json *json) {
    return enter(json, '{', "is not an object");
}

bool weir_json_array(struct weir_json *json) {
    return enter(json, '[', "is not an array");
}

bool weir_json_element(struct weir_json *json) {
    return another(json, ']', "neither a comma nor the end of the array");
}

bool weir_json_key(struct weir_json *json, struct weir_json_text *key) {
    if (!another(json, '}', "neither a comma nor the end of the object")) return false;
    if (json->at == json->end || *json->at != '"') return weir_json_fail(json, "a key is no string");
    if (!weir_json_string(json, key)) return false;
    space(json);
    if (json->at == json->end || *json->at != ':') return weir_json_fail(json, "no colon behind a key");
    json->at++;
    return true;
}

/* ---- strings ---- */

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hex digits, or -1. */
static int32_t code_unit(const uint8_t *at, const uint8_t *end) {
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Does none of eight bytes need a look (a quote, a backslash, a control character)? "Bit Twiddling Hacks", haszero. */
static inline bool is_plain(uint64_t word) {
    const uint64_t ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((word - ones * 0x20) & ~word);
    return (found & high) == 0;
}

bool weir_json_string(struct weir_json *json, struct weir_json_text *text) {
    space(json);
    if (json->why != NULL) return false;
    if (json->at == json->end || *json->at != '"') return weir_json_fail(json, "is not a string");
    const uint8_t *at = json->at + 1, *end = json->end;
    *text = (struct weir_json_text){.bytes = at};
    for (;;) {
        uint64_t word;
        while (end - at >= 8) {
            memcpy(&word, at, 8);
            if (!is_plain(word)) break;
            at += 8;
        }
        while (at < end && *at != '"' && *at != '\\' && *at >= 0x20)
            at++;
        if (at == end) return weir_json_fail(json, "a string has no end");
        if (*at == '"') break;
        json->at = at;
        if (*at < 0x20) return weir_json_fail(json, "a control character in a string");
        text->escaped = true;
        if (end - at < 2) return weir_json_fail(json, "a string has no end");
        if (at[1] == 'u') {
            if (code_unit(at + 2, end) < 0) return weir_json_fail(json, "\\u needs four hex digits");
            at += 6;
        } else if (at[1] != 0 && strchr("\"\\/bfnrt", at[1]) != NULL) {
            at += 2;
        } else {
            return weir_json_fail(json, "an unknown escape in a string");
        }
    }
    text->size = (size_t)(at - text->bytes);
    json->at = at + 1;
    return true;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xc0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (uint8_t)(0xe0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        *out++ = (uint8_t)(0xf0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    }
    return out;
}

size_t weir_json_unescape(const struct weir_json_text *text, uint8_t *out) {
    const uint8_t *at = text->bytes, *end = at + text->size;
    uint8_t *start = out;
    while (at < end) {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        uint8_t c = at[1];
        at += 2;
        switch (c) {
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u': {
            uint32_t code = (uint32_t)code_unit(at, end);
            at += 4;
            if (code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
                uint32_t low = (uint32_t)code_unit(at + 2, end);
                if (low >= 0xdc00 && low < 0xe000) {
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
            }
            if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
            out = put_utf8(out, code);
            break;
        }
        default: *out++ = c; break; /* " \ / */
        }
    }
    return (size_t)(out - start);
}

bool weir_json_is(const struct weir_json_text *text, const char *literal) {
    size_t size = strlen(literal);
    if (!text->escaped) return text->size == size && (size == 0 || memcmp(text->bytes, literal, size) == 0);
    uint8_t plain[256];
    if (text->size > sizeof plain) return false;
    return weir_json_unescape(text, plain) == size && memcmp(plain, literal, size) == 0;
}

/* ---- numbers and words ---- */

static const uint8_t *digits(const uint8_t *at, const uint8_t *end) {
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

bool weir_json_number(struct weir_json *json, struct weir_json_text *text) {
    space(json);
    if (json->why != NULL) return false;
    const uint8_t *at = json->at, *end = json->end, *start = at;
    if (at < end && *at == '-') at++;
    const uint8_t *whole = at;
    at = digits(at, end);
    if (at == whole) return weir_json_fail(json, "is not a number");
    if (*whole == '0' && at > whole + 1) return weir_json_fail(json, "a number with a leading zero");
    if (at < end && *at == '.') {
        const uint8_t *fraction = at + 1;
        at = digits(fraction, end);
        if (at == fraction) return weir_json_fail(json, "a number without digits behind its point");
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        const uint8_t *exponent = at;
        at = digits(at, end);
        if (at == exponent) return weir_json_fail(json, "a number without digits in its exponent");
    }
    *text = (struct weir_json_text){.bytes = start, .size = (size_t)(at - start)};
    json->at = at;
    return true;
}

static bool word(struct weir_json *json, const char *literal, size_t size) {
    if ((size_t)(json->end - json->at) < size || memcmp(json->at, literal, size) != 0)
        return weir_json_fail(json, "is not a value");
    json->at += size;
    return true;
}

bool weir_json_bool(struct weir_json *json, bool *value) {
    enum weir_json_type type = weir_json_peek(json);
    if (type != WEIR_JSON_TRUE && type != WEIR_JSON_FALSE) return weir_json_fail(json, "is neither true nor false");
    *value = type == WEIR_JSON_TRUE;
    return *value ? word(json, "true", 4) : word(json, "false", 5);
}

bool weir_json_null(struct weir_json *json) {
    if (weir_json_peek(json) != WEIR_JSON_NULL) return weir_json_fail(json, "is not null");
    return word(json, "null", 4);
}

bool weir_json_skip(struct weir_json *json) {
    unsigned depth = json->depth;
    uint64_t arrays = 0; /* one bit a level that this call entered: 1 = an array */
    struct weir_json_text text;
    bool value;
    for (bool more = true; more;) {
        switch (weir_json_peek(json)) {
        case WEIR_JSON_OBJECT:
            if (!weir_json_object(json)) return false;
            arrays = arrays << 1;
            break;
        case WEIR_JSON_ARRAY:
            if (!weir_json_array(json)) return false;
            arrays = arrays << 1 | 1;
            break;
        case WEIR_JSON_STRING:
            if (!weir_json_string(json, &text)) return false;
            break;
        case WEIR_JSON_NUMBER:
            if (!weir_json_number(json, &text)) return false;
            break;
        case WEIR_JSON_TRUE:
        case WEIR_JSON_FALSE:
            if (!weir_json_bool(json, &value)) return false;
            break;
        case WEIR_JSON_NULL:
            if (!weir_json_null(json)) return false;
            break;
        default: return weir_json_fail(json, json->at == json->end ? "ends in the middle" : "is not a value");
        }
        /* Up to the next value: out of all that ends here. */
        for (more = false; !more && json->depth > depth;) {
            more = (arrays & 1) != 0 ? weir_json_element(json) : weir_json_key(json, &text);
            if (json->why != NULL) return false;
            if (!more) arrays >>= 1;
        }
    }
    return true;
}

bool weir_json_end(struct weir_json *json) {
    space(json);
    if (json->why != NULL) return false;
    return json->at == json->end || weir_json_fail(json, "something stands behind the end");
}

/* A number's text, out of quotes where it stands in them. */
static bool number_text(struct weir_json *json, struct weir_json_text *text) {
    if (weir_json_peek(json) != WEIR_JSON_STRING) return weir_json_number(json, text);
    const uint8_t *start = json->at;
    if (!weir_json_string(json, text)) return false;
    struct weir_json inner = weir_json_of(text->bytes, text->size);
    struct weir_json_text whole;
    if (text->escaped || !weir_json_number(&inner, &whole) || inner.at != inner.end) {
        json->at = start;
        return weir_json_fail(json, "is not a number");
    }
    return true;
}

static bool whole_number(struct weir_json *json, const struct weir_json_text *text, bool *negative, uint64_t *value) {
    const uint8_t *at = text->bytes, *end = at + text->size;
    *value = 0;
    *negative = *at == '-';
    for (at += *negative; at < end; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*at < '0' || *at > '9') return weir_json_fail(json, "is not a whole number");
        if (*value > (UINT64_MAX - digit) / 10) return weir_json_fail(json, "is out of range");
        *value = *value * 10 + digit;
    }
    return true;
}

bool weir_json_u64(struct weir_json *json, uint64_t *value) {
    struct weir_json_text text;
    bool negative;
    space(json);
    const uint8_t *start = json->at;
    if (!number_text(json, &text)) return false;
    const uint8_t *end = json->at;
    json->at = start; /* where an error is */
    if (!whole_number(json, &text, &negative, value)) return false;
    if (negative && *value != 0) return weir_json_fail(json, "is negative");
    json->at = end;
    return true;
}

bool weir_json_i64(struct weir_json *json, int64_t *value) {
    struct weir_json_text text;
    uint64_t magnitude;
    bool negative;
    space(json);
    const uint8_t *start = json->at;
    if (!number_text(json, &text)) return false;
    const uint8_t *end = json->at;
    json->at = start;
    if (!whole_number(json, &text, &negative, &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + negative) return weir_json_fail(json, "is out of range");
    *value = (int64_t)(negative ? 0 - magnitude : magnitude);
    json->at = end;
    return true;
}

bool weir_json_double(struct weir_json *json, double *value) {
    struct weir_json_text text;
    if (weir_json_peek(json) == WEIR_JSON_STRING) {
        struct weir_json ahead = *json;
        if (!weir_json_string(&ahead, &text)) {
            *json = ahead;
            return false;
        }
        bool named = true;
        if (weir_json_is(&text, "NaN"))
            *value = (double)NAN;
        else if (weir_json_is(&text, "Infinity"))
            *value = (double)INFINITY;
        else if (weir_json_is(&text, "-Infinity"))
            *value = -(double)INFINITY;
        else
            named = false;
        if (named) {
            *json = ahead;
            return true;
        }
    }
    if (!number_text(json, &text)) return false;
    if (weir_number_read(text.bytes, text.bytes + text.size, value) != text.bytes + text.size)
        return weir_json_fail(json, "is not a number");
    return true;
}
