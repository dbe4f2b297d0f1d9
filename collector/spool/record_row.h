/* record_row.h - what spans of a record have in common (record.h): names and codes of their views, and where in their
 * bodies the rest stands. Spans of one operation and one sender share a row, or a few.
 *
 *   0         4    8       12     14   16    18      20   21     22       23 24    26   28     30    32  34
 *   +---------+----+-------+------+----+-----+-------+----+------+--------+--+-----+----+------+-----+---+--+
 *   |operation|peer|service|origin|http|flags|extras |kind|status|receiver|0 |trace|span|parent|start|end|0 |
 *   +---------+----+-------+------+----+-----+-------+----+------+--------+--+-----+----+------+-----+---+--+
 *
 * operation, peer, service: place in the record's names + 1, 0 = none. trace ... end: the place in the body of the
 * value's bytes, WEIR_ROW_NOWHERE = the view has none. */
#ifndef WEIR_SPOOL_RECORD_ROW_H
#define WEIR_SPOOL_RECORD_ROW_H
#include "collector/core/span.h"

#include <string.h>

enum { WEIR_ROW_BYTES = 36, WEIR_ROW_NOWHERE = 0xffff, WEIR_ROWS_MAX = 0xffff };

/* What stands among the extras, in this order, 8 bytes each (the trace id 16). */
enum weir_row_extra {
    WEIR_ROW_SIZE = 1 << 0,  /* of the body: 65,535 or more */
    WEIR_ROW_TRACE = 1 << 1, /* it stands nowhere in the body where we find it */
    WEIR_ROW_SPAN = 1 << 2,
    WEIR_ROW_PARENT = 1 << 3,
    WEIR_ROW_START = 1 << 4,
    WEIR_ROW_DURATION = 1 << 5,
    WEIR_ROW_THRESHOLD = 1 << 6,  /* other than 0 */
    WEIR_ROW_RANDOMNESS = 1 << 7, /* other than the low 56 bits of the trace id */
    WEIR_ROW_PRIOR = 1 << 8,      /* other than 1 */
    WEIR_ROW_EXTRAS = (1 << 9) - 1,
};

struct weir_row {
    uint32_t operation, peer, service;
    uint16_t origin, http_status, flags, extras;
    uint8_t kind, status, receiver, unused;
    uint16_t trace_at, span_at, parent_at, start_at, end_at, unused_too;
};
_Static_assert(sizeof(struct weir_row) == WEIR_ROW_BYTES, "as it is stored: no holes, and little endian");

/* How many of 8 bytes. */
static inline uint32_t weir_row_extra_count(const struct weir_row *row) {
    return (uint32_t)__builtin_popcount(row->extras & WEIR_ROW_EXTRAS) + ((row->extras & WEIR_ROW_TRACE) != 0);
}
/* The bytes of a body that has all its places. */
static inline uint32_t weir_row_need(const struct weir_row *row) {
    const uint16_t places[] = {row->span_at, row->parent_at, row->start_at, row->end_at};
    uint32_t need = row->trace_at == WEIR_ROW_NOWHERE ? 0 : row->trace_at + 16u;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (places[i] != WEIR_ROW_NOWHERE && places[i] + 8u > need) need = places[i] + 8u;
    }
    return need;
}
static inline uint64_t weir_row_load(const uint8_t *body) {
    uint64_t value;
    memcpy(&value, body, sizeof value);
    return value;
}
static inline uint64_t weir_row_load_id(const uint8_t *body) { /* ids are big endian on the wire */
    return __builtin_bswap64(weir_row_load(body));
}
static inline uint64_t weir_row_duration(uint64_t start_ns, uint64_t end_ns) { /* as decode/otlp_span.c */
    return start_ns != 0 && end_ns > start_ns ? end_ns - start_ns : 0;
}
#endif
