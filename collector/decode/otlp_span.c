#include "collector/decode/otlp_span.h"
#include "collector/attributes/aliases.h"
#include "collector/core/utf8.h"
#include "collector/decode/number.h"
#include "collector/decode/redact.h"

#include <math.h>
#include <stdio.h>

/* ---- text ---- */

/* All bytes below 0x80? Eight at a time; the last eight overlap what was seen. */
static inline bool is_ascii(const uint8_t *bytes, size_t size) {
    const uint64_t high = 0x8080808080808080ull;
    uint64_t word, seen = 0;
    if (size < 8) {
        for (size_t i = 0; i < size; i++)
            seen |= bytes[i];
        return (seen & 0x80) == 0;
    }
    for (size_t i = 0; i + 8 < size; i += 8) {
        memcpy(&word, bytes + i, 8);
        seen |= word;
    }
    memcpy(&word, bytes + size - 8, 8);
    return ((seen | word) & high) == 0;
}

static inline bool is_text(const uint8_t *bytes, size_t size) {
    return is_ascii(bytes, size) || weir_utf8_valid(bytes, size);
}

/* ---- ids ---- */

static inline uint64_t big_endian(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return __builtin_bswap64(value);
}

/* ---- tracestate: k=v,ot=th:c;rv:0123456789abcd,... ----
 * Source: W3C Trace Context 3.3.1; OpenTelemetry "TraceState: Probability Sampling" (th: 1 to 14 hex digits, trailing
 * zeros left out; rv: 14). What does not read is passed over, as that specification asks. */

static bool hex56(const uint8_t *text, size_t size, uint64_t *value) {
    uint64_t result = 0;
    if (size == 0 || size > 14) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned digit = (unsigned)text[i] - '0', letter = (unsigned)text[i] - 'a';
        if (digit > 9) digit = letter < 6 ? letter + 10 : 16;
        if (digit == 16) return false;
        result = result << 4 | digit;
    }
    *value = result << 4 * (14 - size);
    return true;
}

static void read_ot(const uint8_t *at, const uint8_t *end, struct weir_span *span) {
    while (at < end) {
        const uint8_t *stop = memchr(at, ';', (size_t)(end - at));
        if (stop == NULL) stop = end;
        size_t size = (size_t)(stop - at);
        uint64_t value;
        if (size > 3 && at[2] == ':') {
            if (at[0] == 't' && at[1] == 'h' && hex56(at + 3, size - 3, &value)) {
                span->threshold = value;
                span->flags |= WEIR_SPAN_TH;
            } else if (at[0] == 'r' && at[1] == 'v' && size == 3 + 14 && hex56(at + 3, 14, &value)) {
                span->randomness = value;
                span->flags |= WEIR_SPAN_RV;
            }
        }
        at = stop + 1;
    }
}

static void read_tracestate(const uint8_t *at, size_t size, struct weir_span *span) {
    const uint8_t *end = at + size;
    while (at < end) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
            at++;
        const uint8_t *stop = memchr(at, ',', (size_t)(end - at));
        if (stop == NULL) stop = end;
        if (stop - at > 3 && memcmp(at, "ot=", 3) == 0) {
            const uint8_t *last = stop;
            while (last[-1] == ' ' || last[-1] == '\t')
                last--;
            read_ot(at + 3, last, span);
            return; /* a key stands once */
        }
        at = stop;
    }
}

/* ---- attributes that say something to Weir (attributes/aliases.h) ---- */

struct value {
    uint32_t number; /* of the AnyValue's field; 0 = none */
    uint64_t bits;   /* bool, int, double; size of a string */
    const uint8_t *text;
};

struct said {
    const struct weir_rules *rules; /* NULL: none */
    const struct weir_rules_look *look;
    bool touched; /* a rule would change an attribute */
    bool forced, debug, shared, failed;
    const uint8_t *peer;
    uint32_t peer_size;
    uint8_t peer_rank;
    int8_t grpc_status; /* -1 = not said */
    uint16_t http_status;
    double prior, rate;  /* 0 = not said */
    bool by_probability; /* what decided the trace is a sampler of Jaeger's clients that draws */
    double sampler_rate; /* at this rate; 0 = not said */
};

