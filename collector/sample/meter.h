/* meter.h - how much each operation that begins traces brings about: roots, what they stand for, and spans and bytes of
 * their whole traces, whichever service they are of. One a lane, which alone writes; one other thread reads.
 *
 * A trace's spans come before its root as often as after it, so each is remembered under the trace's id in a table of
 * fixed size until it was quiet, or its place is needed; then what it had is added to its root's operation. Spans of
 * traces whose root never came are added to no operation (weir_meter_rootless()). */
#ifndef WEIR_SAMPLE_METER_H
#define WEIR_SAMPLE_METER_H
#include "collector/core/names.h"
#include "collector/core/span.h"
#include "collector/sample/control.h"

struct weir_meter;

enum { WEIR_METER_TRACES = 1 << 15 /* remembered at a time */, WEIR_METER_OPERATIONS = 4096 };

struct weir_meter *weir_meter_new(void); /* NULL: out of memory */
/* A span as it was counted: weights are known. size: of its body. */
void weir_meter_span(struct weir_meter *meter, const struct weir_span *span, uint64_t now_ns);
/* Asks for the memory that weir_meter_span() will look at, for a span that comes a few later. */
void weir_meter_prefetch(const struct weir_meter *meter, const struct weir_span *span);
/* The tail's decision on a trace with this root. */
void weir_meter_decided(struct weir_meter *meter, uint32_t service, uint32_t operation, bool kept);
void weir_meter_tick(struct weir_meter *meter, uint64_t now_ns); /* about every 100 ms: traces that are quiet */

/* Any one thread: what was added since the call before, handed to `load`; the meter is locked meanwhile. Beyond
 * WEIR_METER_OPERATIONS all others are one load of service and operation WEIR_NAME_OVERFLOW. */
void weir_meter_take(struct weir_meter *meter, void (*load)(void *self, const struct weir_control_load *load),
                     void *self);
/* Spans whose trace's root never came, since the beginning. Any thread. */
uint64_t weir_meter_rootless(const struct weir_meter *meter);
void weir_meter_free(struct weir_meter *meter); /* accepts NULL */
#endif
