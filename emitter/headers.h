/* headers.h - what the files that read and write headers share. */
#ifndef WEIR_EMITTER_HEADERS_H
#define WEIR_EMITTER_HEADERS_H
#include "emitter/inside.h"

/* weir_emit_context.format: the format that counts so far, a higher one replaces a lower one; and what else is known.
 */
enum {
    CONTEXT_B3_MULTI = 1,
    CONTEXT_B3 = 2,
    CONTEXT_W3C = 3,
    CONTEXT_FORMAT = 3,
    CONTEXT_RANDOM = 4, /* W3C Trace Context level 2, random-trace-id flag */
    CONTEXT_STATE = 8,  /* a tracestate was read */
};

static inline uint64_t context_randomness(const struct weir_emit_context *context) {
    return context->randomness < WEIR_EMIT_NEVER ? context->randomness : weir_emit_randomness(context->trace_id);
}

/* A part of tracestate. */
struct state_member {
    const char *key, *value;
    size_t key_size, value_size;
};
/* The next member of at .. end, blanks around it left out. 1: there is one; 0: the end; -1: malformed. */
int state_next(const char **at, const char *end, struct state_member *member);
static inline bool state_is_ot(const struct state_member *member) {
    return member->key_size == 2 && member->key[0] == 'o' && member->key[1] == 't';
}
#endif