static void said_peer(struct said *said, uint8_t rank, const struct value *value) {
    if (value->number != 1 || value->bits == 0 || rank <= said->peer_rank) return;
    said->peer = value->text;
    said->peer_size = (uint32_t)value->bits;
    said->peer_rank = rank;
}

/* An int attribute, which Envoy writes as a string. -1: neither. */
static int64_t whole(const struct value *value) {
    if (value->number == 3) return (int64_t)value->bits;
    if (value->number != 1 || value->bits == 0 || value->bits > 9) return -1;
    int64_t result = 0;
    for (uint64_t i = 0; i < value->bits; i++) {
        if (value->text[i] < '0' || value->text[i] > '9') return -1;
        result = result * 10 + (value->text[i] - '0');
    }
    return result;
}

static void said_status(struct said *said, const struct value *value) {
    int64_t status = whole(value);
    if (status >= 100 && status <= 999) said->http_status = (uint16_t)status;
}

/* NAN: no number. */
static double real(const struct value *value) {
    double number = (double)NAN;
    if (value->number == 4) return weir_wire_double(value->bits);
    if (value->number == 3) return (double)(int64_t)value->bits;
    if (value->number != 1) return number;
    /* Not strtod(): it reads spaces, hexadecimals and the locale's comma. */
    const uint8_t *end = value->text + value->bits;
    return weir_number_read(value->text, end, &number) == end ? number : (double)NAN;
}

static bool is_true(const struct value *value) {
    if (value->number == 2) return value->bits != 0;
    return value->number == 1 && value->bits == 4 && memcmp(value->text, "true", 4) == 0;
}

/* Zipkin's `error`: its presence says it; instrumentations for OpenTracing write false, too. */
static bool is_error(const struct value *value) {
    if (value->number == 2) return value->bits != 0;
    return !(value->number == 1 && value->bits == 5 && memcmp(value->text, "false", 5) == 0);
}

static bool has_text(const struct value *value, const char *text) {
    size_t size = strlen(text);
    return value->number == 1 && value->bits == size && memcmp(value->text, text, size) == 0;
}

static void says(struct said *said, const struct weir_alias *alias, const struct value *value) {
    double number;
    switch ((enum weir_role)alias->role) {
    case WEIR_ROLE_PEER: said_peer(said, alias->rank, value); break;
    case WEIR_ROLE_HTTP_STATUS: said_status(said, value); break;
    case WEIR_ROLE_GRPC_STATUS: {
        int64_t code = whole(value);
        if (code >= 0 && code <= 16) said->grpc_status = (int8_t)code;
        break;
    }
    case WEIR_ROLE_ERROR: said->failed = is_error(value); break;
    case WEIR_ROLE_SUCCESS: said->failed |= real(value) == 0; break;
    case WEIR_ROLE_REQUEST_ID: /* wire format: uuid_request_id; 'a' is forced, "b" is asked for by the client */
        said->forced |= value->number == 1 && value->bits == 36 && value->text[14] == 'a';
        break;
    case WEIR_ROLE_PRIORITY: said->forced |= whole(value) > 0; break;
    case WEIR_ROLE_PRIOR:
        number = real(value);
        if (isfinite(number) && number >= 1) said->prior = number;
        break;
    case WEIR_ROLE_SAMPLING_RATE:
        number = real(value);
        if (number > 0 && number <= 1) said->rate = number;
        break;
    case WEIR_ROLE_SAMPLER_TYPE: said->by_probability = has_text(value, "probabilistic"); break;
    case WEIR_ROLE_SAMPLER_PARAM:
        number = real(value);
        if (number > 0 && number <= 1) said->sampler_rate = number;
        break;
    case WEIR_ROLE_DEBUG: said->debug = is_true(value); break;
    case WEIR_ROLE_SHARED: said->shared = is_true(value); break;
    case WEIR_ROLE_NONE: break;
    }
}

