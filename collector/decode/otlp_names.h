/* otlp_names.h - what one lane's walk knows: its rules, and the names that it has seen: a span's name is templated and
 * interned once, and found by its hash from then on. The hash is keyed and has 64 bits, so equal hashes are taken for
 * equal names. */
#ifndef WEIR_DECODE_OTLP_NAMES_H
#define WEIR_DECODE_OTLP_NAMES_H
#include "collector/attributes/rules.h"
#include "collector/core/names.h"

enum { WEIR_OTLP_NAMES_KEPT = 2048 }; /* of each kind; a new one takes the place of an old one */

struct weir_otlp_names {
    struct weir_names *names;
    const struct weir_rules *rules; /* of attributes and operations; NULL: none */
    bool redacted;                  /* the span that is read is what the rules left */
    struct weir_otlp_known {
        uint64_t hash;
        uint32_t id;
    } operations[WEIR_OTLP_NAMES_KEPT], peers[WEIR_OTLP_NAMES_KEPT];
};

/* *touched: a rule would change the name itself, which is not the operation that is made of it; then it is
 * WEIR_NAME_NONE. */
uint32_t weir_otlp_operation(struct weir_otlp_names *names, const uint8_t *bytes, size_t size, bool *touched);
uint32_t weir_otlp_peer(struct weir_otlp_names *names, const uint8_t *bytes, size_t size);
#endif
