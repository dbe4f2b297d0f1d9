/* redact.h - the rules of attributes: on OTLP messages, bytes to bytes. Only messages that were found sound. */
#ifndef WEIR_DECODE_REDACT_H
#define WEIR_DECODE_REDACT_H
#include "collector/attributes/rules.h"
#include "collector/decode/otlp_fields.h"

/* Would any rule change it? Never false when one would; true may turn out to change nothing. */
bool weir_redact_needs(const struct weir_rules *rules, enum weir_otlp_message message, struct weir_wire wire);
/* The same of a span's name: a card number, or a query string behind a path. */
bool weir_redact_names(const struct weir_rules *rules, const uint8_t *name, size_t size);
/* The same of its tracestate, of which `ot` is nobody's card. */
bool weir_redact_state(const struct weir_rules *rules, const uint8_t *state, size_t size);
/* Appends the message as the rules leave it. True: it differs. out->failed: no room (also of out->limit). */
bool weir_redact(const struct weir_rules *rules, enum weir_otlp_message message, struct weir_wire wire,
                 struct weir_buffer *out);
#endif