static inline void attribute(struct said *said, const uint8_t *key, size_t key_size, const struct value *value) {
    const struct weir_alias *alias = weir_alias_of(key, key_size);
    if (alias != NULL) says(said, alias, value);
}

static bool broken(struct weir_otlp_finding *finding, const char *why, const char *field, const uint8_t *at) {
    *finding = (struct weir_otlp_finding){.why = why, .field = field, .at = at};
    return false;
}

enum { ATTRIBUTE_DEPTH = 4 /* request, resource spans, scope spans, span; the attribute itself is the fifth */ };

/* One KeyValue. What it nests is checked by the table; the common case, a string, here. */
static inline bool read_attribute(const uint8_t *bytes, size_t size, struct said *said,
                                  struct weir_otlp_finding *finding) {
    struct weir_wire pair = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    const uint8_t *key = NULL;
    size_t key_size = 0;
    struct value value = {0};
    bool ascii =
        is_ascii(bytes, size); /* tags and short lengths are below 0x80 too: mostly one look for the whole pair */
    for (const uint8_t *start = bytes; weir_wire_next(&pair, &field); start = pair.at) {
        if (field.number == 1) {
            if (field.type != WEIR_WIRE_BYTES)
                return broken(finding, "another wire type than the field has", "key", start);
            if (key != NULL) said->touched = true; /* a field that stands twice: rules look at both */
            key = field.bytes;
            key_size = field.value;
            if (!ascii && !weir_utf8_valid(key, key_size)) finding->bad_text = true;
        } else if (field.number == 2) {
            if (field.type != WEIR_WIRE_BYTES)
                return broken(finding, "another wire type than the field has", "value", start);
            struct weir_wire any = weir_wire_of(field.bytes, field.value);
            struct weir_wire_field inner;
            for (const uint8_t *inner_start = any.at; weir_wire_next(&any, &inner); inner_start = any.at) {
                const struct weir_otlp_field *row = weir_otlp_field(WEIR_OTLP_ANY_VALUE, inner.number);
                if (row == NULL) continue;
                if (row->type != inner.type)
                    return broken(finding, "another wire type than the field has", row->name, inner_start);
                if (row->message != WEIR_OTLP_NOTHING &&
                    !weir_otlp_check(row->message, weir_wire_of(inner.bytes, inner.value), ATTRIBUTE_DEPTH + 3,
                                     finding))
                    return false;
                if (row->text && !ascii && !weir_utf8_valid(inner.bytes, inner.value)) finding->bad_text = true;
                if (value.number != 0) said->touched = true;
                value = (struct value){.number = inner.number,
                                       .bits = inner.value,
                                       .text = inner.type == WEIR_WIRE_BYTES ? inner.bytes : NULL};
            }
            if (any.why != NULL) return broken(finding, any.why, "value", any.at);
        }
    }
    if (pair.why != NULL) return broken(finding, pair.why, "attributes", pair.at);
    attribute(said, key, key_size, &value);
    if (said->rules != NULL && !said->touched)
        said->touched = value.number == 1
                            ? weir_rules_touch(said->rules, said->look, key, key_size, value.text, value.bits)
                            : weir_redact_needs(said->rules, WEIR_OTLP_KEY_VALUE, weir_wire_of(bytes, size));
    return true;
}

/* Most attributes are short ASCII strings under short keys, written in order: 0a | key size | key | 12 | size | 0a |
 * text size | text. False: this one is not, and nothing was read. */
static inline bool read_short_attribute(const uint8_t *at, size_t size, struct said *said) {
    if (size < 6 || at[0] != 0x0a || at[1] + 6u > size) return false;
    size_t key_size = at[1];
    const uint8_t *value = at + 2 + key_size;
    if (value[0] != 0x12 || value[1] + 4u + key_size != size || value[2] != 0x0a || value[3] + 2u != value[1] ||
        !is_ascii(at, size))
        return false;
    const struct weir_alias *alias = weir_alias_of(at + 2, key_size);
    if (alias != NULL) says(said, alias, &(struct value){.number = 1, .bits = value[3], .text = value + 4});
    if (said->look != NULL && !said->touched)
        said->touched = weir_rules_touch(said->rules, said->look, at + 2, key_size, value + 4, value[3]);
    return true;
}

