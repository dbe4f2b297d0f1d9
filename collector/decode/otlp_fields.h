/* otlp_fields.h - what OTLP's messages are made of: the one table that checking and repairing walk by.
 * Source: opentelemetry-proto v1: trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto. Fields that
 * are not in it are unknown, and skipped. */
#ifndef WEIR_DECODE_OTLP_FIELDS_H
#define WEIR_DECODE_OTLP_FIELDS_H
#include "collector/core/wire.h"

enum weir_otlp_message {
    WEIR_OTLP_NOTHING, /* no message: a number, a string, bytes */
    WEIR_OTLP_REQUEST,
    WEIR_OTLP_RESOURCE_SPANS,
    WEIR_OTLP_SCOPE_SPANS,
    WEIR_OTLP_RESOURCE,
    WEIR_OTLP_SCOPE,
    WEIR_OTLP_SPAN,
    WEIR_OTLP_EVENT,
    WEIR_OTLP_LINK,
    WEIR_OTLP_STATUS,
    WEIR_OTLP_KEY_VALUE,
    WEIR_OTLP_ANY_VALUE,
    WEIR_OTLP_ARRAY,
    WEIR_OTLP_LIST,
    WEIR_OTLP_ENTITY_REF,
    WEIR_OTLP_MESSAGES,
};

struct weir_otlp_field {
    const char *name; /* NULL: unknown */
    uint8_t type;     /* enum weir_wire_type */
    uint8_t text;     /* a string, which must be UTF-8 */
    uint8_t message;  /* enum weir_otlp_message of what is inside */
};
enum { WEIR_OTLP_FIELDS = 17 /* field numbers 0 to 16 */ };
extern const struct weir_otlp_field weir_otlp_fields[WEIR_OTLP_MESSAGES][WEIR_OTLP_FIELDS];

/* The row of a field, or NULL when it is unknown. */
static inline const struct weir_otlp_field *weir_otlp_field(enum weir_otlp_message message, uint32_t number) {
    if (number >= WEIR_OTLP_FIELDS || weir_otlp_fields[message][number].name == NULL) return NULL;
    return &weir_otlp_fields[message][number];
}

/* What a check found. */
struct weir_otlp_finding {
    const char *why;   /* broken: what is wrong; else NULL */
    const char *field; /* the innermost known field that it is in; may be NULL */
    const uint8_t *at; /* the byte */
    bool bad_text;     /* sound, but a string is not UTF-8 */
    bool touched;      /* sound, and a rule (attributes/rules.h) may change it: of a span only */
};

/* A message and all that is in it, to its last byte, `depth` messages below where counting began (WEIR_DEPTH_MAX is the
 * last). False: broken, and *finding says where. */
bool weir_otlp_check(enum weir_otlp_message message, struct weir_wire wire, unsigned depth,
                     struct weir_otlp_finding *finding);

/* Room that weir_otlp_repair() may need: an ill-formed byte becomes three, and lengths one byte longer a field. */
static inline size_t weir_otlp_repair_room(size_t size) {
    return 4 * size + 16;
}
/* Copies a message that was found sound, with U+FFFD for what is not UTF-8 in its strings. Returns the end of what was
 * written; *repaired goes up by one a string. */
uint8_t *weir_otlp_repair(enum weir_otlp_message message, struct weir_wire wire, uint8_t *out, uint32_t *repaired);
#endif