/* ---- the span ---- */

/* What the attributes say of a span that has no status of its own. gRPC: OpenTelemetry semantic conventions,
 * rpc/grpc.md: these codes are the server's fault, any but OK is the client's failure. */
static bool has_failed(const struct said *said, uint8_t kind) {
    enum { SERVER_FAULTS = 1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 };
    if (said->failed || (said->http_status >= 500 && said->http_status <= 599)) return true;
    if (said->grpc_status <= 0) return false;
    return kind == WEIR_KIND_CLIENT || (SERVER_FAULTS >> said->grpc_status & 1) != 0;
}

static enum weir_otlp_verdict bad_id(char *reason, const char *what, uint64_t size, unsigned wanted) {
    if (reason == NULL) return WEIR_OTLP_BAD_ID;
    if (size == wanted) {
        snprintf(reason, 64, "%s is all zeros", what);
    } else {
        snprintf(reason, 64, "%s has %llu bytes, not %u", what, (unsigned long long)size, wanted);
    }
    return WEIR_OTLP_BAD_ID;
}

enum weir_otlp_verdict weir_otlp_read_span(struct weir_otlp_names *names, const uint8_t *bytes, size_t size,
                                           struct weir_span *span, struct weir_otlp_finding *finding, char *reason) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    const uint8_t *trace_id = NULL, *span_id = NULL, *parent_id = NULL, *name = NULL, *state = NULL;
    uint64_t trace_id_size = 0, span_id_size = 0, parent_id_size = 0, name_size = 0, state_size = 0, end_ns = 0,
             kind = 0, code = 0;
    struct said said = {.rules = names->redacted ? NULL : names->rules, .grpc_status = -1};
    if (said.rules != NULL) said.look = weir_rules_look(said.rules);
    *span = (struct weir_span){.prior = 1};
    *finding = (struct weir_otlp_finding){0};

    for (;;) {
        while (wire.end - wire.at >= 2 && wire.at[0] == (9 << 3 | WEIR_WIRE_BYTES) && wire.at[1] < 0x80 &&
               wire.at[1] <= wire.end - wire.at - 2 && read_short_attribute(wire.at + 2, wire.at[1], &said)) {
            wire.at += 2 + wire.at[1];
        }
        const uint8_t *start = wire.at;
        if (!weir_wire_next(&wire, &field)) break;
        const struct weir_otlp_field *row = weir_otlp_field(WEIR_OTLP_SPAN, field.number);
        if (row == NULL) continue;
        if (row->type != field.type) {
            broken(finding, "another wire type than the field has", row->name, start);
            return WEIR_OTLP_BROKEN;
        }
        switch (field.number) {
        case 1: trace_id = field.bytes, trace_id_size = field.value; break;
        case 2: span_id = field.bytes, span_id_size = field.value; break;
        case 3:
            said.touched |= state != NULL;
            state = field.bytes, state_size = field.value;
            if (!is_text(state, state_size)) finding->bad_text = true;
            break;
        case 4: parent_id = field.bytes, parent_id_size = field.value; break;
        case 5:
            said.touched |= name != NULL; /* only the last is the name, and rules look at both */
            name = field.bytes, name_size = field.value;
            if (!is_text(name, name_size)) finding->bad_text = true;
            break;
        case 6: kind = (uint32_t)field.value; break; /* an enum has 32 bits: protobuf drops those above */
        case 7: span->start_ns = field.value; break;
        case 8: end_ns = field.value; break;
        case 9:
            if (!read_attribute(field.bytes, field.value, &said, finding)) return WEIR_OTLP_BROKEN;
            break;
        case 15: {
            struct weir_wire status = weir_wire_of(field.bytes, field.value);
            struct weir_wire_field inner;
            while (weir_wire_next(&status, &inner)) {
                if (inner.number == 3) code = (uint32_t)inner.value;
            }
        }
            __attribute__((fallthrough));
        default:
            if (row->message != WEIR_OTLP_NOTHING &&
                !weir_otlp_check(row->message, weir_wire_of(field.bytes, field.value), ATTRIBUTE_DEPTH + 1, finding)) {
                if (finding->field == NULL) finding->field = row->name;
                return WEIR_OTLP_BROKEN;
            }
            if (said.rules != NULL && !said.touched && row->message != WEIR_OTLP_NOTHING)
                said.touched = weir_redact_needs(said.rules, row->message, weir_wire_of(field.bytes, field.value));
        }
    }
    if (wire.why != NULL) {
        broken(finding, wire.why, NULL, wire.at);
        return WEIR_OTLP_BROKEN;
    }

    if (trace_id_size != 16) return bad_id(reason, "trace_id", trace_id_size, 16);
    span->trace_hi = big_endian(trace_id);
    span->trace_lo = big_endian(trace_id + 8);
    if ((span->trace_hi | span->trace_lo) == 0) return bad_id(reason, "trace_id", 16, 16);
    if (span_id_size != 8) return bad_id(reason, "span_id", span_id_size, 8);
    span->span_id = big_endian(span_id);
    if (span->span_id == 0) return bad_id(reason, "span_id", 8, 8);
    if (parent_id_size != 0 && parent_id_size != 8) return bad_id(reason, "parent_span_id", parent_id_size, 8);
    if (parent_id_size == 8) span->parent_id = big_endian(parent_id);
    if (finding->bad_text) return WEIR_OTLP_BAD_TEXT;

    if (span->parent_id == span->span_id) span->parent_id = 0; /* a root of Linkerd 1 */
    if (span->parent_id == 0) span->flags |= WEIR_SPAN_ROOT;
    if (end_ns > span->start_ns && span->start_ns != 0) span->duration_ns = end_ns - span->start_ns;
    span->kind = kind <= WEIR_KIND_CONSUMER ? (uint8_t)kind : WEIR_KIND_UNSPECIFIED;
    span->status = code <= WEIR_STATUS_ERROR ? (uint8_t)code : WEIR_STATUS_UNSET;
    span->http_status = said.http_status;
    if (span->status == WEIR_STATUS_UNSET && has_failed(&said, span->kind)) span->status = WEIR_STATUS_ERROR;
    span->randomness = span->trace_lo & (WEIR_THRESHOLD_MAX - 1);
    if (state_size > 0) read_tracestate(state, state_size, span);
    if (said.prior == 0 && said.rate != 0) said.prior = 1 / said.rate;
    /* A rate limit and a lower bound have a number, too, that weighs nothing. Below the root nothing was drawn. */
    bool recorded = said.by_probability && said.sampler_rate != 0 && span->parent_id == 0;
    if (said.prior == 0 && recorded) said.prior = 1 / said.sampler_rate;
    if (said.prior != 0) {
        span->prior = said.prior;
        span->flags |= WEIR_SPAN_PRIOR;
    }
    if (recorded) weir_span_draw(span); /* those samplers decide by the id */
    if (said.forced || said.debug) span->flags |= WEIR_SPAN_FORCED;
    if (said.debug) span->flags |= WEIR_SPAN_DEBUG;
    if (said.shared) span->flags |= WEIR_SPAN_SHARED;
    span->operation = weir_otlp_operation(names, name, name_size, &finding->touched);
    if (said.rules != NULL) {
        finding->touched |= said.touched;
        if (state_size > 0 && weir_redact_state(said.rules, state, state_size)) finding->touched = true;
    }
    if (finding->touched) return WEIR_OTLP_GOOD; /* it is read again: no name of it is kept before */
    if (said.peer_rank != WEIR_PEER_NONE && (kind == WEIR_KIND_CLIENT || kind == WEIR_KIND_PRODUCER))
        span->peer = weir_otlp_peer(names, said.peer, said.peer_size);
    return WEIR_OTLP_GOOD;
}
